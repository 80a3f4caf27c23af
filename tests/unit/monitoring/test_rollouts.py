"""A rollout as reports and the live page show it."""

from __future__ import annotations

import pytest

from sabia.monitoring.rollouts import Followed, rollouts
from sabia.rollout import engine
from sabia.rollout.errors import RolloutNotFound
from sabia.rollout.plan import from_mapping
from sabia.rollout.record import Record, latest
from sabia.store.objects import Store
from tests.conftest import MODEL


def begin(store: Store) -> Record:
    """A rollout that has just been started."""
    engine.start(
        store, from_mapping({"model": MODEL, "stable": "1.2", "canary": "2.0"}), {"1.2": 100, "2.0": 0}, actor="test"
    )
    return latest(store, MODEL, None)


def test_every_record_is_a_look_with_its_sentence(store: Store) -> None:
    record = begin(store)
    engine.act(record, "pause", actor="ana")
    (found,) = rollouts(store, MODEL)
    assert [look.kind for look in found.looks] == ["start", "action"]
    assert [look.summary for look in found.looks] == [entry.summary for entry, _ in record.entries()]
    assert (found.phase, found.conditions, found.ended, found.steps) == (
        "Pending",
        ["Paused"],
        False,
        [1, 5, 10, 25, 50],
    )
    assert (found.harm_limit, round(found.safe_limit, 3)) == (2.0, 1.301)


def test_a_record_is_followed_as_it_grows(store: Store) -> None:
    record = begin(store)
    followed = Followed(record)
    assert len(followed.read().looks) == 1
    engine.act(record, "pause", actor="ana")
    engine.act(record, "resume", actor="ana")
    assert [look.seq for look in followed.read().looks] == [0, 1, 2]


def test_no_rollout_is_an_error(store: Store) -> None:
    with pytest.raises(RolloutNotFound):
        Followed(Record(store, MODEL, "nothing")).read()
