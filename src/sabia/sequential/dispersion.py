"""Requests that are not independent: how much more the stable's counts scatter than independent ones would.

Failures come in bursts: one client retries, one batch job sends thirty bad rows. Then a test that takes requests for
independent is wrong by far. Two remedies:

- *Count by client* where clients are known: `failing_clients`. The unit is then the client inside one batch.
- *Temper* where they are not: divide the log of every e-value by the stable's dispersion phi, estimated from earlier
  batches. E[e^(1/phi)] <= E[e]^(1/phi) <= 1 by Jensen's inequality, so that tempering never breaks a test that was
  right. For bursts of constant size phi it equals the test by client; for random sizes it is a quasi-likelihood
  correction, validated by simulation (`benchmarks/rollouts`), not a proof.

Phi is estimated from *differences of successive batches*, d^2 / Var(d) with the pooled rate of the two: a rate that
drifts does not look like bursts, as it would in Pearson's dispersion around one mean, and an outage only at its edges.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sabia.sequential.hypergeometric import Counts
from sabia.sequential.wealth import Array

# About an hour of looks every 15 s.
_KEPT = 1 - 1 / 240
# Under this, scatter is chance; over it, the estimate is taken half as much again, as it is noisy where it matters.
_CHANCE = 1.3
_MARGIN = 1.5


@dataclass(frozen=True, slots=True)
class Dispersion:
    """The stable's scatter so far; every field has shape (...).

    Attributes:
        scatter: sum of d^2 / Var(d).
        pairs: number of pairs of batches in that sum, both forgotten at the same pace.
        last_n, last_x: the batch before.
    """

    scatter: Array
    pairs: Array
    last_n: Counts
    last_x: Counts

    @classmethod
    def start(cls, *leading: int) -> Dispersion:
        """Before the first batch."""
        nothing = np.zeros(leading)
        return cls(nothing, nothing, nothing.astype(np.int64), nothing.astype(np.int64))

    def update(self, n: Counts, x: Counts) -> Dispersion:
        """The scatter after one more batch of the stable."""
        rate = (x + self.last_x) / np.maximum(n + self.last_n, 1)
        informative = (n > 0) & (self.last_n > 0) & (rate > 0) & (rate < 1)
        safe_n, safe_last = np.maximum(n, 1), np.maximum(self.last_n, 1)
        variance = np.where(informative, rate * (1 - rate) * (1 / safe_n + 1 / safe_last), 1.0)
        d = x / safe_n - self.last_x / safe_last
        scatter = np.where(informative, self.scatter * _KEPT + d * d / variance, self.scatter)
        pairs = np.where(informative, self.pairs * _KEPT + 1, self.pairs)
        return Dispersion(scatter, pairs, np.where(n > 0, n, self.last_n), np.where(n > 0, x, self.last_x))

    @property
    def phi(self) -> Array:
        """What to divide log e-values by: 1 where the scatter is chance; shape (...)."""
        found = np.where(self.pairs > 0, self.scatter / np.maximum(self.pairs, 1e-12), 1.0)
        # With k pairs the estimate of 1 has a standard deviation of about sqrt(2/k).
        chance = _CHANCE + 2 * np.sqrt(2 / np.maximum(self.pairs, 1.0))
        return np.asarray(np.where(found > chance, np.maximum(found * _MARGIN, 1.0), 1.0))


def failing_clients(requests: Iterable[tuple[str, bool]]) -> tuple[int, int]:
    """Clients of one arm in one batch, and those among them with a failure, from (client, failed) pairs."""
    failed: dict[str, bool] = {}
    for client, bad in requests:
        failed[client] = failed.get(client, False) or bad
    return len(failed), sum(failed.values())
