"""The engine: looks, writes down, moves the weights, writes down that they moved. Everything it decides is in `state`.

The order makes it safe to be killed anywhere. What is wanted is in the record before it is done; whoever finds a wanted
change that is not confirmed does it again, which changes nothing if it was done. A number of the record can be written
once, so of two engines one loses, and steps back.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from sabia.rollout import record as records
from sabia.rollout.counters import Scrape
from sabia.rollout.errors import AlreadyRollingOut, InvalidPlan, LookTaken, NotScraped, RolloutEnded, RolloutError
from sabia.rollout.forecast import step_eta
from sabia.rollout.messages import sentence
from sabia.rollout.plan import Plan
from sabia.rollout.record import Entry, Head, Record
from sabia.rollout.source import Source
from sabia.rollout.split import Split
from sabia.rollout.state import Command, Event, Looked, Moved, Started, State, Verb, advance, begin
from sabia.store.errors import StoreError
from sabia.store.objects import Store

Say = Callable[[str], None]

# A command is noticed within a second.
_POLL = 1.0
_RETRY = 2.0


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def now(self) -> float:
        """Seconds of a clock that never jumps."""

    def utc(self) -> datetime:
        """The date, for people."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.monotonic()

    def utc(self) -> datetime:
        """See `Clock.utc`."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """See `Clock.wait`."""
        time.sleep(seconds)


@dataclass(slots=True)
class Writer:
    """Appends events to a record, each with the state that it leads to.

    Attributes:
        head: the end of the record as it is known here.
        engine: what the entries are signed with.
    """

    record: Record
    head: Head
    engine: str
    clock: Clock = field(default_factory=SystemClock)

    @property
    def state(self) -> State:
        """Where the rollout stands."""
        return self.head.entry.state

    def append(self, event: Event) -> State:
        """Write an event down. Commands that came first are taken in before it.

        Raises:
            LookTaken: another engine writes this record.
            StoreError: the store failed.
        """
        while True:
            self.catch_up()
            entry = self._next(event)
            try:
                digest = self.record.append(entry)
            except LookTaken:
                # Whoever was first is read by the next round, which decides who has to step back.
                continue
            self.head = Head(self.head.plan, entry, digest)
            return entry.state

    def catch_up(self) -> None:
        """Take in what others have written.

        Raises:
            LookTaken: another engine has looked, or moved the weights.
        """
        while (found := self.record.read(self.head.entry.seq + 1)) is not None:
            entry, digest = found
            if not isinstance(entry.event, Command) and entry.engine != self.engine:
                raise LookTaken(self.record.name, entry.seq)
            self.head = Head(self.head.plan, entry, digest)

    def _next(self, event: Event) -> Entry:
        plan, before = self.head.plan, self.head.entry
        state = advance(plan, before.state, event)
        return Entry(
            schema_version=records.SCHEMA_VERSION,
            name=self.record.name,
            seq=before.seq + 1,
            at=self.clock.utc().isoformat(timespec="milliseconds"),
            engine=self.engine,
            previous=self.head.digest,
            plan=before.plan,
            event=event,
            state=state,
            says=sentence(plan, state),
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
    """Begin the record of a rollout, which is named by the time unless a name is given. Nothing moves yet.

    Raises:
        AlreadyRollingOut: one of the model is under way.
        InvalidPlan: the route has not what the plan needs.
    """
    clock = clock or SystemClock()
    for newest in records.names(store, plan.model)[-1:]:
        if not Record(store, plan.model, newest).head().entry.state.ended:
            raise AlreadyRollingOut(plan.model, newest)
    _check_weights(plan, weights)
    name = name or f"{clock.utc():%Y%m%dT%H%M%S%fZ}-{plan.stable}-to-{'_'.join(plan.canaries)}"
    record = Record(store, plan.model, name)
    event = Started(plan, {version: weights.get(version, 0) for version in plan.versions}, actor)
    state = begin(event)
    entry = Entry(
        schema_version=records.SCHEMA_VERSION,
        name=name,
        seq=0,
        at=clock.utc().isoformat(timespec="milliseconds"),
        engine=actor,
        previous="",
        plan=plan.digest,
        event=event,
        state=state,
        says=sentence(plan, state),
    )
    record.append(entry)
    return record


def _check_weights(plan: Plan, weights: Mapping[str, int]) -> None:
    for version in plan.versions:
        if version not in weights:
            named = "stable" if version == plan.stable else "canary" if version in plan.canaries else "baseline"
            known = ", ".join(sorted(weights)) or "none"
            raise InvalidPlan(named, f"is {version}, which the route does not have; it has {known}")
    others = [version for version, weight in weights.items() if weight > 0 and version not in plan.versions]
    if others:
        raise InvalidPlan("stable", f"is {plan.stable}, but {others[0]} gets requests too; move its weight first")


def command(record: Record, verb: Verb, *, actor: str, version: str | None = None, clock: Clock | None = None) -> State:
    """Write somebody's decision down; the engine takes it from there.

    Raises:
        RolloutEnded: there is nothing left to decide.
    """
    writer = Writer(record, record.head(), actor, clock or SystemClock())
    while True:
        if writer.state.ended:
            raise RolloutEnded(record.name, writer.state.phase)
        try:
            return writer.append(Command(verb, actor, version))
        except LookTaken:
            writer.head = record.head()


class Engine:
    """Carries out one rollout.

    Args:
        record: its record, which has begun.
        split: the weights.
        source: the counters.
        clock: for waiting, and for dates.
        say: tells a person what happens.
        told: is given the end of the record after every entry.
        orders: asked about once a second for what somebody has decided elsewhere than in the record.
    """

    def __init__(
        self,
        record: Record,
        split: Split,
        source: Source,
        *,
        clock: Clock | None = None,
        say: Say = lambda _: None,
        told: Callable[[Head], None] = lambda _: None,
        orders: Callable[[], Command | None] = lambda: None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._split = split
        self._source = source
        self._say = say
        self._told = told
        self._orders = orders
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
        """Go on until the rollout is over, or `stopped` says so.

        Raises:
            LookTaken: another engine carries this rollout out; this one steps back.
        """
        while not (self.state.ended or stopped()):
            try:
                self.settle()
                self._wait(stopped)
                if not (self.state.ended or stopped()):
                    self.look()
            except StoreError as error:
                # No weight moves without its record: nothing is done until it can be written.
                self._say(f"waiting for the store: {error}")
                self._clock.wait(_RETRY)
        return self.state

    def order(self, command: Command) -> None:
        """Write a decision down and carry it out at once."""
        self._writer.append(command)
        self._tell()
        self.settle()

    def settle(self) -> None:
        """Put wanted weights into force, and write down that they are."""
        self._writer.catch_up()
        if not self.state.unsettled:
            return
        wanted = self.state.wanted
        try:
            self._split.set_weights(wanted)
            in_force = self._weights()
        except RolloutError as error:
            self._writer.append(Looked(problem=str(error)))
            self._tell()
            return
        if in_force == wanted:
            self._writer.append(Moved(wanted, self._scrape_or_none()))
            self._tell()

    def look(self) -> None:
        """One look at both arms."""
        now = self._clock.now()
        elapsed = now - self._looked if self._looked is not None else 0.0
        try:
            event = Looked(self._source.scrape(), self._weights(), round(max(elapsed, 0.0), 3))
        except RolloutError as error:
            event = Looked(problem=str(error))
        self._looked = now
        self._writer.append(event)
        self._tell()

    def _weights(self) -> dict[str, int]:
        """The weights of the plan's versions in force, and of whatever else gets requests."""
        plan = self._writer.head.plan
        found = self._split.weights()
        mine = {version: found.get(version, 0) for version in plan.versions}
        return mine | {version: weight for version, weight in found.items() if weight > 0 and version not in mine}

    def _scrape_or_none(self) -> Scrape | None:
        try:
            return self._source.scrape()
        except NotScraped:
            return None

    def _wait(self, stopped: Callable[[], bool]) -> None:
        """Until the next look is due, or somebody has written a command."""
        due = (self._looked if self._looked is not None else -1e9) + self._writer.head.plan.look_seconds
        seq = self._writer.head.entry.seq
        while (left := due - self._clock.now()) > 0 and not stopped():
            self._clock.wait(min(left, _POLL))
            order = self._orders()
            if order is not None:
                self._writer.append(order)
                self._tell()
            self._writer.catch_up()
            if self._writer.head.entry.seq != seq:
                self.settle()
                seq = self._writer.head.entry.seq
                if self.state.ended:
                    return

    def _tell(self) -> None:
        self._say(self._writer.head.entry.says)
        self._told(self._writer.head)
