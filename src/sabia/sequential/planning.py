"""How fast evidence grows, and so when it will be enough: before a rollout starts, and while it runs.

The log of a bet grows by the relative entropy between what happens and the null. For a rare event of rate
p_s in the stable and p_c in the canary, which gets the share w of n requests, and a bet on the ratio r, a batch adds on
average, with t(r) = w r / (w r + 1 - w) the share of all events that the canary would have,

    growth(r) = n * ( w p_c ln(t(r) / w) + (1 - w) p_s ln((1 - t(r)) / (1 - w)) ).

The e-process is the average over the bets, so its log after t batches is about log mean exp(t growth(r)). The decision
comes when that reaches ln(1/alpha).
"""

from __future__ import annotations

import math

import numpy as np

from sabia.sequential.odds import RATIOS
from sabia.sequential.wealth import Array


def odds_growth(n: float, share: float, stable: float, canary: float, *, ratios: tuple[float, ...] = RATIOS) -> Array:
    """What one batch of n requests adds on average to the log of each bet against equal odds; shape (bets,).

    Args:
        n: requests of both arms in a batch.
        share: of them in the canary.
        stable: share of its requests that fails.
        canary: share of its requests that fails.
        ratios: what is bet on.
    """
    r = np.asarray((1.0, *ratios))
    theta = share * r / (share * r + 1 - share)
    in_canary, in_stable = n * share * canary, n * (1 - share) * stable
    growth: Array = in_canary * (np.log(theta[1:]) - math.log(theta[0])) + in_stable * (
        np.log1p(-theta[1:]) - math.log1p(-theta[0])
    )
    return growth
