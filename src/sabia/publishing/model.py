"""What publishing needs of a trained model, and of the rows that it was trained and evaluated on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

Array = NDArray[np.float64]


class TrainedModel(Protocol):
    """A fitted scikit-learn pipeline with everything that a version states of it.

    Attributes:
        name: the name of the methods.
        code_major: raised when the same class predicts something else from the same params.
        classes: the estimator's chain of classes, for the fingerprint of the methods.
        params, hyper_params: the state, as JSON can hold it.
        estimator: the fitted pipeline; None before training.
        is_classifier: whether its last step gives class probabilities; a regressor's score is clipped to [0, 1].
        input_dtype: "float64" or "float32": the precision in which the served model reads its input.
        parity_tolerance: the largest distance between the served model and the estimator that may be published.
    """

    @property
    def name(self) -> str: ...  # noqa: D102  see the class
    @property
    def code_major(self) -> int: ...  # noqa: D102
    @property
    def classes(self) -> list[str]: ...  # noqa: D102
    @property
    def params(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def hyper_params(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def estimator(self) -> Pipeline | None: ...  # noqa: D102
    @property
    def is_classifier(self) -> bool: ...  # noqa: D102
    @property
    def input_dtype(self) -> str: ...  # noqa: D102
    @property
    def parity_tolerance(self) -> float: ...  # noqa: D102

    def predict(self, features: Array) -> Array:
        """The probability of the positive class, shape (rows,) of shape (rows, columns)."""
        ...


class LabelledRows(Protocol):
    """Rows of named columns and a target of 0 and 1.

    Attributes:
        uri, sha256: where the rows come from, and the digest of their content.
        names, units: of the columns; unit "1" is dimensionless.
        target_name: what a target of 1 means.
        features: shape (rows, columns), float64.
        target: shape (rows,), int64.
    """

    @property
    def uri(self) -> str: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def units(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def target_name(self) -> str: ...  # noqa: D102
    @property
    def features(self) -> Array: ...  # noqa: D102
    @property
    def target(self) -> NDArray[np.int64]: ...  # noqa: D102


class Floor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least that a version must reach on the held-out rows to be published."""

    accuracy: float = 0.0
    roc_auc: float = 0.0

    @property
    def metrics(self) -> Mapping[str, float]:
        """The floor of each metric, by its name in the manifest."""
        return {"accuracy": self.accuracy, "roc_auc": self.roc_auc}
