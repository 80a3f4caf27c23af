"""Refused requests are a line of evidence: what a canary refuses is harm, and what clients do wrong is none."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sabia.rollout.counters import Arm, Counters, Scrape, difference
from sabia.rollout.lines import Lines, Look, Stable
from sabia.rollout.plan import from_mapping, parse, to_yaml
from sabia.rollout.record import replay
from sabia.rollout.summary import explain
from tests.unit.rollout.fakes import CANARY, STABLE, Behaviour, Rig, a_plan


@pytest.mark.parametrize("share", [0.03, 0.2, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_canary_that_refuses_what_the_stable_answers_is_rolled_back(share: float, seed: int) -> None:
    rig = Rig.start(a_plan(), 100, seed=seed, canary=Behaviour(refusals=share))
    engine = rig.run()
    assert engine.state.phase == "RolledBack"
    assert rig.world.in_force == {STABLE: 100, CANARY: 0}
    assert "stable requests were refused" in (engine.state.reason or "")
    assert "routing" not in (engine.state.reason or "")
    assert all(found.same for found in replay(rig.record))


@pytest.mark.parametrize("share", [0.001, 0.03, 0.2, 0.7])
def test_what_clients_do_wrong_hits_both_arms_and_moves_nothing(share: float) -> None:
    rig = Rig.start(a_plan(), 100, stable=Behaviour(refusals=share), canary=Behaviour(refusals=share))
    assert rig.run().state.phase == "Promoted"


def test_a_canary_whose_clients_do_not_wait_is_neither_failing_nor_wrongly_routed() -> None:
    """A slower canary misses more of the deadlines that clients choose; only its own times are compared."""
    rig = Rig.start(a_plan(watch={"errors": {}, "refusals": {}}), 100, canary=Behaviour(late=0.3))
    engine = rig.run()
    assert engine.state.phase == "Promoted"


def test_a_plan_may_hold_instead_or_leave_the_line_out() -> None:
    held = Rig.start(a_plan(watch={"errors": {}, "refusals": {"on_harm": "hold"}}), 100, canary=Behaviour(refusals=0.2))
    engine = held.run(looks=100)
    assert engine.state.phase == "Stepping"
    assert any("refuses more requests" in reason for reason in engine.state.held.values())
    without = Rig.start(a_plan(watch={"errors": {}}), 100, canary=Behaviour(refusals=0.2))
    assert without.run().state.phase == "Promoted"


def test_the_default_plan_has_the_line_and_older_plans_keep_their_digest() -> None:
    minimal = {"model": "m", "stable": "1.0", "canary": "2.0"}
    assert "refusals" in to_yaml(from_mapping(minimal))
    older = from_mapping(minimal | {"watch": {"errors": {}, "latency": {}, "predictions": {}, "labels": {}}})
    assert "refusals" not in to_yaml(older)
    assert parse(to_yaml(older)).digest == older.digest


def test_the_explanation_names_the_line() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(refusals=0.005))
    engine = rig.run(looks=20)
    assert any("refusals: " in line for line in explain(rig.record.plan(), engine.state, None))


@settings(max_examples=50)
@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_a_difference_has_every_response_of_an_arm(ok: int, failed: int, refused: int, aside: int) -> None:
    before, after = Counters(), Counters(requests=ok + failed, errors=failed, refused=refused, aside=aside)
    arm = difference(Scrape({"2.0": {"a": before}}), Scrape({"2.0": {"a": after}}), "2.0")
    assert (arm.n, arm.errors, arm.refused) == (ok + failed, failed, refused)
    assert arm.responses == ok + failed + refused + aside


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 100)), min_size=1, max_size=20), st.integers(0, 2**32 - 1)
)
def test_a_line_counts_every_refusal_once(batches: list[tuple[int, int]], seed: int) -> None:
    plan, lines, n1, x1 = a_plan(), Lines.start(a_plan()), 0, 0
    for n, refused in batches:
        arm = Arm(n=n, refused=refused)
        lines = lines.update(plan, Look(Arm(n=4 * n, refused=seed % 7), arm, Stable()))
        n1, x1 = n1 + n + refused, x1 + refused
    assert lines.refusals is not None
    assert (lines.refusals.n1, lines.refusals.x1) == (n1, x1)
