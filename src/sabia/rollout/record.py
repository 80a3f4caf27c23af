"""The record of a rollout: one object for each event, in the store, each naming the digest of the one before.

```
rollouts/<model>/<name>/<number>.json      create-only: of two writers of a number, one is told so
```
A record holds the event, the state after it, and the sentence that explains it. The state of the last one is enough to
go on; all of them are enough to decide everything again (`replay`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from sabia.contract.layout import check_model_name
from sabia.rollout.errors import BrokenRecord, LookTaken, RolloutNotFound
from sabia.rollout.plan import Plan
from sabia.rollout.state import Event, Started, State, advance, begin
from sabia.store.errors import KeyNotFound, KeyTaken
from sabia.store.objects import Store

PREFIX = "rollouts"
SCHEMA_VERSION = 1


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One record.

    Attributes:
        seq: its number, from 0 on.
        at: when it was written (RFC 3339, UTC), for people; nothing is decided by it.
        engine: who wrote it.
        previous: sha256 of the record before, empty for the first.
        plan: digest of the plan.
        says: the state in one sentence.
        eta: seconds until this step can end, at the traffic seen; None when that cannot be said.
    """

    schema_version: int
    name: str
    seq: int
    at: str
    engine: str
    previous: str
    plan: str
    event: Event
    state: State
    says: str
    eta: float | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a record: its last entry, the plan, and the digest that the next one names."""

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
        """Write the next entry and return its digest.

        Raises:
            LookTaken: somebody else wrote this number; nothing was overwritten.
            StoreError: the store failed; the entry may be there or not.
        """
        data = encode(entry)
        try:
            self._store.create(self._key(entry.seq), data)
        except KeyTaken as error:
            raise LookTaken(self.name, entry.seq) from error
        return hashlib.sha256(data).hexdigest()

    def read(self, seq: int) -> tuple[Entry, str] | None:
        """An entry and its digest; None when it is not there.

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
            BrokenRecord: it has a hole.
        """
        numbers = sorted(
            int(item.key.removeprefix(self._prefix).removesuffix(".json")) for item in self._store.list(self._prefix)
        )
        if not numbers:
            raise RolloutNotFound(self.model, self.name)
        if numbers != list(range(len(numbers))):
            missing = next(seq for seq, number in enumerate(numbers) if seq != number)
            raise BrokenRecord(self.name, missing, "is missing")
        entry, digest = self._must(numbers[-1])
        return Head(self.plan(), entry, digest)

    def plan(self) -> Plan:
        """The plan, which the first entry holds.

        Raises:
            RolloutNotFound, BrokenRecord: there is no first entry, or it starts nothing.
        """
        event = self._must(0)[0].event
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
        found: tuple[Entry, str] | None = self._must(0)
        while found is not None:
            entry, digest = found
            if entry.seq != seq or entry.previous != before:
                raise BrokenRecord(self.name, seq, "does not continue the one before it")
            yield entry, digest
            seq, before = seq + 1, digest
            found = self.read(seq)

    def _must(self, seq: int) -> tuple[Entry, str]:
        found = self.read(seq)
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
    return sorted({item.key.removeprefix(prefix).partition("/")[0] for item in store.list(prefix)})


def models(store: Store) -> list[str]:
    """The models that have had rollouts."""
    return sorted({item.key.split("/")[1] for item in store.list(f"{PREFIX}/")})


def last(store: Store, model: str | None, name: str | None) -> Record:
    """The rollout that was meant: by name, else the newest of a model, else the newest of all.

    Raises:
        RolloutNotFound: there is none.
    """
    found = [(each, of) for of in ([model] if model else models(store)) for each in names(store, of)]
    matching = [pair for pair in found if name in (None, pair[0])]
    if not matching:
        raise RolloutNotFound(model, name)
    newest, of = max(matching)
    return Record(store, of, newest)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One entry, decided again."""

    entry: Entry
    same: bool


def replay(record: Record) -> Iterator[Replayed]:
    """Decide every entry again from its event, and compare the state bit for bit with the one that was written.

    Raises:
        RolloutNotFound, BrokenRecord: as `Record.entries`.
    """
    plan, state = record.plan(), None
    for entry, _ in record.entries():
        if isinstance(entry.event, Started):
            state = begin(entry.event)
        elif state is not None:
            state = advance(plan, state, entry.event)
        yield Replayed(entry, same=msgspec.json.encode(state) == msgspec.json.encode(entry.state))
