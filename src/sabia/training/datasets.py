"""The data sets that recipes can name, and the split that keeps evaluation honest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sabia.training.errors import UnknownDataset

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows of named columns and a 0/1 target.

    Attributes:
        features: shape (rows, columns), float64.
        target: shape (rows,), int64.
        units: the unit of each column; "1" has none, "unstated" is what the source does not say.
    """

    uri: str
    names: tuple[str, ...]
    units: tuple[str, ...]
    target_name: str
    features: Array
    target: NDArray[np.int64]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.target)

    @property
    def sha256(self) -> str:
        """The digest of names, rows and target: the same for the same data on every machine."""
        digest = hashlib.sha256("\n".join(self.names).encode())
        digest.update(np.ascontiguousarray(self.features, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.target, dtype="<i8").tobytes())
        return digest.hexdigest()

    def take(self, rows: NDArray[np.intp]) -> Dataset:
        """The same columns, only these rows."""
        return replace(self, features=self.features[rows], target=self.target[rows])

    def part(self, share: float) -> Dataset:
        """The first `share` of the rows, at least one of them; its URI ends with the share."""
        taken = self.take(np.arange(max(1, round(self.rows * share))))
        return replace(taken, uri=f"{self.uri}?rows={share:g}")


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to train on, and rows that no training ever sees."""

    training: Dataset
    held_out: Dataset


def split(dataset: Dataset, *, held_out: float, seed: int) -> Split:
    """Shuffle by `seed` and set `held_out` of the rows aside, with the same share of each class in both parts."""
    rows = np.arange(dataset.rows)
    training, rest = train_test_split(rows, test_size=held_out, random_state=seed, stratify=dataset.target)
    return Split(dataset.take(training), dataset.take(rest))


def load(uri: str) -> Dataset:
    """The data set known under `uri`.

    Raises:
        UnknownDataset: none is.
    """
    try:
        return DATASETS[uri]()
    except KeyError as error:
        raise UnknownDataset(uri, DATASETS) from error


_DIMENSIONLESS = (
    "texture",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)


def _breast_cancer() -> Dataset:
    """569 tumours, 30 measurements of cell nuclei each; 1 is benign. The source states no unit of length."""
    bunch = load_breast_cancer()
    names = tuple(str(name) for name in bunch.feature_names)
    return Dataset(
        uri="sklearn:breast_cancer",
        names=names,
        units=tuple("1" if any(word in name for word in _DIMENSIONLESS) else "unstated" for name in names),
        target_name="benign",
        features=np.asarray(bunch.data, dtype=np.float64),
        target=np.asarray(bunch.target, dtype=np.int64),
    )


DATASETS: dict[str, Callable[[], Dataset]] = {"sklearn:breast_cancer": _breast_cancer}
