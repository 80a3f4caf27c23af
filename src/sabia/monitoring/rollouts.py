"""Rollouts as a report shows them: every look, the weights, the evidence and the sentence that explains it."""

from __future__ import annotations

import math

import msgspec

from sabia.rollout import summary
from sabia.rollout.decision import harm
from sabia.rollout.errors import BrokenRecord
from sabia.rollout.events import kind
from sabia.rollout.plan import Plan
from sabia.rollout.record import Record, names
from sabia.rollout.state import State
from sabia.store.objects import Store

_LARGEST = 50.0  # exp(50) is certainty enough, and a number that every reader of JSON takes


class Look(msgspec.Struct, frozen=True):
    """One record.

    Attributes:
        elapsed: seconds since the rollout began.
        weights: percent by version, as they were wanted.
        requests, failed: by version, all of the rollout so far.
        against, safe: by canary, log10 of the evidence that it does harm, and that it is safe at this step.
        summary: the state in one line.
    """

    seq: int
    at: str
    kind: str
    elapsed: float
    phase: str
    step: int | None
    weights: dict[str, int]
    requests: dict[str, int]
    failed: dict[str, int]
    against: dict[str, float]
    safe: dict[str, float]
    summary: str


class Rollout(msgspec.Struct, frozen=True):
    """One rollout.

    Attributes:
        harm_limit, safe_limit: log10 of the evidence at which a canary is rolled back, and at which a step ends.
    """

    name: str
    stable: str
    canaries: list[str]
    steps: list[int]
    phase: str
    conditions: list[str]
    ended: bool
    summary: str
    harm_limit: float
    safe_limit: float
    looks: list[Look]


def rollouts(store: Store, model: str) -> list[Rollout]:
    """Every rollout of a model, oldest first.

    Raises:
        BrokenRecord: a record cannot be read.
        StoreError: the store failed.
    """
    return [Followed(Record(store, model, name)).read() for name in names(store, model)]


class Followed:
    """A rollout whose record is read as it grows, each entry once."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._plan: Plan | None = None
        self._state: State | None = None
        self._looks: list[Look] = []

    def read(self) -> Rollout:
        """The rollout as it is now.

        Raises:
            RolloutNotFound, BrokenRecord: there is none, or it cannot be read.
        """
        if self._plan is None:
            self._plan = self._record.plan()
        plan = self._plan
        while (found := self._record.entry(len(self._looks))) is not None:
            entry = found[0]
            self._state = entry.state
            self._looks.append(_look(plan, entry.state, entry.seq, entry.at, kind(entry.event), entry.summary))
        if self._state is None:
            raise BrokenRecord(self._record.name, 0, "is missing")
        return Rollout(
            name=self._record.name,
            stable=plan.stable,
            canaries=list(plan.canaries),
            steps=list(plan.steps),
            phase=self._state.phase,
            conditions=list(summary.conditions(self._state)),
            ended=self._state.ended,
            summary=summary.summarize(plan, self._state),
            harm_limit=math.log10(1 / plan.harm.alpha),
            safe_limit=math.log10(1 / plan.safe.beta),
            looks=list(self._looks),
        )


def _look(plan: Plan, state: State, seq: int, at: str, kind: str, line: str) -> Look:
    requests: dict[str, int] = {}
    failed: dict[str, int] = {}
    against: dict[str, float] = {}
    safe: dict[str, float] = {}
    margin = plan.margins[state.step or 0]
    for version, lines in state.lines.items():
        errors = lines.errors
        requests |= {plan.stable: errors.n0, version: errors.n1}
        failed |= {plan.stable: errors.x0, version: errors.x1}
        against[version] = _log10(harm(plan, lines))
        safe[version] = _log10(errors.safe(margin))
    return Look(
        seq=seq,
        at=at,
        kind=kind,
        elapsed=state.elapsed,
        phase=state.phase,
        step=state.step,
        weights=state.desired,
        requests=requests,
        failed=failed,
        against=against,
        safe=safe,
        summary=line,
    )


def _log10(log_e: float) -> float:
    return max(-_LARGEST, min(log_e, _LARGEST)) / math.log(10)
