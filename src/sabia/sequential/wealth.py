"""Wealth of bets against a null: the state of every sequential test between looks.

A test offers a few bets. Each batch multiplies the wealth of every bet by an e-value: a number that is at most 1 on
average, given everything before, whenever the null holds. So the average of the wealths is an *e-process*, and by
Ville's inequality it ever reaches 1/alpha with a probability of at most alpha, however often one looks (Shafer, Vovk,
"Game-Theoretic Foundations"; Ramdas et al., arXiv 2210.01948).

Harm may start late. So part of the wealth of each bet is reserved: a share of 0.95 is put on the first batch, and of
the rest 1/(t(t+1)) on batch t. A mixture over starting times with fixed shares is an e-process too, and a bet that lost
for an hour while all was well does not have to win that hour back.

All logarithms are natural. Arrays may have leading axes: one for each of many rollouts that are looked at together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sabia.sequential.errors import NotComputed

Array = NDArray[np.float64]

_FIRST = 0.95


@dataclass(frozen=True, slots=True)
class Wealth:
    """Where the bets of one test stand.

    Attributes:
        bets: log of the wealth at work in each bet, per unit of its initial wealth; shape (..., bets).
        batches: number of batches so far.
        late: whether part of the wealth is reserved for later starts.
    """

    bets: Array
    batches: int
    late: bool

    def update(self, log_e: Array) -> Wealth:
        """The wealth after one more batch, whose e-values have these logs; shape (..., bets).

        Raises:
            NotComputed: an e-value is not a number, or infinite: no finite counts give that.
        """
        if np.any(np.isnan(log_e)) or np.any(np.isposinf(log_e)):
            raise NotComputed("the evidence of a batch")
        joining = _joining(self.batches) if self.late else (0.0 if self.batches == 0 else -math.inf)
        working = np.logaddexp(self.bets, joining)
        # A bet that has lost everything stays there; minus infinity plus infinity must not make it a number.
        moved = np.where(np.isneginf(working), -np.inf, working + log_e)
        return Wealth(moved, self.batches + 1, self.late)

    @property
    def log_e(self) -> Array:
        """Log of the e-process, the average over the bets, with what is reserved; shape (...)."""
        waiting = _waiting(self.batches) if self.late else (0.0 if self.batches == 0 else -math.inf)
        return log_mean(np.logaddexp(self.bets, waiting))


def start_wealth(bets: int, *, late: bool, leading: tuple[int, ...] = ()) -> Wealth:
    """Every bet with one unit of wealth, none of it at work yet."""
    return Wealth(np.full((*leading, bets), -np.inf), 0, late)


def log_mean(logs: Array) -> Array:
    """Log of the mean of exp(logs) over the last axis."""
    return log_sum(logs) - math.log(logs.shape[-1])


def log_sum(logs: Array) -> Array:
    """Log of the sum of exp(logs) over the last axis; minus infinity where every one is."""
    top = np.max(logs, axis=-1, keepdims=True)
    finite = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        found = np.log(np.sum(np.exp(logs - finite), axis=-1)) + finite[..., 0]
    return np.asarray(np.where(np.isposinf(top[..., 0]), np.inf, found))


def _joining(batches: int) -> float:
    """Log of the share of the wealth that starts to work after this many batches."""
    return math.log(_FIRST) if batches == 0 else math.log((1 - _FIRST) / (batches * (batches + 1)))


def _waiting(batches: int) -> float:
    """Log of the share still reserved after this many batches."""
    return 0.0 if batches == 0 else math.log((1 - _FIRST) / batches)
