"""J categories in two arms, batch by batch: predictions over bins, classes, whole histograms.

Null: in every batch both arms draw from the same distribution over the categories, whichever it is. Unit of
exchangeability: the request, inside one batch.

Given the arms' sizes and the total of each category, the canary's counts k follow the multivariate hypergeometric
distribution. For ratios r_j that were fixed before the batch,

    log e = sum_j k_j log r_j - log E[prod_j r_j^K_j],     E[...] = [x^n1] prod_j (1 + x r_j)^m_j / C(N, n1).

The coefficient is a contour integral (Cauchy) around a circle near the saddle point, by the trapezoid rule: exact
with more than N nodes on the whole circle and, for larger N, to 1e-12 with 64 nodes within nine widths of the
integrand. The ratios are r_j = ((O_j + a) / (A_j + a))^l with O_j what the canary had in the past and A_j what it would
have had at its share: the Mantel-Haenszel ratio, in which common drift cancels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evidence.errors import InvalidCounts
from evidence.wealth import Array, Wealth, begin

Counts = NDArray[np.int64]

# How bold the three bets follow the past's ratios; the average of them is bet.
_BOLDNESS = (0.25, 0.5, 1.0)
_PRIOR = 5.0
_NODES = 64
_WIDTHS = 9.0
_STEPS = 12


@dataclass(frozen=True, slots=True)
class Categories:
    """Evidence that two arms differ in how they spread over categories.

    Attributes:
        wealth: of the bets.
        observed, expected: what the canary had in each category, and would have had at its share; shape (..., J).
    """

    wealth: Wealth
    observed: Array
    expected: Array

    @classmethod
    def begin(cls, categories: int, *leading: int) -> Categories:
        """No evidence yet."""
        nothing = np.zeros((*leading, categories))
        return cls(begin(len(_BOLDNESS), late=True, leading=leading), nothing, nothing)

    def look(self, stable: Counts, canary: Counts, dispersion: Array | float = 1.0) -> Categories:
        """The evidence after a batch of counts of shape (..., J)."""
        log_ratio = np.log((self.observed + _PRIOR) / (self.expected + _PRIOR))
        bets = log_ratio[..., None, :] * np.asarray(_BOLDNESS)[:, None]
        log_e = log_e_value(stable[..., None, :], canary[..., None, :], bets)
        both = stable + canary
        total = np.maximum(both.sum(axis=-1, keepdims=True), 1)
        share = np.where(stable.sum(axis=-1, keepdims=True) > 0, canary.sum(axis=-1, keepdims=True) / total, 0.0)
        seen = np.where(share > 0, canary, 0)
        after = self.wealth.after(log_e / np.asarray(dispersion)[..., None])
        return Categories(after, self.observed + seen, self.expected + both * share)


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


def log_expectation(both: Counts, n1: Counts, log_ratio: Array) -> Array:
    """Log E[prod_j r_j^K_j] for K multivariate hypergeometric.

    Args:
        both: requests of both arms in each category, shape (..., J).
        n1: requests of the canary, shape (...).
        log_ratio: shape (..., J).

    Returns:
        Shape (...).
    """
    shape, j = np.shape(n1), both.shape[-1]
    m, size, log_r = both.reshape(-1, j).astype(float), n1.reshape(-1), log_ratio.reshape(-1, j)
    total = m.sum(axis=-1)
    found = np.zeros(len(size))
    # With an empty arm, or everything in one, there is nothing to be random.
    whole = (size > 0) & (size < total)
    found[size == total] = np.sum(m * log_r, axis=-1)[size == total]
    rows = np.flatnonzero(whole)
    if len(rows):
        ways = [_log_choose(int(big), int(part)) for big, part in zip(total[rows], size[rows], strict=True)]
        found[rows] = _log_coefficient(m[rows], size[rows], log_r[rows]) - np.array(ways)
    return found.reshape(shape)


def _log_coefficient(m: Array, size: Counts, log_r: Array) -> Array:
    """Log of [x^size] prod_j (1 + x r_j)^m_j; shapes (rows, J), (rows,), (rows, J)."""
    log_rho = _saddle(m, size, log_r)
    tilted = 1 / (1 + np.exp(-(log_rho[:, None] + log_r)))
    width = np.sqrt(np.sum(m * tilted * (1 - tilted), axis=-1))
    reach = np.minimum(np.pi, _WIDTHS / np.maximum(width, 1e-9))
    reach = np.where(m.sum(axis=-1) < _NODES, np.pi, reach)
    # The other half of the circle is the complex conjugate of this one.
    half = _NODES // 2
    angles = reach[:, None] * ((np.arange(half) + 0.5) / half)
    # (1 + rho r e^(i t)) / (1 + rho r) = 1 - q + q e^(i t), with q the tilted probability.
    turned = np.exp(1j * angles) - 1
    factors = 1 + tilted[:, :, None] * turned[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(m[:, :, None] == 0, 0.0, m[:, :, None] * np.log(factors))
    integral = np.exp(logs.sum(axis=1) - 1j * angles * size[:, None]).real.sum(axis=-1) * reach / np.pi / half
    at_saddle = np.sum(m * np.logaddexp(0.0, log_rho[:, None] + log_r), axis=-1) - size * log_rho
    return np.asarray(at_saddle + np.log(integral))


def _saddle(m: Array, size: Counts, log_r: Array) -> Array:
    """Log of a rho near the one at which the tilted counts have mean `size`: Newton's steps, kept in their bracket."""
    at = np.log(size / (m.sum(axis=-1) - size))
    low, high = at - log_r.max(axis=-1) - 1e-6, at - log_r.min(axis=-1) + 1e-6
    at = (low + high) / 2
    for _ in range(_STEPS):
        tilted = 1 / (1 + np.exp(-(at[:, None] + log_r)))
        excess = np.sum(m * tilted, axis=-1) - size
        low, high = np.where(excess > 0, low, at), np.where(excess > 0, at, high)
        step = at - excess / np.maximum(np.sum(m * tilted * (1 - tilted), axis=-1), 1e-300)
        at = np.where((step > low) & (step < high), step, (low + high) / 2)
    return np.asarray(at)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def total_variation(stable: Array, canary: Array) -> Array:
    """Half the sum of the absolute differences of shares; counts of shape (..., J)."""
    shares = [counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1) for counts in (stable, canary)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(axis=-1) / 2)


def over_represented(categories: Categories) -> NDArray[np.bool_]:
    """The categories that the canary has had more of than its share; shape (..., J). Fixed by the past."""
    return categories.observed > categories.expected
