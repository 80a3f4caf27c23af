"""Latency by exceedance: is more of the canary's time over what the stable's time was lately?

Null: in every batch, a request is over the canary's threshold with at most the odds that it is over the stable's. The
thresholds are quantiles of the stable's *past* batches, so they are fixed before the batch; each is then a comparison
of two outcomes (`sabia.sequential.odds`), exact whatever the shape of the distribution. Unit: the request, inside one
batch.

Counts are in the buckets of a histogram, so a threshold is an edge of a bucket. The canary's lies at the first edge
that is both `tolerance` times and `slack` seconds over the stable's: rounding up only makes the test more careful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sabia.sequential.hypergeometric import Counts
from sabia.sequential.odds import Batch
from sabia.sequential.wealth import Array

# What is bet on: exceeding the stable's own quantiles is common, and its odds move by less than those of failures.
RATIOS = (1.25, 1.6, 3.0, 10.0)

# A batch's share in the memory of the next one's: the memory is about eight batches long.
_KEPT = 7 / 8
# Requests before the first look count for at most this many.
_HEAD_START = 500.0


@dataclass(frozen=True, slots=True)
class Memory:
    """The recent durations of the stable's requests: weights by bucket, shape (..., buckets)."""

    weights: Array

    @classmethod
    def start(cls, before: Array) -> Memory:
        """The memory of what the stable did before the first look; counts of shape (..., buckets)."""
        total = before.sum(axis=-1, keepdims=True)
        return cls(before * np.minimum(1.0, _HEAD_START / np.maximum(total, 1.0)))

    def update(self, counts: Counts) -> Memory:
        """The memory after one more batch."""
        kept = self.weights * _KEPT + counts
        return Memory(np.where(kept < 1e-3, 0.0, kept))

    def threshold(self, quantile: float) -> NDArray[np.int64]:
        """The bucket whose upper edge the quantile lies at; -1 while there is no memory. Shape (...)."""
        total = self.weights.sum(axis=-1)
        at = np.argmax(np.cumsum(self.weights, axis=-1) >= quantile * total[..., None] * (1 - 1e-12), axis=-1)
        return np.asarray(np.where(total > 0, at, -1), dtype=np.int64)


def shifted(threshold: int, edges: Sequence[float], *, tolerance: float, slack: float) -> int:
    """The bucket whose upper edge is the canary's threshold; past the last edge there is none: len(edges)."""
    if threshold >= len(edges):
        return len(edges)
    shifted_edge = max(edges[threshold] * tolerance, edges[threshold] + slack)
    # An edge that nearly equals it counts as equal: edges are rounded, and so are tolerances.
    return int(np.searchsorted(np.asarray(edges), shifted_edge * (1 - 1e-4), side="left"))


def exceedance(stable: Counts, canary: Counts, over: int, canary_over: int) -> Batch:
    """Requests over their threshold among all of them; counts of shape (..., buckets), not cumulative."""
    return Batch(
        n0=stable.sum(axis=-1),
        n1=canary.sum(axis=-1),
        x0=stable[..., over + 1 :].sum(axis=-1),
        x1=canary[..., canary_over + 1 :].sum(axis=-1),
    )
