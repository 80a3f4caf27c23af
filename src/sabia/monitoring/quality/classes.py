"""Quality of predicted classes: accuracy, macro F1, log loss, precision and recall of each class. Pure.

Macro F1 is the mean of F1 over the classes that occur among predictions or labels, as scikit-learn computes it. Its
interval is the bootstrap's, from resampled confusion matrices: F1 is not a mean of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.monitoring.quality.estimates import Array, Estimate, mean, share

Indices = NDArray[np.int64]

OTHER = "other"
# The confusion matrix of a report has the most frequent classes; the rest are merged.
_LARGEST_MATRIX = 20
_REST = "the rest"
_DRAWS = 400
_SMALLEST = 1e-15


class ClassScore(msgspec.Struct, frozen=True):
    """One class: rows with this label, and precision and recall; precision is None if it was never predicted."""

    name: str
    rows: int
    precision: Estimate | None
    recall: Estimate


class ClassQuality(msgspec.Struct, frozen=True, tag="multi-class", tag_field="task"):
    """Quality of predicted classes.

    Attributes:
        log_loss: over rows whose label is a class of the model; None without class probabilities.
        names: of the rows and columns of the confusion matrix.
        confusion: rows by label, then by prediction.
        by_class: the classes that occur among the labels, the most frequent first.
    """

    rows: int
    accuracy: Estimate
    macro_f1: Estimate
    log_loss: Estimate | None
    names: list[str]
    confusion: list[list[int]]
    by_class: list[ClassScore]

    @property
    def scores(self) -> dict[str, Estimate]:
        """The metrics by name, those of a manifest; the first sums up the quality."""
        scores = {"accuracy": self.accuracy, "macro_f1": self.macro_f1}
        return scores if self.log_loss is None else scores | {"log_loss": self.log_loss}


def measure_classes(
    classes: Sequence[str], predicted: Indices, labels: Indices, probabilities: Array | None
) -> ClassQuality | None:
    """Quality of predicted classes; None for no rows.

    Args:
        classes: the model's.
        predicted: index of the predicted class, shape (rows,); `len(classes)` for a class that the model lacks.
        labels: index of the true class, in the same way.
        probabilities: the predicted probability of the row's label, shape (rows,), NaN where unknown.
    """
    rows, k = len(labels), len(classes) + 1
    if rows == 0:
        return None
    cells, counts = np.unique(labels * k + predicted, return_counts=True)
    true, guessed = cells // k, cells % k
    matrix = np.zeros((k, k), dtype=np.int64)
    matrix[true, guessed] = counts
    names = [*classes, OTHER]
    return ClassQuality(
        rows=rows,
        accuracy=share(int((predicted == labels).sum()), rows),
        macro_f1=_macro_f1(k, true, guessed, counts),
        log_loss=_log_loss(probabilities),
        names=_merged_names(names, matrix),
        confusion=_merged(matrix).tolist(),
        by_class=_by_class(names, matrix),
    )


def _log_loss(probabilities: Array | None) -> Estimate | None:
    if probabilities is None:
        return None
    known = probabilities[np.isfinite(probabilities)]
    return mean(-np.log(np.clip(known, _SMALLEST, 1))) if len(known) > 1 else None


def _macro_f1(k: int, true: Indices, guessed: Indices, counts: Indices) -> Estimate:
    source, rows = np.random.default_rng(0), int(counts.sum())
    draws = [_f1(k, true, guessed, source.multinomial(rows, counts / rows)) for _ in range(_DRAWS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    value = _f1(k, true, guessed, counts)
    return Estimate(value, min(float(low), value), max(float(high), value))


def _f1(k: int, true: Indices, guessed: Indices, counts: Indices) -> float:
    correct = np.bincount(true, weights=np.where(true == guessed, counts, 0), minlength=k)
    either = np.bincount(true, weights=counts, minlength=k) + np.bincount(guessed, weights=counts, minlength=k)
    occurring = either > 0
    return float(np.mean(2 * correct[occurring] / either[occurring]))


def _kept(matrix: NDArray[np.int64]) -> Indices:
    """The classes that occur, or the most frequent of them; in the model's order."""
    occurrences = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurring = np.flatnonzero(occurrences)
    if len(occurring) <= _LARGEST_MATRIX:
        return occurring
    return np.sort(occurring[np.argsort(-occurrences[occurring], kind="stable")[: _LARGEST_MATRIX - 1]])


def _merged(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    kept = _kept(matrix)
    place = np.full(len(matrix), len(kept))
    place[kept] = np.arange(len(kept))
    merged = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int64)
    true, guessed = np.nonzero(matrix)
    np.add.at(merged, (place[true], place[guessed]), matrix[true, guessed])
    return merged if merged[-1].any() or merged[:, -1].any() else merged[:-1, :-1]


def _merged_names(names: Sequence[str], matrix: NDArray[np.int64]) -> list[str]:
    kept = [names[at] for at in _kept(matrix)]
    return kept if len(kept) == np.count_nonzero(matrix.sum(axis=0) + matrix.sum(axis=1)) else [*kept, _REST]


def _by_class(names: Sequence[str], matrix: NDArray[np.int64]) -> list[ClassScore]:
    labelled, predicted, correct = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    order = [at for at in np.argsort(-labelled, kind="stable").tolist() if labelled[at]]
    return [
        ClassScore(
            name=names[at],
            rows=int(labelled[at]),
            precision=share(int(correct[at]), int(predicted[at])) if predicted[at] else None,
            recall=share(int(correct[at]), int(labelled[at])),
        )
        for at in order
    ]
