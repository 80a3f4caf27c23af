"""Rollouts as a report shows them: every entry of the record with weights, evidence and summary."""

from __future__ import annotations

import math

import msgspec

from sabia.rollout import record, summary
from sabia.rollout.decision import harm
from sabia.rollout.errors import BrokenRecord
from sabia.rollout.events import kind
from sabia.rollout.plan import Plan
from sabia.rollout.record import Record, names
from sabia.rollout.state import State
from sabia.store.objects import Store

_LARGEST = 50.0  # the logarithm of the largest evidence shown; exp(50) fits every reader of JSON


class Entry(msgspec.Struct, frozen=True):
    """One entry of the record.

    Attributes:
        elapsed: seconds since the rollout started.
        weights: percent by version, as desired.
        requests, failed: by version, since the rollout started.
        harm, safe: by canary, log10 of the evidence of harm, and of safety at this step.
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
    harm: dict[str, float]
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
    entries: list[Entry]


def rollouts(store: Store, model: str) -> list[Rollout]:
    """Every rollout of a model, oldest first.

    Raises:
        BrokenRecord: a record cannot be read.
        StoreError: the store failed.
    """
    return [FollowedRollout(Record(store, model, name)).read() for name in names(store, model)]


class FollowedRollout:
    """A rollout whose record is read as it grows, each entry once."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._plan: Plan | None = None
        self._state: State | None = None
        self._entries: list[Entry] = []

    def read(self) -> Rollout:
        """The rollout as it is now.

        Raises:
            RolloutNotFound: the record does not exist.
            BrokenRecord: the record cannot be read.
        """
        if self._plan is None:
            self._plan = self._record.plan()
        plan = self._plan
        while (recorded := self._record.entry(len(self._entries))) is not None:
            entry, _ = recorded
            self._state = entry.state
            self._entries.append(_entry(plan, entry))
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
            entries=list(self._entries),
        )


def _entry(plan: Plan, recorded: record.Entry) -> Entry:
    state = recorded.state
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
    return Entry(
        seq=recorded.seq,
        at=recorded.at,
        kind=kind(recorded.event),
        elapsed=state.elapsed,
        phase=state.phase,
        step=state.step,
        weights=state.desired,
        requests=requests,
        failed=failed,
        harm=against,
        safe=safe,
        summary=recorded.summary,
    )


def _log10(log_e: float) -> float:
    return max(-_LARGEST, min(log_e, _LARGEST)) / math.log(10)
