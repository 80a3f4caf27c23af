from __future__ import annotations

import math

import pytest

from sabia.rollout.forecast import Traffic, catches, forecast, step_eta
from tests.unit.rollout.fakes import Rig, a_plan

ERRORS = a_plan(watch={"errors": {}})


@pytest.mark.parametrize(
    ("canary", "end", "least", "most"),
    [(0.001, "Promoted", 300, 300), (0.02, "RolledBack", 60, 120), (1.0, "RolledBack", 15, 15)],
)
def test_a_forecast_is_of_what_a_rollout_does(canary: float, end: str, least: float, most: float) -> None:
    found = forecast(ERRORS, Traffic(100, 0.001), canary)
    assert found.end == end
    assert least <= found.seconds <= most


def test_what_cannot_be_known_in_time_is_said() -> None:
    found = forecast(a_plan(watch={"errors": {}}, deadline="10m"), Traffic(0.2, 0.001), 0.002)
    assert (found.end, found.seconds) == (None, math.inf)


def test_without_requests_nothing_is_decided() -> None:
    assert forecast(a_plan(deadline="30m"), Traffic(0, 0.0), 1.0).end is None


def test_the_time_left_shrinks_and_is_none_before_anything_was_seen() -> None:
    rig = Rig.start(a_plan(), 20)
    plan, eta = rig.record.plan(), list[float | None]()
    assert step_eta(plan, rig.record.head().entry.state) is None
    for _ in range(5):
        rig.run(looks=1)
        eta.append(step_eta(plan, rig.record.head().entry.state))
    known = [value for value in eta if value is not None]
    assert len(known) >= 2
    assert known[-1] < known[0]


def test_a_large_regression_is_caught_before_a_small_one() -> None:
    rig = Rig.start(a_plan(), 100)
    engine = rig.run(looks=8)
    times = [catches(engine.head.plan, engine.state, ratio) or math.inf for ratio in (2.0, 5.0, 20.0)]
    assert times[2] <= times[1] <= times[0]
    assert math.isfinite(times[2])
