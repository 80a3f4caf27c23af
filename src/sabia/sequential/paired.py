"""The same request to both versions (mirrored traffic): pairs instead of arms.

Unit: the pair, independent of the other pairs. What both versions share cancels inside a pair, so that pairs find in
tens of requests what a split finds in thousands.
"""

from __future__ import annotations

import math

import numpy as np

from sabia.sequential.errors import InvalidCounts, InvalidSetting
from sabia.sequential.wealth import Array, log_sum


def sign_test(only_canary: int, only_stable: int) -> float:
    """Log e-value against "where just one of a pair has the event, it is the canary's at most half of the time".

    A uniform mixture of the alternatives theta in (1/2, 1]: E = 2^(b+c) * 2 * [B(b+1, c+1) - B_1/2(b+1, c+1)].

    Raises:
        InvalidCounts: a count is negative.
    """
    return above_rate(only_canary, only_canary + only_stable, 0.5)


def above_rate(events: int, pairs: int, rate: float) -> float:
    """Log e-value against "the event has at most this rate": a mixture of the rates above it.

    The mixture is Beta(1, b) over (rate, 1], b = 1/(4 rate) rounded and at least 1: most of it lies within a few times
    the rate, and from 1/6 on it is uniform. Its integral is
    B(k+1, n-k+b) P(Binomial(n+b, rate) <= k) / ((1-rate)^b / b), over the null's rate^k (1-rate)^(n-k).

    Raises:
        InvalidCounts: not 0 <= events <= pairs.
        InvalidSetting: the rate is not between 0 and 1.
    """
    if not 0 <= events <= pairs:
        raise InvalidCounts("Pairs", "must be at least as many as events, and neither negative")
    if not 0 < rate < 1:
        raise InvalidSetting("rate", rate, "over 0 and under 1")
    b = max(1, round(0.25 / rate))
    log_beta = math.lgamma(events + 1) + math.lgamma(pairs - events + b) - math.lgamma(pairs + b + 1)
    tail = float(log_sum(_log_binomial(pairs + b, events, rate)))
    prior = b * math.log1p(-rate) - math.log(b)
    null = events * math.log(rate) + (pairs - events) * math.log1p(-rate)
    return log_beta + min(tail, 0.0) - prior - null


def _log_binomial(n: int, most: int, p: float) -> Array:
    """Log of P(Binomial(n, p) = k) for k = 0 … most; shape (most + 1,)."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p)
        for k in range(most + 1)
    ]
    return np.asarray(logs)
