"""The rule by which a value falls into a bin, for histograms of training rows, of served rows and of predictions.

A histogram has inner edges, ascending, and one bin more than edges. A bin is closed on the left, and the two outer ones
are open to infinity: a value v is in bin `sum(edge <= v)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bins_of(edges: Array | Sequence[float], values: Array | Sequence[float]) -> NDArray[np.int64]:
    """The bin of each value, from 0 to the number of edges; shape (rows,) of shape (rows,)."""
    return np.asarray(np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="right"), dtype=np.int64)


def counts_of(edges: Array | Sequence[float], values: Array | Sequence[float]) -> NDArray[np.int64]:
    """The number of values in each bin, shape (edges + 1,)."""
    return np.bincount(bins_of(edges, values), minlength=len(edges) + 1)
