"""The distance between the converted model and its estimator, row by row and output by output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.signature import Output
from sabia.publishing.graphs import Arrays

# float32 sums of leaf values; measured up to 6e-7 relative.
SINGLE = 1e-5
# Sums of float64 in another order.
DOUBLE = 1e-9


@dataclass(frozen=True, slots=True)
class Distance:
    """The largest distance, whether it is within the tolerance, and its row."""

    error: float
    tolerance: float
    row: int

    @property
    def passes(self) -> bool:
        """Whether the model may be published."""
        return self.error <= self.tolerance


def compare(outputs: Sequence[Output], estimator: Arrays, served: Arrays, tolerance: float) -> Distance:
    """Compare answers by the names of the outputs.

    Numbers differ by their distance; `tolerance` is of 1, or of the largest number where that is more. Another label is
    a distance of 1, unless the best two probabilities are closer than the tolerance: either is right then.
    """
    worst = Distance(0.0, tolerance, 0)
    for output in outputs:
        one, other = estimator[output.name], served[output.name]
        allowed = tolerance
        if output.role == "label":
            distance = (np.asarray(one) != np.asarray(other)).astype(np.float64)
            distance[_ties(outputs, estimator, tolerance)] = 0
        else:
            distance = _largest(np.abs(np.asarray(one, np.float64) - np.asarray(other, np.float64)))
            both_nan = np.isnan(one) & np.isnan(other)
            distance = np.where(_largest(both_nan.astype(np.float64)) > 0, 0.0, distance)
            if output.role in ("value", "vector"):
                finite = np.abs(np.asarray(one, np.float64))
                allowed *= max(1.0, float(finite[np.isfinite(finite)].max(initial=0.0)))
        # A NaN on one side is no distance that passes.
        distance = np.where(np.isnan(distance), np.inf, distance)
        at = int(distance.argmax())
        if distance[at] / allowed >= worst.error / worst.tolerance:
            worst = Distance(float(distance[at]), allowed, at)
    return worst


def _ties(outputs: Sequence[Output], answers: Arrays, tolerance: float) -> NDArray[np.bool_]:
    for output in outputs:
        if output.role == "class-probabilities":
            best = np.sort(answers[output.name], axis=1)[:, -2:]
            return np.asarray(best[:, 1] - best[:, 0] <= 2 * tolerance)
    return np.zeros(len(next(iter(answers.values()))), dtype=bool)


def _largest(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(values.reshape(len(values), -1).max(axis=1), dtype=np.float64)
