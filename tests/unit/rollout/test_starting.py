"""One rollout of a model is under way, however many start at once, and wherever a start is killed."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from sabia.rollout import record as records
from sabia.rollout.engine import act, start
from sabia.rollout.errors import AlreadyRollingOut
from sabia.rollout.plan import from_mapping
from sabia.store.objects import Store
from tests.unit.rollout.fakes import Behaviour, Rig, a_plan

PLAN = from_mapping({"model": "m", "stable": "1.0", "canary": "2.0"})
WEIGHTS = {"1.0": 100, "2.0": 0}
RACERS, ROUNDS = 3, 30


def race(url: str, barrier: Any, began: Any, number: int) -> None:
    """Start a rollout in each round, at the same moment as the others."""
    store = Store.open(url)
    for at in range(ROUNDS):
        plan = from_mapping({"model": f"m{at}", "stable": "1.0", "canary": "2.0"})
        barrier.wait(60)
        try:
            began.put((at, start(store, plan, WEIGHTS, actor=f"racer {number}").name))
        except AlreadyRollingOut:
            began.put((at, None))


@pytest.mark.slow
def test_of_processes_that_start_at_once_one_begins(tmp_path: Path) -> None:
    url = tmp_path.as_uri()
    context = multiprocessing.get_context("spawn")
    barrier, began = context.Barrier(RACERS), context.Queue()
    racers = [context.Process(target=race, args=(url, barrier, began, number)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    found = [began.get(timeout=60) for _ in range(RACERS * ROUNDS)]
    for racer in racers:
        racer.join(60)
    winners = sorted(at for at, name in found if name is not None)
    assert winners == list(range(ROUNDS))
    store = Store.open(url)
    assert all(len(records.names(store, f"m{at}")) == 1 for at in range(ROUNDS))


@pytest.mark.parametrize("name", [None, "mine"])
def test_the_next_rollout_waits_for_the_end_of_this_one(name: str | None) -> None:
    store = Store.open("memory://")
    record = start(store, PLAN, WEIGHTS, actor="me", name=name)
    with pytest.raises(AlreadyRollingOut):
        start(store, PLAN, WEIGHTS, actor="you", name="a")
    act(record, "abort", actor="me")
    assert records.names(store, "m") == [record.name]


@pytest.mark.parametrize("own", [None, "later"])
def test_a_start_that_was_killed_before_its_record_stops_no_other(own: str | None) -> None:
    store = Store.open("memory://")
    records.take_turn(store, "m", 0, "killed" if own is None else own)
    assert start(store, PLAN, WEIGHTS, actor="me", name=own).name == ("killed" if own is None else own)


def test_a_rollout_that_is_under_way_is_found_whatever_its_name() -> None:
    """Names are not always in the order of time."""
    rig = Rig.start(a_plan(), 100, canary=Behaviour(errors=1.0))
    assert rig.run().state.ended
    plan, weights = rig.record.plan(), rig.world.weights()
    assert start(rig.store, plan, weights, actor="me", name="0").name == "0"
    with pytest.raises(AlreadyRollingOut):
        start(rig.store, plan, weights, actor="me")
