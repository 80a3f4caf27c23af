"""The expected calibration error of probabilities (Naeini et al. 2015), for publishing and for monitoring alike.

Probabilities are grouped into ten bins of equal width. A bin is closed on the left, as the bins of `reference.json`
are, and its edges are the numbers that are written 0.1, 0.2, ..., 0.9. A multiple of a step (`linspace`) or a
truncated product (`int(p * 10)`) differs from them in the last digit and puts a probability of exactly 0.3 or 0.7 into
the neighbouring bin; forests of ten trees predict such values in every row.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sabia.contract.bins import bins_of

Array = NDArray[np.float64]

BINS = 10
EDGES = tuple(edge / BINS for edge in range(BINS + 1))


def bins(probabilities: Array) -> NDArray[np.int64]:
    """The bin of each probability in [0, 1], from 0 to `BINS` - 1; shape (rows,) of shape (rows,)."""
    return bins_of(EDGES[1:-1], probabilities)


def calibration_error(probabilities: Array, labels: NDArray[np.float64] | NDArray[np.int64]) -> float:
    """The distance between mean probability and share of positives, averaged over the bins by their rows.

    0 is perfectly calibrated, 1 is certain and always wrong.

    Args:
        probabilities: in [0, 1], shape (rows,), at least one.
        labels: 0 or 1, shape (rows,).
    """
    at = bins(probabilities)
    gaps = np.bincount(at, weights=probabilities - labels, minlength=BINS)
    return float(np.abs(gaps).sum() / len(labels))
