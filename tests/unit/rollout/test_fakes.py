"""The fakes do what they stand for."""

from __future__ import annotations

import pytest

from sabia.rollout.counters import difference
from tests.unit.rollout.fakes import CANARY, STABLE, Behaviour, FakeClock, FakeWorld


def test_requests_follow_the_weights_and_failures_the_rate() -> None:
    world = FakeWorld(1000, {STABLE: Behaviour(errors=0.0), CANARY: Behaviour(errors=0.5)})
    world.set_weights({STABLE: 90, CANARY: 10})
    before = world.scrape()
    world.pass_time(10)
    arms = [difference(before, world.scrape(), version) for version in (STABLE, CANARY)]
    assert arms[1].n / (arms[0].n + arms[1].n) == pytest.approx(0.1, abs=0.01)
    assert arms[0].errors == 0
    assert arms[1].errors / arms[1].n == pytest.approx(0.5, abs=0.1)
    assert arms[0].decision.sum() == arms[0].n


def test_versions_that_are_not_named_get_nothing_as_in_every_split() -> None:
    world = FakeWorld(1, {STABLE: Behaviour(), CANARY: Behaviour()})
    assert world.set_weights({CANARY: 100}) == {STABLE: 0, CANARY: 100} == world.weights()


def test_time_passes_by_waiting_and_tells_the_world() -> None:
    clock, told = FakeClock(), list[float]()
    clock.passed.append(told.append)
    clock.wait(2.5)
    assert (clock.now(), told) == (2.5, [2.5])
