"""Where a rollout stands: everything that the next decision depends on.

```
Pending ──► Stepping 1 … n ──► Promoting ──► Promoted
    │            │                 │
    └────────────┴─────────────────┴──► RollingBack ──► RolledBack
```
`paused` (by a person, or because the stable version got worse or the weights were changed by hand) and `held` (evidence
that a person must judge) are conditions: they keep a step from advancing; neither keeps harm from rolling back.

Weights are recorded as `desired` before they are put into force, and as `confirmed` after; an engine that finds them
different puts them into force again.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from sabia.rollout.counters import Scrape
from sabia.rollout.events import Started
from sabia.rollout.lines import Lines, Stable

Phase = Literal["Pending", "Stepping", "Promoting", "Promoted", "RollingBack", "RolledBack"]
Verdict = Literal["harm", "safe", "undecided"]

ENDED: tuple[Phase, ...] = ("Promoted", "RolledBack")


class State(msgspec.Struct, frozen=True):
    """The state after an event.

    Attributes:
        phase: where it is on its way.
        step: index of the step whose weights are desired; None before the first.
        dwell, elapsed: seconds in this step, and in total.
        paused, held, problem: a sentence each, or None; held by kind.
        accepted: kinds of holding that a person resumed from.
        desired, confirmed: weights; confirmed is None until the first look.
        baseline: the counters that the next batch counts from.
        ages: by version and replica, the seconds since it was first scraped.
        active: canaries that get requests.
        verdicts: by canary, the verdict of the last look.
        lines: by canary, the evidence.
        shares: requests by version since the weights were confirmed.
        quiet: consecutive looks without a request at the versions that get none.
        reason: why it was rolled back or promoted.
    """

    phase: Phase
    step: int | None
    desired: dict[str, int]
    active: list[str]
    lines: dict[str, Lines]
    stable: Stable = Stable()
    confirmed: dict[str, int] | None = None
    baseline: Scrape | None = None
    dwell: float = 0.0
    elapsed: float = 0.0
    paused: str | None = None
    held: dict[str, str] = {}
    problem: str | None = None
    accepted: list[str] = []
    ages: dict[str, dict[str, float]] = {}
    verdicts: dict[str, Verdict] = {}
    shares: dict[str, int] = {}
    quiet: int = 0
    reason: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the rollout is over."""
        return self.phase in ENDED

    @property
    def unsettled(self) -> bool:
        """Whether weights are desired that are not known to be in force."""
        return not self.ended and self.confirmed is not None and self.desired != self.confirmed

    def replace(self, **changed: object) -> State:
        """The state with some fields changed."""
        return msgspec.structs.replace(self, **changed)


def initial_state(event: Started) -> State:
    """The state of a rollout that has just been started."""
    plan = event.plan
    lines = {version: Lines.start(plan) for version in plan.canaries}
    return State(phase="Pending", step=None, desired=event.weights, active=plan.canaries, lines=lines)
