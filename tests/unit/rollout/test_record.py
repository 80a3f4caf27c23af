from __future__ import annotations

import hashlib
from itertools import pairwise

import msgspec
import pytest

from sabia.rollout import record as records
from sabia.rollout.errors import BrokenRecord, EntryTaken, RolloutNotFound
from sabia.rollout.record import Record, replay
from sabia.store.objects import Store
from tests.unit.rollout.fakes import CANARY, Behaviour, Rig, a_plan


@pytest.fixture
def rig() -> Rig:
    """A rollout that is over."""
    found = Rig.start(a_plan(), 100, canary=Behaviour(errors=0.05))
    found.run()
    return found


def keys(store: Store) -> list[str]:
    """The entries of the record; whose turn it was is beside them."""
    return sorted(entry.key for entry in store.list("rollouts/") if entry.key.endswith(".json"))


def tampered(rig: Rig, seq: int, **changed: object) -> Record:
    """The record in another store, with one entry changed."""
    store = Store.open("memory://")
    for key in keys(rig.store):
        data = rig.store.get(key)
        if int(key[-13:-5]) == seq:
            data = msgspec.json.encode(msgspec.json.decode(data) | changed)
        store.create(key, data)
    return Record(store, rig.record.model, rig.record.name)


def test_every_entry_names_the_digest_of_the_one_before(rig: Rig) -> None:
    entries = list(rig.record.entries())
    assert [entry.seq for entry, _ in entries] == list(range(len(entries)))
    for (_, digest), (entry, _) in pairwise(entries):
        assert entry.previous == digest


def test_what_was_changed_afterwards_is_found(rig: Rig) -> None:
    with pytest.raises(BrokenRecord, match=r"Entry 3 .* does not continue"):
        list(tampered(rig, 2, summary="all is well").entries())


def test_a_missing_entry_is_found(rig: Rig) -> None:
    store = Store.open("memory://")
    for key in keys(rig.store)[:2] + keys(rig.store)[3:]:
        store.create(key, rig.store.get(key))
    with pytest.raises(BrokenRecord, match=r"Entry 2 .* is missing"):
        Record(store, rig.record.model, rig.record.name).head()


def test_an_entry_that_cannot_be_read_is_said(rig: Rig) -> None:
    with pytest.raises(BrokenRecord, match=r"Entry 1 .* cannot be read"):
        tampered(rig, 1, event={"type": "magic"}).entry(1)


def test_a_number_is_written_once_and_the_same_bytes_again_are_fine(rig: Rig) -> None:
    entry, digest = rig.record.entry(1) or pytest.fail("it is there")
    assert rig.record.append(entry) == digest
    with pytest.raises(EntryTaken):
        rig.record.append(msgspec.structs.replace(entry, writer="another"))


def test_the_newest_rollout_is_meant_unless_one_is_named(rig: Rig) -> None:
    assert records.latest(rig.store, None, None).name == rig.record.name
    assert records.latest(rig.store, rig.record.model, rig.record.name).name == rig.record.name
    for model, name in (("other", None), (None, "other")):
        with pytest.raises(RolloutNotFound):
            records.latest(rig.store, model, name)


def test_a_replay_says_which_entry_was_decided_otherwise(rig: Rig) -> None:
    entry, _ = rig.record.entry(3) or pytest.fail("it is there")
    store = Store.open("memory://")
    previous = ""
    for key in keys(rig.store):
        document = msgspec.json.decode(rig.store.get(key))
        document["previous"] = previous
        if document["seq"] == entry.seq:
            document["state"]["elapsed"] += 1
        data = msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(document), type=records.Entry))
        store.create(key, data)
        previous = hashlib.sha256(data).hexdigest()
    found = list(replay(Record(store, rig.record.model, rig.record.name)))
    assert [item.entry.seq for item in found if not item.same] == [3]


def test_a_record_stays_small(rig: Rig) -> None:
    """What a look writes is kilobytes, however many requests there were."""
    assert CANARY in rig.record.head().entry.state.lines
    assert max(len(rig.store.get(key)) for key in keys(rig.store)) < 64 * 1024
