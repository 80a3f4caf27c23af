"""J categories in two arms, batch by batch: predictions over bins, classes, whole histograms.

Null: in every batch both arms draw from the same distribution over the categories, whichever it is. Unit of
exchangeability: the request, inside one batch.

Given the arms' sizes and the total of each category, the canary's counts k follow the multivariate hypergeometric
distribution. For ratios r_j that were fixed before the batch,

    log e = sum_j k_j log r_j - log E[prod_j r_j^K_j],     E[...] = [x^n1] prod_j (1 + x r_j)^m_j / C(N, n1).

`sabia.sequential.hypergeometric` has the expectation. Two kinds of bets share the wealth:

- one on each category alone, that the canary has its ratio to the rest more often (`sabia.sequential.odds`): nothing
  has to be learned first, and this is how a version usually breaks;
- one on the shape of the past, r_j = ((O_j + a) / (A_j + a))^l with O_j what the canary had and A_j what it would have
  had at its share: the Mantel-Haenszel ratio, in which common drift cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sabia.sequential.errors import InvalidCounts
from sabia.sequential.hypergeometric import Counts, log_expectation
from sabia.sequential.odds import Batch, OddsTest
from sabia.sequential.wealth import Array, Wealth, start_wealth

# How boldly the bets follow the past's ratios.
_BOLDNESS = (0.5, 1.0)
_PRIOR = 5.0
# The bet on each category alone, and its share of the wealth.
_ALONE = OddsTest(ratios=(2.25,))
_ALONE_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Categories:
    """Evidence that two arms differ in how they spread over categories.

    Attributes:
        shape: of the bets on the shape.
        alone: of the bets on each category.
        observed, expected: what the canary had in each category, and would have had at its share; shape (..., J).
    """

    shape: Wealth
    alone: Wealth
    observed: Array
    expected: Array

    @classmethod
    def start(cls, categories: int, *leading: int) -> Categories:
        """No evidence yet."""
        nothing = np.zeros((*leading, categories))
        shape = start_wealth(len(_BOLDNESS), late=True, leading=leading)
        return cls(shape, start_wealth(categories, late=True, leading=leading), nothing, nothing)

    @property
    def log_e(self) -> Array:
        """Log of the e-process; shape (...)."""
        shares = math.log(1 - _ALONE_SHARE), math.log(_ALONE_SHARE)
        return np.asarray(np.logaddexp(self.shape.log_e + shares[0], self.alone.log_e + shares[1]))

    def update(self, stable: Counts, canary: Counts, dispersion: Array | float = 1.0) -> Categories:
        """The evidence after a batch of counts of shape (..., J)."""
        phi = np.asarray(dispersion)[..., None]
        log_ratio = np.log((self.observed + _PRIOR) / (self.expected + _PRIOR))
        bets = log_ratio[..., None, :] * np.asarray(_BOLDNESS)[:, None]
        on_shape = log_e_value(stable[..., None, :], canary[..., None, :], bets) / phi
        n0, n1 = (np.broadcast_to(arm.sum(axis=-1, keepdims=True), arm.shape) for arm in (stable, canary))
        on_each = _ALONE.log_e(Batch(n0, n1, stable, canary))[..., 0] / phi
        both = stable + canary
        total = np.maximum(both.sum(axis=-1, keepdims=True), 1)
        share = np.where(stable.sum(axis=-1, keepdims=True) > 0, canary.sum(axis=-1, keepdims=True) / total, 0.0)
        counted = np.where(share > 0, canary, 0)
        return Categories(
            self.shape.update(on_shape),
            self.alone.update(on_each),
            self.observed + counted,
            self.expected + both * share,
        )


def log_e_value(stable: Counts, canary: Counts, log_ratio: Array) -> Array:
    """Log of the e-value of one batch for fixed ratios; counts and ratios have shape (..., J), the result (...).

    Raises:
        InvalidCounts: a count is negative.
    """
    if np.any(stable < 0) or np.any(canary < 0):
        raise InvalidCounts("Counts of categories", "must not be negative")
    won = np.sum(canary * log_ratio, axis=-1)
    both = np.broadcast_to(stable + canary, np.broadcast_shapes(np.shape(canary), np.shape(log_ratio)))
    n1 = np.broadcast_to(canary.sum(axis=-1), np.shape(won))
    return np.asarray(won - log_expectation(both, n1, np.broadcast_to(log_ratio, np.shape(both))))


def total_variation(stable: Array, canary: Array) -> Array:
    """Half the sum of the absolute differences of shares; counts of shape (..., J)."""
    shares = [counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1) for counts in (stable, canary)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(axis=-1) / 2)


def over_represented(categories: Categories) -> NDArray[np.bool_]:
    """The categories that the canary has had more of than its share; shape (..., J). Fixed by the past."""
    return categories.observed > categories.expected
