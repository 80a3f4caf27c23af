"""The decision rule alone, without a rollout: the evidence after each pair of counter differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sabia.rollout.counters import Arm
from sabia.rollout.decision import harm
from sabia.rollout.lines import Lines, Look, Stable
from sabia.rollout.plan import Plan
from sabia.rollout.state import Verdict
from sabia.rollout.summary import describe_line, odds


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The verdict after a look, and what it is based on.

    Attributes:
        verdict: harm, safe or undecided.
        harm, safe: log of the evidence of each.
        lines: log of the evidence of each line.
        summary: one line.
    """

    verdict: Verdict
    harm: float
    safe: float
    lines: dict[str, float]
    summary: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evidence of one canary so far."""

    plan: Plan
    step: int
    lines: Lines
    stable: Stable
    looks: int = 0

    @classmethod
    def start(cls, plan: Plan, step: int) -> Evaluation:
        """No evidence yet; `step` is the one whose margin counts."""
        return cls(plan, step, Lines.start(plan), Stable())

    def update(self, stable: Arm, canary: Arm, own_buckets: bool = True) -> Evaluation:
        """After one more pair of differences.

        Args:
            stable: the stable arm.
            canary: the canary arm.
            own_buckets: whether times are in the predictor's buckets; else no tolerance of times can be applied.
        """
        lines = self.lines.update(self.plan, Look(stable, canary, self.stable), own_buckets=own_buckets)
        return Evaluation(self.plan, self.step, lines, self.stable.update(stable), self.looks + 1)

    @property
    def conclusion(self) -> Conclusion:
        """The verdict so far."""
        against = harm(self.plan, self.lines)
        safe = self.lines.errors.safe(self.plan.margins[self.step])
        if against >= -math.log(self.plan.harm.alpha):
            verdict: Verdict = "harm"
        elif safe >= -math.log(self.plan.safe.beta):
            verdict = "safe"
        else:
            verdict = "undecided"
        lines = self.lines.log_e(self.plan)
        del lines["duration"]
        summary = f"{odds(against)} to 1 against the canary; {describe_line(self.plan, self.lines, 'errors')}."
        return Conclusion(verdict, against, safe, lines, summary)
