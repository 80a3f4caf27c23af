"""The record of a rollout: one entry for each event, in the store, each with the digest of the one before.

```
rollouts/<model>/<name>/<number>.json      create-only: of two writers of a number, one fails
rollouts/<model>/.turns/<number>           create-only: the name of the rollout that has this turn
```
An entry holds the event, the state after it, and a summary. The last entry's state is enough to continue; all entries
are enough to decide everything again (`replay`). One rollout of a model is under way at a time: of two that start at
once, one gets the next turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from sabia.contract.layout import check_model_name
from sabia.rollout.errors import BrokenRecord, EntryTaken, RolloutNotFound
from sabia.rollout.events import Event, Started
from sabia.rollout.plan import Plan
from sabia.rollout.state import State, initial_state
from sabia.rollout.transition import advance
from sabia.store.errors import KeyNotFound, KeyTaken
from sabia.store.objects import Store

PREFIX = "rollouts"
SCHEMA_VERSION = 1
_TURNS = ".turns"


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One entry of a record.

    Attributes:
        seq: its number, from 0 on.
        at: when it was written (RFC 3339, UTC), for people; nothing is decided by it.
        writer: the engine or the actor that wrote it.
        previous: sha256 of the entry before, empty for the first.
        plan: digest of the plan.
        summary: the state in one line.
        eta: seconds until this step can end, at the traffic so far; None without an estimate.
    """

    schema_version: int
    name: str
    seq: int
    at: str
    writer: str
    previous: str
    plan: str
    event: Event
    state: State
    summary: str
    eta: float | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a record: its plan, its last entry, and that entry's digest."""

    plan: Plan
    entry: Entry
    digest: str


class Record:
    """The record of one rollout."""

    def __init__(self, store: Store, model: str, name: str) -> None:
        self._store = store
        self.model = check_model_name(model)
        self.name = name
        self._prefix = f"{PREFIX}/{model}/{name}/"

    def append(self, entry: Entry) -> str:
        """Append the next entry and return its digest.

        Raises:
            EntryTaken: another writer appended this number first; nothing was overwritten.
            StoreError: the store failed; the entry may or may not have been written.
        """
        data = encode(entry)
        try:
            self._store.create(self._key(entry.seq), data)
        except KeyTaken as error:
            raise EntryTaken(self.name, entry.seq) from error
        return hashlib.sha256(data).hexdigest()

    def entry(self, seq: int) -> tuple[Entry, str] | None:
        """An entry and its digest; None if it does not exist.

        Raises:
            BrokenRecord: it cannot be read.
        """
        try:
            data = self._store.get(self._key(seq))
        except KeyNotFound:
            return None
        return self._decode(seq, data), hashlib.sha256(data).hexdigest()

    def head(self) -> Head:
        """The end of the record.

        Raises:
            RolloutNotFound: there is none.
            BrokenRecord: an entry is missing.
        """
        numbers = sorted(
            int(item.key.removeprefix(self._prefix).removesuffix(".json")) for item in self._store.list(self._prefix)
        )
        if not numbers:
            raise RolloutNotFound(self.model, self.name)
        if numbers != list(range(len(numbers))):
            missing = next(seq for seq, number in enumerate(numbers) if seq != number)
            raise BrokenRecord(self.name, missing, "is missing")
        entry, digest = self._existing(numbers[-1])
        return Head(self.plan(), entry, digest)

    def plan(self) -> Plan:
        """The plan, from the first entry.

        Raises:
            RolloutNotFound, BrokenRecord: there is no first entry, or it does not start a rollout.
        """
        event = self._existing(0)[0].event
        if not isinstance(event, Started):
            raise BrokenRecord(self.name, 0, "does not start a rollout")
        return event.plan

    def entries(self) -> Iterator[tuple[Entry, str]]:
        """Every entry with its digest, from the first.

        Raises:
            RolloutNotFound: there is none.
            BrokenRecord: one does not name the digest of the one before, or cannot be read.
        """
        seq, before = 0, ""
        found: tuple[Entry, str] | None = self._existing(0)
        while found is not None:
            entry, digest = found
            if entry.seq != seq or entry.previous != before:
                raise BrokenRecord(self.name, seq, "does not continue the one before it")
            yield entry, digest
            seq, before = seq + 1, digest
            found = self.entry(seq)

    def _existing(self, seq: int) -> tuple[Entry, str]:
        found = self.entry(seq)
        if found is None:
            raise RolloutNotFound(self.model, self.name)
        return found

    def _key(self, seq: int) -> str:
        return f"{self._prefix}{seq:08d}.json"

    def _decode(self, seq: int, data: bytes) -> Entry:
        try:
            return msgspec.json.decode(data, type=Entry)
        except msgspec.MsgspecError as error:
            raise BrokenRecord(self.name, seq, f"cannot be read ({error})") from error


def encode(entry: Entry) -> bytes:
    """The bytes of an entry; the same for the same entry."""
    return msgspec.json.encode(entry)


def names(store: Store, model: str) -> list[str]:
    """The rollouts of a model, oldest first."""
    prefix = f"{PREFIX}/{check_model_name(model)}/"
    found = {item.key.removeprefix(prefix).partition("/")[0] for item in store.list(prefix)}
    return sorted(found - {_TURNS})


@dataclass(frozen=True, slots=True)
class Turn:
    """The last turn of a model: its number, -1 before the first, and the name of the rollout that has it."""

    number: int
    name: str | None


def last_turn(store: Store, model: str) -> Turn:
    """The last turn that was taken."""
    prefix = _turns(model)
    numbers = sorted(item.key for item in store.list(prefix))
    if not numbers:
        return Turn(-1, None)
    return Turn(int(numbers[-1].removeprefix(prefix)), store.get(numbers[-1]).decode())


def take_turn(store: Store, model: str, number: int, name: str) -> str:
    """Take a turn for a rollout; returns the name of the one that has it, which may be another."""
    key = f"{_turns(model)}{number:08d}"
    try:
        store.create(key, name.encode())
    except KeyTaken:
        return store.get(key).decode()
    return name


def _turns(model: str) -> str:
    return f"{PREFIX}/{check_model_name(model)}/{_TURNS}/"


def models(store: Store) -> list[str]:
    """The models that have had rollouts."""
    return sorted({item.key.split("/")[1] for item in store.list(f"{PREFIX}/")})


def latest(store: Store, model: str | None, name: str | None) -> Record:
    """One rollout: by name, else the newest of a model, else the newest of all.

    Raises:
        RolloutNotFound: there is none.
    """
    searched = [model] if model else models(store)
    matching = [(each, owner) for owner in searched for each in names(store, owner) if name in (None, each)]
    if not matching:
        raise RolloutNotFound(model, name)
    newest, owner = max(matching)
    return Record(store, owner, newest)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One entry, decided again."""

    entry: Entry
    same: bool


def replay(record: Record) -> Iterator[Replayed]:
    """Decide every entry again from its event, and compare the state bit for bit with the recorded one.

    Raises:
        RolloutNotFound, BrokenRecord: as `Record.entries`.
    """
    plan, state = record.plan(), None
    for entry, _ in record.entries():
        if isinstance(entry.event, Started):
            state = initial_state(entry.event)
        elif state is not None:
            state = advance(plan, state, entry.event)
        yield Replayed(entry, same=msgspec.json.encode(state) == msgspec.json.encode(entry.state))
