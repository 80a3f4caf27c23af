"""The line of refused requests: 4xx that one version gives, and the other would not have."""

from __future__ import annotations

import msgspec
import numpy as np

from sabia.rollout.lines.stable import Look
from sabia.rollout.lines.wealth import StoredWealth
from sabia.sequential import Batch, Dispersion, OddsTest


class RefusalsLine(msgspec.Struct, frozen=True):
    """Refused requests among those that were answered or refused; see `sequential.OddsTest`.

    A request that no version takes is refused by either arm, as the weights choose: what clients do wrong cancels.

    Attributes:
        bets: the wealth of the test.
        n0, x0, n1, x1: responses and refusals of stable and canary, all of the rollout.
        scatter, pairs, last_n, last_x: of the stable's refusals, see `sequential.Dispersion`.
    """

    bets: StoredWealth
    n0: int = 0
    x0: int = 0
    n1: int = 0
    x1: int = 0
    scatter: float = 0.0
    pairs: float = 0.0
    last_n: int = 0
    last_x: int = 0

    @classmethod
    def start(cls, tolerance: float) -> RefusalsLine:
        """No evidence yet."""
        return cls(StoredWealth.pack(OddsTest(null=tolerance).start()))

    def update(self, tolerance: float, look: Look) -> RefusalsLine:
        """After one more batch."""
        (n0, x0), (n1, x1) = ((arm.n + arm.refused, arm.refused) for arm in (look.stable, look.canary))
        known = Dispersion(*(np.asarray(value) for value in (self.scatter, self.pairs, self.last_n, self.last_x)))
        test, after = OddsTest(null=tolerance), known.update(np.asarray(n0), np.asarray(x0))
        return RefusalsLine(
            StoredWealth.pack(test.update(self.bets.unpack(), Batch.single(n0, n1, x0, x1), known.phi)),
            *(self.n0 + n0, self.x0 + x0, self.n1 + n1, self.x1 + x1),
            *(float(after.scatter), float(after.pairs), int(after.last_n), int(after.last_x)),
        )

    def log_e(self, floor: float) -> float:
        """Log of the evidence of harm; none while the canary refuses no more than `floor` percent of its requests."""
        return self.bets.log_e if self.x1 > floor / 100 * self.n1 else min(self.bets.log_e, 0.0)
