"""Two outcomes in two arms, batch by batch: the exact batch-conditional test of an odds ratio.

Null: in every batch the odds of the event in the canary are at most `null` times those in the stable (or at least, for
a test of safety). Unit of exchangeability: the request, inside one batch. Nothing is assumed between batches: the rate
may drift, both arms may fail together, and the weights may change from batch to batch.

Given the sizes n0 (stable), n1 (canary) and the number m of events in both, the number of events in the canary follows
Fisher's noncentral hypergeometric distribution: P(k) = C(n1, k) C(n0, m-k) psi^k / Z(psi). So, for a bet on the ratio
r * null instead of null,

    e = r^x1 * Z(null) / Z(null * r)

is 1 on average at the null and, as the likelihood ratio is monotone, at most 1 on its far side. Fay, "Biostatistics" 11
(2010), 373, has the distribution; Turner and Grünwald, arXiv 2302.11401, related sequential tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evidence.errors import InvalidCounts, InvalidSetting
from evidence.wealth import Array, Wealth, begin, log_sum

Counts = NDArray[np.int64]

# Ratios that are bet on. A grid: of ratios between two of them, either bet finds nearly as much, and every bet more
# costs all of them a little.
RATIOS = (1.25, 1.6, 2.5, 4.0, 8.0, 20.0, 100.0)
# How many numbers a chunk of the normaliser may take at once.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True)
class Batch:
    """What both arms got between two scrapes, and how often the event was seen; each of shape (...).

    Raises:
        InvalidCounts: a count is negative, or there are more events than requests.
    """

    n0: Counts
    n1: Counts
    x0: Counts
    x1: Counts

    def __post_init__(self) -> None:
        for name, events, total in (("stable", self.x0, self.n0), ("canary", self.x1, self.n1)):
            if np.any(events < 0) or np.any(events > total):
                raise InvalidCounts(f"The {name}'s counts", "must be 0 <= events <= requests")

    @classmethod
    def of(cls, n0: int, n1: int, x0: int, x1: int) -> Batch:
        """A batch of one rollout."""
        return cls(*(np.asarray(value, dtype=np.int64) for value in (n0, n1, x0, x1)))


@dataclass(frozen=True, slots=True)
class OddsTest:
    """Evidence that the canary's odds are more than `null` times the stable's; with `safe`, that they are less.

    Attributes:
        null: the odds ratio that is still fine (or, with `safe`, that is not any more), over 0.
        ratios: how far from it the bets are, each over 1.
        safe: look for less instead of more.
    """

    null: float = 1.0
    ratios: tuple[float, ...] = RATIOS
    safe: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.null < float("inf"):
            raise InvalidSetting("null", self.null, "a positive odds ratio")
        if not self.ratios or min(self.ratios) <= 1:
            raise InvalidSetting("ratios", self.ratios, "over 1, each")

    def begin(self, *leading: int) -> Wealth:
        """No evidence yet. A late start is looked for when harm is."""
        return begin(len(self.ratios), late=not self.safe, leading=leading)

    def look(self, wealth: Wealth, batch: Batch, dispersion: Array | float = 1.0) -> Wealth:
        """The wealth after a batch; see `evidence.dispersion` for what divides its logs."""
        return wealth.after(self.log_e(batch) / np.asarray(dispersion)[..., None])

    def log_e(self, batch: Batch) -> Array:
        """Log of each bet's e-value; shape (..., bets). A batch without one of the arms says nothing: 0."""
        log_r = np.log(np.asarray(self.ratios)) * (-1 if self.safe else 1)
        log_psi = np.log(self.null) + np.concatenate([[0.0], log_r])
        log_z = log_normaliser(batch.n0, batch.n1, batch.x0 + batch.x1, log_psi)
        log_e: Array = batch.x1[..., None] * log_r + log_z[..., :1] - log_z[..., 1:]
        return log_e


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
    sizes = [np.reshape(value, -1).astype(np.int64) for value in (n0, n1, m)]
    width = int(np.max(np.minimum(sizes[2], sizes[1]) - np.maximum(0, sizes[2] - sizes[0]), initial=0)) + 1
    rows = max(1, _CHUNK // (width * len(log_psi)))
    found = np.empty((len(sizes[0]), len(log_psi)))
    for start in range(0, len(found), rows):
        part = slice(start, start + rows)
        found[part] = _log_normaliser(sizes[0][part], sizes[1][part], sizes[2][part], log_psi)
    return found.reshape(*shape, len(log_psi))


def _log_normaliser(n0: Counts, n1: Counts, m: Counts, log_psi: Array) -> Array:
    low, high = np.maximum(0, m - n0), np.minimum(m, n1)
    k = low[:, None] + np.arange(int(np.max(high - low, initial=0)) + 1)
    inside = k < high[:, None]
    # Each term from the one before: C(n1,k+1) C(n0,m-k-1) / (C(n1,k) C(n0,m-k)); no factorial is ever made.
    up = np.where(inside, (n1[:, None] - k) * (m[:, None] - k), 1).astype(float)
    down = np.where(inside, (k + 1) * (n0[:, None] - m[:, None] + k + 1), 1).astype(float)
    steps = np.cumsum(np.log(up / down), axis=1)
    terms = np.concatenate([np.zeros((len(k), 1)), steps[:, :-1]], axis=1)
    terms = np.where(k <= high[:, None], terms, -np.inf)
    return log_sum(terms[:, None, :] + k[:, None, :] * log_psi[:, None])
