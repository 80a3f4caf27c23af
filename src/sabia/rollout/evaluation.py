"""The rule alone, without weights and without a rollout: the evidence after each pair of counter differences."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sabia.rollout.counters import Arm
from sabia.rollout.lines import Lines, Look, Stable
from sabia.rollout.plan import Plan
from sabia.rollout.state import harm, odds, seen


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known after a look.

    Attributes:
        word: "harm", "safe" or "undecided".
        harm, safe: log of the evidence of each.
        lines: log of the evidence of each compared thing.
        says: a sentence.
    """

    word: str
    harm: float
    safe: float
    lines: dict[str, float]
    says: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The evidence of one canary so far."""

    plan: Plan
    step: int
    lines: Lines
    stable: Stable
    looks: int = 0

    @classmethod
    def begin(cls, plan: Plan, step: int) -> Evaluation:
        """No evidence yet; `step` is the one whose margin counts."""
        return cls(plan, step, Lines.begin(plan), Stable())

    def look(self, stable: Arm, canary: Arm, own_buckets: bool = True) -> Evaluation:
        """After one more pair of differences.

        Args:
            stable: the stable arm.
            canary: the canary arm.
            own_buckets: whether times are in the predictor's buckets; else no tolerance of times can be applied.
        """
        lines = self.lines.look(self.plan, Look(stable, canary, self.stable), own_buckets=own_buckets)
        return Evaluation(self.plan, self.step, lines, self.stable.after(stable), self.looks + 1)

    @property
    def verdict(self) -> Verdict:
        """What is known by now."""
        against = harm(self.plan, self.lines)
        safe = self.lines.errors.safe(self.plan.margins[self.step])
        if against >= -math.log(self.plan.harm.alpha):
            word = "harm"
        elif safe >= -math.log(self.plan.safe.beta):
            word = "safe"
        else:
            word = "undecided"
        found = self.lines.log_e(self.plan)
        del found["duration"]
        says = f"{odds(against)} to 1 against the canary; {seen(self.plan, self.lines, 'errors')}."
        return Verdict(word, against, safe, found, says)
