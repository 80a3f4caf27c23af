"""A difference of two rates against a margin, batch by batch: is the canary within it, or beyond it?

Null for `within`: in every batch the canary's rate is at least the stable's plus `margin`. Null for `beyond`: it is at
most the stable's plus `margin`. Unit: the request, independent of the others given the rates. The rates themselves may
change from batch to batch in any way, both at once, and so may the weights.

Derived here. For a guess g of the stable's rate that is made before the batch (any guess is valid, a good one finds
more), a bet a and q = g + margin, let every request y of the canary and z of the stable (1: the event, 0: not) give

    within:  1 - a (y - q)   and   1 + b (z - g)        with b = a n1 / n0.

The expectations are 1 - a (p_c - q) and 1 + b (p_s - g). By 1 + u <= exp(u), the whole batch has an expectation of at
most exp(-a n1 (p_c - q) + b n0 (p_s - g)), and where p_c >= p_s + margin that is at most exp((p_s - g)(b n0 - a n1)),
which is 1: the unknown rate p_s cancels, whatever it was. `beyond` has both signs turned. With a = (1 - k) / (1 - q)
the canary's part is the likelihood ratio of the rate k q against q.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sabia.sequential.errors import InvalidSetting
from sabia.sequential.hypergeometric import Counts
from sabia.sequential.odds import Batch
from sabia.sequential.wealth import Array, Wealth, start_wealth

Numbers = Array | Counts | float

# `within`: bets on a canary whose rate is this share of the margin's rate q.
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
# `beyond`: bets as shares of the largest that is possible.
_STAKES = (0.03, 0.1, 0.3, 0.9)
# A batch may lose at most this share of the wealth on the stable's side, for each request.
_MOST = 0.9


@dataclass(frozen=True, slots=True)
class DifferenceTest:
    """Evidence that canary minus stable is under `margin` or, with `beyond`, over it.

    Attributes:
        margin: in [0, 1); over 0 for `within`.
        beyond: look for more than the margin.
    """

    margin: float
    beyond: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1 or (self.margin == 0 and not self.beyond):
            raise InvalidSetting("margin", self.margin, "a difference of two rates, over 0 and under 1")

    def start(self, *leading: int) -> Wealth:
        """No evidence yet."""
        return start_wealth(len(_STAKES if self.beyond else _SHARES), late=self.beyond, leading=leading)

    def update(self, wealth: Wealth, batch: Batch, guess: Array | float, dispersion: Array | float = 1.0) -> Wealth:
        """The wealth after a batch; `guess` is the stable's rate as it was thought before the batch."""
        return wealth.update(self.log_e(batch, guess) / np.asarray(dispersion)[..., None])

    def log_e(self, batch: Batch, guess: Array | float) -> Array:
        """Log of each bet's e-value; shape (..., bets). A batch without one of the arms is no evidence: 0."""
        return self.expected(batch.n0, batch.n1, batch.x0, batch.x1, guess)

    def expected(self, n0: Numbers, n1: Numbers, x0: Numbers, x1: Numbers, guess: Array | float) -> Array:
        """`log_e` of counts that need not be whole: it is linear in the events, so that means give means."""
        stable_n, canary_n, stable_x, canary_x = (_floats(count) for count in (n0, n1, x0, x1))
        # Any guess will do; this one keeps q under 1.
        g = np.clip(np.asarray(guess, dtype=float), 1e-6, 1 - self.margin - 1e-6)[..., None]
        q = g + self.margin
        size0, size1 = np.maximum(stable_n, 1e-9), np.maximum(canary_n, 1e-9)
        side = -1.0 if self.beyond else 1.0
        if self.beyond:
            # The canary's factor is 1 + a (y - q): for y = 0 it must stay positive. The stable's is 1 - b (z - g).
            a, most = np.asarray(_STAKES) / q, _MOST / (1 - g)
        else:
            a, most = (1 - np.asarray(_SHARES)) / (1 - q), _MOST / g
        a = np.minimum(a, most * size0 / size1)
        b = a * size1 / size0
        canary = _times(canary_x, 1 - side * a * (1 - q)) + _times(canary_n - canary_x, 1 + side * a * q)
        stable = _times(stable_x, 1 + side * b * (1 - g)) + _times(stable_n - stable_x, 1 - side * b * g)
        return np.where((stable_n > 0) & (canary_n > 0), canary + stable, 0.0)


def _floats(count: Numbers) -> Array:
    """With an axis for the bets."""
    return np.asarray(count, dtype=np.float64)[..., None]


def _times(count: Array, factor: Array) -> Array:
    """Log of `factor` to the power of `count`; nothing to the power of nothing is 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count == 0, 0.0, count * np.log(np.maximum(factor, 0.0)))
