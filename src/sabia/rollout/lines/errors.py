"""The line of failing requests."""

from __future__ import annotations

import msgspec

from sabia.rollout.lines.stable import Look
from sabia.rollout.lines.wealth import StoredWealth
from sabia.rollout.plan import Plan
from sabia.sequential import Batch, DifferenceTest, OddsTest


class ErrorsLine(msgspec.Struct, frozen=True):
    """Failing requests: harm against the tolerance, safety against each margin.

    Attributes:
        harm: see `sequential.OddsTest`.
        within: by margin, see `sequential.DifferenceTest`.
        n0, x0, n1, x1: requests and failures of stable and canary, all of the rollout.
    """

    harm: StoredWealth
    within: dict[str, StoredWealth]
    n0: int = 0
    x0: int = 0
    n1: int = 0
    x1: int = 0

    @classmethod
    def start(cls, plan: Plan) -> ErrorsLine:
        """No evidence yet."""
        within = {key(margin): StoredWealth.pack(DifferenceTest(margin).start()) for margin in plan.margins}
        return cls(StoredWealth.pack(_errors_test(plan).start()), within)

    def update(self, plan: Plan, look: Look) -> ErrorsLine:
        """After one more batch."""
        batch = Batch.single(look.stable.n, look.canary.n, look.stable.errors, look.canary.errors)
        phi = look.known.phi
        harm = _errors_test(plan).update(self.harm.unpack(), batch, phi)
        within = {
            name: StoredWealth.pack(DifferenceTest(float(name)).update(wealth.unpack(), batch, look.known.guess, phi))
            for name, wealth in self.within.items()
        }
        seen = (self.n0 + look.stable.n, self.x0 + look.stable.errors, self.n1 + look.canary.n)
        return ErrorsLine(StoredWealth.pack(harm), within, *seen, self.x1 + look.canary.errors)

    def log_e(self, plan: Plan) -> float:
        """Log of the evidence of harm; none while the canary fails no more than the floor."""
        floor = plan.watch.errors.floor / 100
        return self.harm.log_e if self.x1 > floor * self.n1 else min(self.harm.log_e, 0.0)

    def safe(self, margin: float) -> float:
        """Log of the evidence that the canary is within a margin."""
        return self.within[key(margin)].log_e


def key(margin: float) -> str:
    """A margin as the name of its test."""
    return f"{margin:g}"


def _errors_test(plan: Plan) -> OddsTest:
    return OddsTest(null=plan.watch.errors.tolerance)
