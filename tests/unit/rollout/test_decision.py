"""Where a rollout advances, promotes, or leaves the choice to a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.rollout.counters import Scrape
from sabia.rollout.decision import may_advance, may_promote, needs_choice
from sabia.rollout.events import Looked, Started
from sabia.rollout.state import State, initial_state
from sabia.rollout.transition import advance
from tests.unit.rollout.fakes import CANARY, STABLE, Behaviour, Rig, a_plan

PLAN = a_plan(canary=[CANARY, "2.1"], steps=[5, 25], minimum_dwell="60s")


def a_state(**changed: object) -> State:
    """At the last step, the dwell over, one canary left, and that one safe: what promotes."""
    started = initial_state(Started(PLAN, {STABLE: 100, CANARY: 0, "2.1": 0}, "test"))
    ready = started.replace(phase="Stepping", step=1, dwell=60.0, active=[CANARY], verdicts={CANARY: "safe"})
    return ready.replace(**changed)


def test_one_safe_canary_at_the_last_step_after_the_dwell_is_promoted() -> None:
    assert may_promote(PLAN, a_state())


@pytest.mark.parametrize(
    "changed",
    [
        {"phase": "Pending", "step": None},
        {"phase": "RollingBack"},
        {"step": 0},
        {"dwell": 59.9},
        {"verdicts": {CANARY: "undecided"}},
        {"verdicts": {CANARY: "harm"}},
        {"verdicts": {}},
        {"active": [CANARY, "2.1"], "verdicts": {CANARY: "safe", "2.1": "safe"}},
        {"paused": "paused by ana"},
        {"held": {"deadline": "the deadline has passed"}},
    ],
    ids=str,
)
def test_without_one_of_these_nothing_is_promoted(changed: dict[str, object]) -> None:
    assert not may_promote(PLAN, a_state(**changed))


def test_an_earlier_step_advances_and_several_safe_canaries_at_the_last_need_a_choice() -> None:
    both: dict[str, object] = {"active": [CANARY, "2.1"], "verdicts": {CANARY: "safe", "2.1": "safe"}}
    assert may_advance(PLAN, a_state(step=0))
    assert may_advance(PLAN, a_state(step=0, **both))
    assert needs_choice(PLAN, a_state(**both))


states = st.builds(
    a_state,
    phase=st.sampled_from(["Pending", "Stepping", "Promoting", "Promoted", "RollingBack", "RolledBack"]),
    step=st.sampled_from([None, 0, 1]),
    dwell=st.floats(0, 120),
    active=st.lists(st.sampled_from([CANARY, "2.1"]), min_size=1, unique=True),
    verdicts=st.dictionaries(st.sampled_from([CANARY, "2.1"]), st.sampled_from(["harm", "safe", "undecided"])),
    paused=st.none() | st.just("paused by ana"),
    held=st.just({}) | st.just({"choice": "2.0 and 2.1 are safe"}),
)


@given(states)
def test_at_most_one_of_the_three_holds_and_none_without_a_complete_step(state: State) -> None:
    outcomes = [rule(PLAN, state) for rule in (may_promote, may_advance, needs_choice)]
    assert sum(outcomes) <= 1
    complete = (
        state.phase == "Stepping"
        and state.step is not None
        and state.dwell >= 60
        and {state.verdicts.get(version) for version in state.active} == {"safe"}
        and state.paused is None
        and not state.held
    )
    assert any(outcomes) == complete
    assert may_promote(PLAN, state) == (complete and state.step == 1 and len(state.active) == 1)


def test_reasons_to_hold_are_in_the_plans_order_so_that_a_replay_writes_the_same_bytes() -> None:
    """A set of strings has another order in another process."""
    baseline = f"{STABLE}-baseline"
    rig = Rig.start(a_plan(baseline=True, steps=[5]), 100, baseline=Behaviour())
    rig.run(looks=4)
    plan, state = rig.record.plan(), rig.record.head().entry.state
    scrape = rig.world.scrape()
    for trouble in ({STABLE: "gone", baseline: "gone"}, {baseline: "gone", STABLE: "gone"}):
        event = Looked(Scrape(scrape.arms, {}, trouble), state.confirmed, 15.0)
        held = advance(plan, state, event).held
        assert list(held) == [f"serving {STABLE}", f"serving {baseline}"]
