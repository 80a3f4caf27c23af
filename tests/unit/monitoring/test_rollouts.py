"""Rollouts in reports and on the live page."""

from __future__ import annotations

import pytest

from sabia.monitoring.rollouts import FollowedRollout, rollouts
from sabia.rollout import engine
from sabia.rollout.errors import RolloutNotFound
from sabia.rollout.plan import from_mapping
from sabia.rollout.record import Record, latest
from sabia.store.objects import Store
from tests.conftest import MODEL


def start(store: Store) -> Record:
    """The record of a rollout that has just started."""
    engine.start(
        store, from_mapping({"model": MODEL, "stable": "1.2", "canary": "2.0"}), {"1.2": 100, "2.0": 0}, actor="test"
    )
    return latest(store, MODEL, None)


def test_a_rollout_has_the_entries_of_its_record(store: Store) -> None:
    record = start(store)
    engine.act(record, "pause", actor="ana")
    (found,) = rollouts(store, MODEL)
    assert [entry.kind for entry in found.entries] == ["start", "action"]
    assert [entry.summary for entry in found.entries] == [entry.summary for entry, _ in record.entries()]
    assert (found.phase, found.conditions, found.ended, found.steps) == (
        "Pending",
        ["Paused"],
        False,
        [1, 5, 10, 25, 50],
    )
    assert (found.harm_limit, round(found.safe_limit, 3)) == (2.0, 1.301)


def test_a_growing_record_is_read_entry_by_entry(store: Store) -> None:
    record = start(store)
    followed = FollowedRollout(record)
    assert len(followed.read().entries) == 1
    engine.act(record, "pause", actor="ana")
    engine.act(record, "resume", actor="ana")
    assert [entry.seq for entry in followed.read().entries] == [0, 1, 2]


def test_a_missing_rollout_is_an_error(store: Store) -> None:
    with pytest.raises(RolloutNotFound):
        FollowedRollout(Record(store, MODEL, "nothing")).read()
