"""Quality of predicted probabilities by labels: accuracy, AUC, calibration, each with its interval. Pure.

The interval of the AUC is DeLong's (DeLong, DeLong and Clarke-Pearson 1988, by midranks as Sun and Xu 2014).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract.calibration import BINS, EDGES, bins, calibration_error
from sabia.monitoring.quality.estimates import Estimate, Z, share

Array = NDArray[np.float64]

_CURVE_POINTS = 200
_SMALLEST = 1e-15


class Bin(msgspec.Struct, frozen=True):
    """Predictions between two edges: their number, their mean, and the share of labels that are 1."""

    low: float
    high: float
    rows: int
    predicted: float
    observed: Estimate


class Quality(msgspec.Struct, frozen=True, tag="binary", tag_field="task"):
    """Quality of predictions.

    Attributes:
        rows, positives: labelled rows, and those whose label is 1.
        auc: None if all labels are the same.
        calibration: bins of equal width that have rows.
        calibration_error: the expected calibration error.
        curve: false and true positive rates, from (0, 0) to (1, 1); empty if all labels are the same.
    """

    rows: int
    positives: int
    accuracy: Estimate
    auc: Estimate | None
    brier_score: float
    log_loss: float
    calibration: list[Bin]
    calibration_error: float
    curve: list[tuple[float, float]]

    @property
    def scores(self) -> dict[str, Estimate]:
        """The metrics that have an interval by name, those of a manifest; the first sums up the quality."""
        scores = {"accuracy": self.accuracy}
        return scores if self.auc is None else scores | {"roc_auc": self.auc}


def measure(predictions: Array, labels: Array) -> Quality | None:
    """Quality of predictions in [0, 1] against labels of 0 and 1, shape (rows,) each; None for no rows."""
    if len(labels) == 0:
        return None
    truth = labels >= 0.5
    clipped = np.clip(predictions, _SMALLEST, 1 - _SMALLEST)
    return Quality(
        rows=len(labels),
        positives=int(truth.sum()),
        accuracy=share(int(((predictions >= 0.5) == truth).sum()), len(labels)),
        auc=auc(predictions, truth),
        brier_score=float(np.mean((predictions - labels) ** 2)),
        log_loss=float(-np.mean(np.where(truth, np.log(clipped), np.log1p(-clipped)))),
        calibration=calibration(predictions, labels),
        calibration_error=calibration_error(predictions, labels),
        curve=curve(predictions, truth),
    )


def auc(predictions: Array, truth: NDArray[np.bool_]) -> Estimate | None:
    """The area under the ROC curve, ties counted half; None if all labels are the same."""
    positive, negative = predictions[truth], predictions[~truth]
    m, n = len(positive), len(negative)
    if m == 0 or n == 0:
        return None
    ranks = _midranks(np.concatenate([positive, negative]))
    # For each row, the share of the other class that it is ranked correctly against.
    above = (ranks[:m] - _midranks(positive)) / n
    below = 1 - (ranks[m:] - _midranks(negative)) / m
    value = float(above.mean())
    variance = (float(above.var(ddof=1)) / m if m > 1 else 0.25) + (float(below.var(ddof=1)) / n if n > 1 else 0.25)
    reach = Z * math.sqrt(variance)
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def calibration(predictions: Array, labels: Array) -> list[Bin]:
    """The bins that have predictions, of `BINS` of equal width over [0, 1]; the last one is closed on both sides."""
    at = bins(predictions)
    rows = np.bincount(at, minlength=BINS)
    predicted = np.bincount(at, weights=predictions, minlength=BINS)
    observed = np.bincount(at, weights=labels >= 0.5, minlength=BINS)
    return [
        Bin(
            EDGES[bin_],
            EDGES[bin_ + 1],
            int(rows[bin_]),
            float(predicted[bin_] / rows[bin_]),
            share(int(observed[bin_]), int(rows[bin_])),
        )
        for bin_ in np.flatnonzero(rows)
    ]


def curve(predictions: Array, truth: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Points of the ROC curve, thinned to a few hundred."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if positives == 0 or negatives == 0:
        return []
    order = np.argsort(-predictions, kind="stable")
    falls = np.append(np.flatnonzero(np.diff(predictions[order])), len(predictions) - 1)
    true = np.cumsum(truth[order])[falls] / positives
    false = np.cumsum(~truth[order])[falls] / negatives
    kept = np.unique(np.linspace(0, len(falls) - 1, min(_CURVE_POINTS, len(falls))).round().astype(int))
    return [(0.0, 0.0), *zip(false[kept].tolist(), true[kept].tolist(), strict=True)]


def _midranks(values: Array) -> Array:
    """Ranks from 1, the mean rank for ties."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    last = np.append(first[1:], len(values))
    ranks = np.empty(len(values))
    ranks[order] = np.repeat((first + 1 + last) / 2, last - first)
    return ranks
