"""Quality of predicted numbers: errors and the share of variance explained, each with its interval. Pure.

Intervals are asymptotic: that of the root mean square error is the square root of the mean square's, that of R² comes
from its influence function (the delta method).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from sabia.monitoring.quality.estimates import Array, Estimate, Z, mean

MINIMUM_ROWS = 2  # one row has no spread, and therefore no interval
_BINS = 20
_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


class Residuals(msgspec.Struct, frozen=True):
    """Rows of similar predictions: their mean, and the quantiles 5, 25, 50, 75, 95 % of label minus prediction."""

    predicted: float
    rows: int
    quantiles: list[float]


class ValueQuality(msgspec.Struct, frozen=True, tag="regression", tag_field="task"):
    """Quality of predicted numbers.

    Attributes:
        rmse, mae: root mean square and mean absolute error, in the unit of the prediction.
        r2: the share of the labels' variance that is explained; None if all labels are almost the same.
        bias: the mean of label minus prediction.
        residuals: by prediction, ascending; about the same number of rows in each.
    """

    rows: int
    rmse: Estimate
    mae: Estimate
    r2: Estimate | None
    bias: Estimate
    residuals: list[Residuals]

    @property
    def scores(self) -> dict[str, Estimate]:
        """The metrics by name, those of a manifest; the first sums up the quality."""
        scores = {"rmse": self.rmse, "mae": self.mae}
        return scores if self.r2 is None else scores | {"r2": self.r2}


def measure_values(predictions: Array, labels: Array) -> ValueQuality | None:
    """Quality of predictions, shape (rows,), against labels of the same shape; None for fewer than two rows."""
    if len(labels) < MINIMUM_ROWS:
        return None
    errors = labels - predictions
    square = mean(errors**2)
    return ValueQuality(
        rows=len(labels),
        rmse=Estimate(math.sqrt(square.value), math.sqrt(max(square.low, 0.0)), math.sqrt(square.high)),
        mae=_at_least_zero(mean(np.abs(errors))),
        r2=_explained(errors, labels),
        bias=mean(errors),
        residuals=_residuals(predictions, errors),
    )


def _at_least_zero(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, max(estimate.low, 0.0), estimate.high)


def _explained(errors: Array, labels: Array) -> Estimate | None:
    centred = labels - labels.mean()
    variance = float(np.mean(centred**2))
    if variance == 0:
        return None
    # Labels that hardly differ make both larger than a number can be.
    with np.errstate(over="ignore", invalid="ignore"):
        unexplained = float(np.mean(errors**2) / np.float64(variance))
        influence = (errors**2 - unexplained * centred**2) / variance
        reach = Z * float(influence.std(ddof=1)) / math.sqrt(len(labels))
    value = 1 - unexplained
    return Estimate(value, value - reach, min(1.0, value + reach)) if math.isfinite(value - reach) else None


def _residuals(predictions: Array, errors: Array) -> list[Residuals]:
    edges = np.unique(np.quantile(predictions, np.linspace(0, 1, _BINS + 1)[1:-1]))
    at = np.searchsorted(edges, predictions, side="right")
    order = np.argsort(at, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(at[order])) + 1)
    return [
        Residuals(float(predictions[part].mean()), len(part), np.quantile(errors[part], _LEVELS).tolist())
        for part in parts
    ]
