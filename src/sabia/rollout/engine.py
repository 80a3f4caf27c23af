"""The engine: look, record, move the weights, record that they moved. What it decides is in `transition`.

The order makes it safe to be killed anywhere. Desired weights are in the record before they are put into force; an
engine that finds them unconfirmed puts them into force again, which changes nothing if they are. Each number of the
record can be written once, so of two engines one fails to write, and stops.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sabia.rollout import record as records
from sabia.rollout.clock import SystemClock
from sabia.rollout.counters import Scrape
from sabia.rollout.errors import (
    AlreadyRollingOut,
    EntryTaken,
    InvalidPlan,
    NotScraped,
    RolloutEnded,
    RolloutError,
    RolloutNotFound,
)
from sabia.rollout.events import Acted, Action, Event, Looked, Moved, Started
from sabia.rollout.forecast import step_eta
from sabia.rollout.plan import Plan
from sabia.rollout.ports import Clock, Source, Split
from sabia.rollout.record import Entry, Head, Record
from sabia.rollout.state import State, initial_state
from sabia.rollout.summary import summarize
from sabia.rollout.transition import advance
from sabia.store.errors import StoreError
from sabia.store.objects import Store

Report = Callable[[str], None]

# An action is noticed within a second.
_POLL = 1.0
_RETRY = 2.0


@dataclass(slots=True)
class Writer:
    """Appends events to a record, each with the state that it leads to.

    Attributes:
        head: the end of the record as this writer knows it.
        name: what the entries are signed with.
    """

    record: Record
    head: Head
    name: str
    clock: Clock = field(default_factory=SystemClock)

    @property
    def state(self) -> State:
        """Where the rollout stands."""
        return self.head.entry.state

    def append(self, event: Event) -> State:
        """Append an event, after any actions that others have appended before it.

        Raises:
            EntryTaken: another engine writes this record.
            StoreError: the store failed.
        """
        while True:
            self.catch_up()
            entry = self._next(event)
            try:
                digest = self.record.append(entry)
            except EntryTaken:
                # The next round reads what was written first, and decides whether to stop.
                continue
            self.head = Head(self.head.plan, entry, digest)
            return entry.state

    def catch_up(self) -> None:
        """Read what others have appended.

        Raises:
            EntryTaken: another engine has taken a look, or moved the weights.
        """
        while (found := self.record.entry(self.head.entry.seq + 1)) is not None:
            entry, digest = found
            if not isinstance(entry.event, Acted) and entry.writer != self.name:
                raise EntryTaken(self.record.name, entry.seq)
            self.head = Head(self.head.plan, entry, digest)

    def _next(self, event: Event) -> Entry:
        plan, before = self.head.plan, self.head.entry
        state = advance(plan, before.state, event)
        return Entry(
            schema_version=records.SCHEMA_VERSION,
            name=self.record.name,
            seq=before.seq + 1,
            at=self.clock.utc().isoformat(timespec="milliseconds"),
            writer=self.name,
            previous=self.head.digest,
            plan=before.plan,
            event=event,
            state=state,
            summary=summarize(plan, state),
            eta=step_eta(plan, state),
        )


def start(
    store: Store,
    plan: Plan,
    weights: Mapping[str, int],
    *,
    actor: str,
    clock: Clock | None = None,
    name: str | None = None,
) -> Record:
    """Start the record of a rollout, named by the time unless a name is given. No weight moves yet.

    Raises:
        AlreadyRollingOut: one of the model is under way.
        InvalidPlan: the route lacks a version of the plan, or sends requests to another.
    """
    clock = clock or SystemClock()
    turn = records.last_turn(store, plan.model)
    begun = _begun(store, plan.model, turn)
    _check_weights(plan, weights)
    chosen = name or f"{clock.utc():%Y%m%dT%H%M%S%fZ}-{plan.stable}-to-{'_'.join(plan.canaries)}"
    # A turn without a record is of one that starts at this moment, or was killed then. Its first entry can be written
    # once, so another starter that goes on under its name competes with it for that.
    holder = records.take_turn(store, plan.model, turn.number + (1 if begun else 0), chosen)
    if name is not None and holder != name:
        raise AlreadyRollingOut(plan.model, holder)
    name = holder
    record = Record(store, plan.model, name)
    event = Started(plan, {version: weights.get(version, 0) for version in plan.versions}, actor)
    state = initial_state(event)
    entry = Entry(
        schema_version=records.SCHEMA_VERSION,
        name=name,
        seq=0,
        at=clock.utc().isoformat(timespec="milliseconds"),
        writer=actor,
        previous="",
        plan=plan.digest,
        event=event,
        state=state,
        summary=summarize(plan, state),
    )
    try:
        record.append(entry)
    except EntryTaken as error:
        raise AlreadyRollingOut(plan.model, name) from error
    return record


def _begun(store: Store, model: str, turn: records.Turn) -> bool:
    """Whether the rollout that has the last turn has a record.

    Raises:
        AlreadyRollingOut: it is not over, or one from before there were turns.
    """
    begun = turn.number < 0
    for name in dict.fromkeys([*([turn.name] if turn.name else []), *records.names(store, model)[-1:]]):
        try:
            state = Record(store, model, name).head().entry.state
        except RolloutNotFound:
            continue
        begun = begun or name == turn.name
        if not state.ended:
            raise AlreadyRollingOut(model, name)
    return begun


def _check_weights(plan: Plan, weights: Mapping[str, int]) -> None:
    for version in plan.versions:
        if version not in weights:
            named = "stable" if version == plan.stable else "canary" if version in plan.canaries else "baseline"
            known = ", ".join(sorted(weights)) or "none"
            raise InvalidPlan(named, f"is {version}, which the route does not have; it has {known}")
    others = [version for version, weight in weights.items() if weight > 0 and version not in plan.versions]
    if others:
        raise InvalidPlan("stable", f"is {plan.stable}, but {others[0]} gets requests too; move its weight first")


def act(record: Record, action: Action, *, actor: str, version: str | None = None, clock: Clock | None = None) -> State:
    """Append an action to the record; the engine carries it out.

    Raises:
        RolloutEnded: the rollout is over.
    """
    writer = Writer(record, record.head(), actor, clock or SystemClock())
    while True:
        if writer.state.ended:
            raise RolloutEnded(record.name, writer.state.phase)
        try:
            return writer.append(Acted(action, actor, version))
        except EntryTaken:
            writer.head = record.head()


class Engine:
    """Carries out one rollout.

    Args:
        record: its record, which has been started.
        split: the weights.
        source: the counters.
        clock: for waiting, and for dates.
        report: is called with a line for people after every entry.
        on_entry: is called with the end of the record after every entry.
        next_action: is called about once a second for an action that is requested elsewhere than in the record.
    """

    def __init__(
        self,
        record: Record,
        split: Split,
        source: Source,
        *,
        clock: Clock | None = None,
        report: Report = lambda _: None,
        on_entry: Callable[[Head], None] = lambda _: None,
        next_action: Callable[[], Acted | None] = lambda: None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._split = split
        self._source = source
        self._report = report
        self._on_entry = on_entry
        self._next_action = next_action
        self._writer = Writer(record, record.head(), f"engine-{secrets.token_hex(4)}", self._clock)
        self._looked: float | None = None

    @property
    def state(self) -> State:
        """Where the rollout stands."""
        return self._writer.state

    @property
    def head(self) -> Head:
        """The end of the record."""
        return self._writer.head

    def run(self, stopped: Callable[[], bool] = lambda: False) -> State:
        """Carry the rollout out until it is over, or `stopped` returns true.

        Raises:
            EntryTaken: another engine carries this rollout out; this one stops.
        """
        while not (self.state.ended or stopped()):
            try:
                self.settle()
                self._wait(stopped)
                if not (self.state.ended or stopped()):
                    self.take_look()
            except StoreError as error:
                # No weight moves without its record: wait until it can be written.
                self._report(f"waiting for the store: {error}")
                self._clock.wait(_RETRY)
        return self.state

    def act(self, event: Acted) -> None:
        """Append an action and carry it out at once."""
        self._writer.append(event)
        self._notify()
        self.settle()

    def settle(self) -> None:
        """Put desired weights into force, and record that they are."""
        self._writer.catch_up()
        if not self.state.unsettled:
            return
        desired = self.state.desired
        try:
            self._split.set_weights(desired)
            in_force = self._weights()
        except RolloutError as error:
            self._writer.append(Looked(problem=str(error)))
            self._notify()
            return
        if in_force == desired:
            self._writer.append(Moved(desired, self._scrape_or_none()))
            self._notify()

    def take_look(self) -> None:
        """Scrape both arms and record what follows."""
        now = self._clock.now()
        elapsed = now - self._looked if self._looked is not None else 0.0
        try:
            event = Looked(self._source.scrape(), self._weights(), round(max(elapsed, 0.0), 3))
        except RolloutError as error:
            event = Looked(problem=str(error))
        self._looked = now
        self._writer.append(event)
        self._notify()

    def _weights(self) -> dict[str, int]:
        """The weights in force: of the plan's versions, and of others that get requests."""
        plan = self._writer.head.plan
        weights = self._split.weights()
        planned = {version: weights.get(version, 0) for version in plan.versions}
        return planned | {version: w for version, w in weights.items() if w > 0 and version not in planned}

    def _scrape_or_none(self) -> Scrape | None:
        try:
            return self._source.scrape()
        except NotScraped:
            return None

    def _wait(self, stopped: Callable[[], bool]) -> None:
        """Wait until the next look is due, carrying out actions meanwhile."""
        due = (self._looked if self._looked is not None else -1e9) + self._writer.head.plan.look_seconds
        seq = self._writer.head.entry.seq
        while (left := due - self._clock.now()) > 0 and not stopped():
            self._clock.wait(min(left, _POLL))
            event = self._next_action()
            if event is not None:
                self._writer.append(event)
                self._notify()
            self._writer.catch_up()
            if self._writer.head.entry.seq != seq:
                self.settle()
                seq = self._writer.head.entry.seq
                if self.state.ended:
                    return

    def _notify(self) -> None:
        self._report(self._writer.head.entry.summary)
        self._on_entry(self._writer.head)
