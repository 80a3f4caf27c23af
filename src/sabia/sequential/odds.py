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

from sabia.sequential.errors import InvalidCounts, InvalidSetting
from sabia.sequential.hypergeometric import Counts, log_normaliser
from sabia.sequential.wealth import Array, Wealth, start_wealth

# Ratios that are bet on. A grid: of ratios between two of them, either bet finds nearly as much, and every bet more
# costs all of them a little.
RATIOS = (1.5, 2.5, 4.0, 8.0, 20.0, 100.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Requests of both arms between two scrapes, and events among them; each of shape (...).

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
    def single(cls, n0: int, n1: int, x0: int, x1: int) -> Batch:
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

    def start(self, *leading: int) -> Wealth:
        """No evidence yet. A late start is looked for when harm is."""
        return start_wealth(len(self.ratios), late=not self.safe, leading=leading)

    def update(self, wealth: Wealth, batch: Batch, dispersion: Array | float = 1.0) -> Wealth:
        """The wealth after a batch; see `sabia.sequential.dispersion` for what divides its logs."""
        return wealth.update(self.log_e(batch) / np.asarray(dispersion)[..., None])

    def log_e(self, batch: Batch) -> Array:
        """Log of each bet's e-value; shape (..., bets). A batch without one of the arms is no evidence: 0."""
        log_r = np.log(np.asarray(self.ratios)) * (-1 if self.safe else 1)
        log_psi = np.log(self.null) + np.concatenate([[0.0], log_r])
        log_z = log_normaliser(batch.n0, batch.n1, batch.x0 + batch.x1, log_psi)
        log_e: Array = batch.x1[..., None] * log_r + log_z[..., :1] - log_z[..., 1:]
        return log_e
