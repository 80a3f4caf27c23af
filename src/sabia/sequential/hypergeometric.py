"""The hypergeometric distributions that two arms make of a batch: normalisers and expectations, many at once.

Given the sizes of the arms and the count of each category in both, the canary's counts are hypergeometric. What a
bet needs is the mean of prod_j r_j^K_j, which is

    E = [x^n1] prod_j (1 + x r_j)^m_j / C(N, n1).

For two categories and small counts it is summed term by term. Else the coefficient is a contour integral (Cauchy)
around a circle near the saddle point, by the trapezoid rule: exact with more than N nodes on the whole circle and, for
larger N, to 1e-12 with 64 nodes within nine widths of the integrand.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sabia.sequential.errors import NotComputed
from sabia.sequential.wealth import Array, log_sum

Counts = NDArray[np.int64]

# From this many terms on, the contour integral is cheaper.
_TERMS = 256
# The most numbers that a chunk of the sum takes at once.
_CHUNK = 4_000_000
_NODES = 64
_WIDTHS = 9.0
# Newton's steps before giving up: each either converges quadratically or halves the bracket, and 60 halvings end it.
_STEPS = 120
# How far from the saddle point the circle may lie, in widths of the integrand.
_NEAR = 1e-4


def log_normaliser(n0: Counts, n1: Counts, m: Counts, log_psi: Array) -> Array:
    """Log Z(psi) for each psi, up to a term that does not depend on psi.

    Args:
        n0: requests in the stable, shape (...).
        n1: requests in the canary, shape (...).
        m: events in both, shape (...).
        log_psi: shape (points,).

    Returns:
        Shape (..., points).
    """
    shape = np.shape(m)
    sizes = np.stack([np.reshape(value, -1).astype(np.int64) for value in (n0, n1, m)])
    widths = np.minimum(sizes[2], sizes[1]) - np.maximum(0, sizes[2] - sizes[0]) + 1
    found = np.empty((len(widths), len(log_psi)))
    many = np.flatnonzero(widths > _TERMS)
    if len(many):
        found[many] = _by_contour(sizes[0, many], sizes[1, many], sizes[2, many], log_psi)
    # The narrow ones first: a chunk is as wide as its widest.
    few = np.flatnonzero(widths <= _TERMS)
    few = few[np.argsort(widths[few], kind="stable")]
    rows = max(1, _CHUNK // (_TERMS * len(log_psi)))
    for start in range(0, len(few), rows):
        part = few[start : start + rows]
        found[part] = _by_sum(sizes[0, part], sizes[1, part], sizes[2, part], log_psi)
    return found.reshape(*shape, len(log_psi))


def _by_contour(n0: Counts, n1: Counts, m: Counts, log_psi: Array) -> Array:
    """The normaliser over C(N, n1): the mean of psi^K."""
    both = np.stack([m, n0 + n1 - m], axis=-1)[:, None, :]
    log_ratio = np.stack([log_psi, np.zeros_like(log_psi)], axis=-1)
    shape = (len(m), len(log_psi))
    ratios = np.broadcast_to(log_ratio, (*shape, 2))
    return log_expectation(np.broadcast_to(both, (*shape, 2)), np.broadcast_to(n1[:, None], shape), ratios)


def _by_sum(n0: Counts, n1: Counts, m: Counts, log_psi: Array) -> Array:
    low, high = np.maximum(0, m - n0), np.minimum(m, n1)
    k = low[:, None] + np.arange(int(np.max(high - low, initial=0)) + 1)
    inside = k < high[:, None]
    # Each term from the one before: C(n1,k+1) C(n0,m-k-1) / (C(n1,k) C(n0,m-k)); no factorial is ever made.
    # In floats, since a product of two counts may not fit into 64 bits.
    up = np.where(inside, (n1[:, None] - k).astype(float) * (m[:, None] - k), 1.0)
    down = np.where(inside, (k + 1.0) * (n0[:, None] - m[:, None] + k + 1), 1.0)
    steps = np.cumsum(np.log(up / down), axis=1)
    terms = np.concatenate([np.zeros((len(k), 1)), steps[:, :-1]], axis=1)
    terms = np.where(k <= high[:, None], terms, -np.inf)
    return log_sum(terms[:, None, :] + k[:, None, :] * log_psi[:, None])


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
    # With an empty arm, or everything in one, there is nothing to be random; and without a bet, nothing to be won.
    whole = (size > 0) & (size < total) & np.any(log_r != 0, axis=-1)
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
    # The logarithm is taken of 1 + something tiny, and then multiplied by millions: log1p keeps its digits.
    turned = tilted[:, :, None] * np.expm1(1j * angles)[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(m[:, :, None] == 0, 0.0, m[:, :, None] * np.log1p(turned))
    integral = np.exp(logs.sum(axis=1) - 1j * angles * size[:, None]).real.sum(axis=-1) * reach / np.pi / half
    at_saddle = np.sum(m * np.logaddexp(0.0, log_rho[:, None] + log_r), axis=-1) - size * log_rho
    if not np.all(integral > 0):
        raise NotComputed("the normaliser of a batch")
    return np.asarray(at_saddle + np.log(integral))


def _saddle(m: Array, size: Counts, log_r: Array) -> Array:
    """Log of a rho near the one at which the tilted counts have mean `size`: Newton's steps, kept in their bracket."""
    at = np.log(size / (m.sum(axis=-1) - size))
    low, high = at - log_r.max(axis=-1) - 1e-6, at - log_r.min(axis=-1) + 1e-6
    at = (low + high) / 2
    for _ in range(_STEPS):
        tilted = 1 / (1 + np.exp(-(at[:, None] + log_r)))
        excess = np.sum(m * tilted, axis=-1) - size
        variance = np.sum(m * tilted * (1 - tilted), axis=-1)
        if np.all(np.abs(excess) <= _NEAR * np.sqrt(variance)):
            break
        low, high = np.where(excess > 0, low, at), np.where(excess > 0, at, high)
        step = at - excess / np.maximum(variance, 1e-300)
        at = np.where((step > low) & (step < high), step, (low + high) / 2)
    return np.asarray(at)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
