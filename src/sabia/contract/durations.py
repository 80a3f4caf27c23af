"""The buckets of the durations that a predictor counts, for those who count and those who compare."""

from __future__ import annotations

import math

# One bucket is five percent: the tolerance of a rollout's plan is then one bucket.
SHORTEST, LONGEST, RATIO = 1e-5, 60.0, 1.05


def log_edges(shortest: float, longest: float, ratio: float) -> tuple[float, ...]:
    """Upper bucket edges in seconds, each at most `ratio` times the one before, from `shortest` to `longest`."""
    steps = math.ceil(math.log(longest / shortest) / math.log(ratio))
    exact = (longest / shortest) ** (1 / steps)
    return tuple(float(f"{shortest * exact**step:.6g}") for step in range(steps + 1))


EDGES = log_edges(SHORTEST, LONGEST, RATIO)
LABELS = (*(f"{edge:.6g}" for edge in EDGES), "+Inf")
