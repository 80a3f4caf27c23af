"""Whole rollouts in a world without servers: what is decided, in which order things happen, and what never happens."""

from __future__ import annotations

import msgspec
import pytest

from sabia.rollout import record as records
from sabia.rollout.engine import Engine, act, start
from sabia.rollout.errors import AlreadyRollingOut, EntryTaken, InvalidPlan, NotConfirmed, RolloutEnded
from sabia.rollout.events import Looked, Moved
from sabia.rollout.record import replay
from sabia.rollout.summary import conditions, explain
from sabia.store.errors import StoreUnavailable
from tests.unit.rollout.fakes import CANARY, STABLE, Behaviour, Rig, a_plan

ERRORS_ONLY: dict[str, object] = {"watch": {"errors": {}}}


def test_a_healthy_canary_is_promoted_step_by_step_in_five_minutes_at_100_requests_a_second() -> None:
    rig = Rig.start(a_plan(), 100)
    engine = rig.run()
    assert engine.state.phase == "Promoted"
    assert [move[CANARY] for move in rig.world.moves] == [1, 5, 10, 25, 50, 100]
    assert 300 <= rig.clock.seconds <= 360
    assert "safe at every step" in engine.head.entry.summary


@pytest.mark.parametrize(
    ("canary", "word"),
    [
        (Behaviour(errors=0.05), "failed"),
        (Behaviour(errors=1.0), "failed"),
        (Behaviour(median=0.04), "predictions took longer"),
    ],
    ids=["errors", "broken", "slow"],
)
def test_a_worse_canary_is_rolled_back_and_the_sentence_says_why(canary: Behaviour, word: str) -> None:
    rig = Rig.start(a_plan(), 100, canary=canary)
    engine = rig.run()
    assert engine.state.phase == "RolledBack"
    assert rig.world.in_force == {STABLE: 100, CANARY: 0}
    assert word in (engine.state.reason or "")


def test_a_canary_that_answers_nothing_right_costs_few_requests() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(errors=1.0))
    rig.run()
    assert rig.world.failures[CANARY] <= 20


@pytest.mark.slow
def test_silence_is_never_success() -> None:
    rig = Rig.start(a_plan(deadline="1h"), 0)
    engine = rig.run(looks=400)
    assert engine.state.phase == "Stepping"
    assert rig.world.in_force[CANARY] == 1
    assert "deadline" in engine.head.entry.summary


def test_whoever_accepts_that_the_deadline_has_passed_lets_it_go_on() -> None:
    rig = Rig.start(a_plan(deadline="10m"), 0)
    assert conditions(rig.run(looks=60).state) == ["Held"]
    act(rig.record, "resume", actor="ana")
    rig.world.rate = 100
    assert rig.run().state.phase == "Promoted"


def test_a_batch_is_cut_where_the_weights_came_into_force_unseen() -> None:
    """The gateway applied them, but could not confirm it."""
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=2)
    before = rig.record.head().entry.state
    rig.world.refuses = NotConfirmed(10)
    rig.run(looks=8)
    wanted = rig.record.head().entry.state.desired
    assert wanted != rig.world.in_force
    rig.world.in_force = dict(wanted)
    rig.engine().take_look()
    after = rig.record.head().entry.state
    assert (after.confirmed, after.paused) == (wanted, None)
    assert after.lines[CANARY].errors.n1 >= before.lines[CANARY].errors.n1
    rig.world.refuses = None
    assert rig.run().state.phase == "Promoted"


def test_a_deadline_may_roll_back() -> None:
    rig = Rig.start(a_plan(deadline="1h", on_deadline="roll-back"), 0)
    assert rig.run(looks=400).state.phase == "RolledBack"


def test_a_prediction_shift_holds_until_somebody_accepts_it() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(shares=[0.0, 0.0, 1.0]))
    engine = rig.run(looks=60)
    assert conditions(engine.state) == ["Held"]
    assert "predictions differ by more than the budget" in engine.head.entry.summary
    act(rig.record, "resume", actor="ana")
    assert rig.run().state.phase == "Promoted"


def test_a_prediction_shift_within_the_budget_is_what_a_new_model_is_for() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(shares=[0.45, 0.35, 0.2]))
    assert rig.run().state.phase == "Promoted"


def test_a_canary_that_stops_serving_is_rolled_back_at_the_next_look() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=6)
    rig.world.trouble[CANARY] = "it was killed for memory"
    engine = rig.run(looks=4)
    assert (engine.state.phase, "killed for memory" in (engine.state.reason or "")) == ("RolledBack", True)


def test_a_version_that_is_not_ready_is_waited_for() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.world.trouble[CANARY] = "it is starting"
    assert rig.run(looks=5).state.phase == "Pending"
    assert rig.world.moves == []
    rig.world.trouble.clear()
    assert rig.run().state.phase == "Promoted"


def test_a_source_that_fails_holds_and_freezes_the_clocks_and_is_said() -> None:
    rig = Rig.start(a_plan(), 100)
    before = rig.run(looks=3).state
    rig.world.unreachable = "Prometheus does not answer"
    engine = rig.run(looks=50)
    assert (engine.state.dwell, engine.state.elapsed) == (before.dwell, before.elapsed)
    assert "Prometheus does not answer" in engine.head.entry.summary
    rig.world.unreachable = None
    assert rig.run().state.phase == "Promoted"


def test_a_gateway_that_does_not_confirm_is_asked_again() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=2)
    rig.world.refuses = NotConfirmed(10)
    engine = rig.run(looks=20)
    assert "did not confirm" in engine.head.entry.summary
    assert engine.state.desired != engine.state.confirmed
    rig.world.refuses = None
    assert rig.run().state.phase == "Promoted"


def test_weights_that_somebody_else_moves_pause_the_rollout() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=6)
    rig.world.in_force = {STABLE: 60, CANARY: 40}
    engine = rig.run(looks=4)
    assert conditions(engine.state) == ["Paused"]
    assert "2.0 40" in engine.head.entry.summary
    assert rig.world.in_force[CANARY] == 40
    act(rig.record, "resume", actor="ana")
    assert rig.run().state.phase == "Promoted"


def test_a_pause_keeps_the_step_and_still_protects() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=6)
    act(rig.record, "pause", actor="ana")
    engine = rig.run(looks=60)
    assert (conditions(engine.state), rig.world.in_force[CANARY]) == (["Paused"], 5)
    rig.world.behaviours[CANARY].errors = 0.5
    assert rig.run(looks=20).state.phase == "RolledBack"


def test_somebody_may_promote_or_abort() -> None:
    for action, end, weight in (("promote", "Promoted", 100), ("abort", "RolledBack", 0)):
        rig = Rig.start(a_plan(), 1)
        rig.run(looks=3)
        act(rig.record, action, actor="ana")  # type: ignore[arg-type]
        engine = rig.run(looks=6)
        assert (engine.state.phase, rig.world.in_force[CANARY]) == (end, weight)
        assert "by ana" in (engine.state.reason or "")


def test_a_rollout_that_is_over_takes_no_command() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run()
    with pytest.raises(RolloutEnded):
        act(rig.record, "abort", actor="ana")


def test_an_outage_of_both_rolls_nothing_back_and_pauses() -> None:
    rig = Rig.start(a_plan(**ERRORS_ONLY), 100)
    rig.run(looks=10)
    for behaviour in rig.world.behaviours.values():
        behaviour.errors = 0.2
    engine = rig.run(looks=20)
    assert conditions(engine.state) == ["Paused"]
    assert "1.2 is worse than it was" in (engine.state.paused or "")


def test_counters_that_start_again_and_replicas_that_come_and_go_change_no_verdict() -> None:
    rig = Rig.start(a_plan(warm_up="15s"), 100, stable=Behaviour(replicas=2), canary=Behaviour(replicas=2))
    for at in range(12):
        rig.run(looks=2)
        (rig.world.restart, rig.world.add_replica, rig.world.remove_replica)[at % 3](STABLE if at % 2 else CANARY)
    assert rig.run().state.phase == "Promoted"


def test_a_canary_that_is_slow_while_it_is_cold_is_not_harmed() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(median=0.2))
    rig.run(looks=3)
    rig.world.behaviours[CANARY].median = 0.02
    assert rig.run().state.phase == "Promoted"


def test_clocks_that_jump_change_no_evidence() -> None:
    plain, jumping = Rig.start(a_plan(), 100), Rig.start(a_plan(), 100)
    from datetime import timedelta

    for look in range(40):
        plain.run(looks=1)
        jumping.clock.jump = timedelta(days=(-1) ** look * 400)
        jumping.run(looks=1)
    states = [rig.record.head().entry.state for rig in (plain, jumping)]
    assert msgspec.json.encode(states[0].lines) == msgspec.json.encode(states[1].lines)


def test_every_move_is_written_down_before_it_is_made_and_confirmed_after() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run()
    wanted: list[int] = []
    for entry, _ in rig.record.entries():
        if isinstance(entry.event, Moved):
            assert entry.event.weights[CANARY] == wanted[-1]
        wanted.append(entry.state.desired[CANARY])


def test_a_replay_decides_everything_again_bit_for_bit() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(errors=0.03))
    rig.run()
    found = list(replay(rig.record))
    assert len(found) > 5
    assert all(item.same for item in found)


def test_two_engines_cannot_both_write_a_look_and_the_loser_steps_back() -> None:
    rig = Rig.start(a_plan(), 100)
    first, second = rig.engine(), rig.engine()
    first.take_look()
    second_head = rig.record.head().entry
    assert isinstance(second_head.event, Looked)
    with pytest.raises(EntryTaken):
        second.take_look()
    third = rig.engine()
    third.settle()
    with pytest.raises(EntryTaken):
        first.take_look()


def test_two_rollouts_of_a_model_do_not_run_at_once() -> None:
    rig = Rig.start(a_plan(), 100)
    with pytest.raises(AlreadyRollingOut):
        start(rig.store, a_plan(), rig.world.weights(), actor="ana", clock=rig.clock)


@pytest.mark.parametrize("weights", [{STABLE: 100}, {STABLE: 50, CANARY: 0, "1.1": 50}])
def test_a_plan_that_the_route_cannot_carry_is_refused(weights: dict[str, int]) -> None:
    rig = Rig.start(a_plan(), 100)
    act(rig.record, "abort", actor="test")
    rig.run(looks=6)
    with pytest.raises(InvalidPlan):
        start(rig.store, a_plan(), weights, actor="ana", clock=rig.clock)


class Failing:
    """A store that is down for a while."""

    def __init__(self, rig: Rig, failures: int) -> None:
        self._store, self.left, self._rig = rig.store, failures, rig
        self.weights: list[dict[str, int]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def create(self, key: str, data: bytes) -> bool:
        """Fail, or do it."""
        if self.left > 0:
            self.left -= 1
            self.weights.append(self._rig.world.weights())
            raise StoreUnavailable(key)
        return self._store.create(key, data)


def test_while_the_store_is_down_no_weight_moves_and_then_it_goes_on() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=5)
    before, store = rig.world.weights(), Failing(rig, 30)
    record = records.Record(store, rig.record.model, rig.record.name)  # type: ignore[arg-type]
    engine = Engine(record, rig.world, rig.world, clock=rig.clock)
    assert engine.run().phase == "Promoted"
    assert store.weights == [before] * 30


def test_two_canaries_are_told_apart() -> None:
    rig = Rig.start(a_plan(canary=[CANARY, "2.1"], steps=[1, 5, 10, 25]), 200, other=Behaviour(errors=0.2))
    engine = rig.run()
    assert engine.state.phase == "Promoted"
    assert rig.world.in_force == {STABLE: 0, CANARY: 100, "2.1": 0}
    assert engine.state.verdicts["2.1"] == "harm"


@pytest.mark.slow
def test_of_two_good_canaries_a_person_chooses() -> None:
    rig = Rig.start(a_plan(canary=[CANARY, "2.1"], steps=[1, 5, 10, 25]), 200, other=Behaviour())
    assert conditions(rig.run(looks=80).state) == ["Held"]
    act(rig.record, "promote", actor="ana", version="2.1")
    assert rig.run().state.phase == "Promoted"
    assert rig.world.in_force["2.1"] == 100


@pytest.mark.parametrize(("baseline", "end"), [(False, "RolledBack"), (True, "Promoted")])
def test_what_a_small_share_does_to_any_version_is_not_the_canarys_fault_where_a_baseline_shows_it(
    baseline: bool, end: str
) -> None:
    """A version with a small share takes twice as long here: the canary, and a copy of the stable version too."""
    slow = Behaviour(median=0.04)
    plan = a_plan(baseline=baseline, steps=[5, 10, 25, 40])
    copies = {"baseline": Behaviour(median=0.04)} if baseline else {}
    rig = Rig.start(plan, 100, seed=0, canary=slow, **copies)
    engine = rig.run()
    assert engine.state.phase == end
    assert sum(rig.world.in_force.values()) == 100
    if baseline:
        assert rig.world.moves[0] == {STABLE: 90, CANARY: 5, f"{STABLE}-baseline": 5}
        assert rig.world.in_force[CANARY] == 100


def test_a_hand_on_the_weights_while_it_promotes_pauses_it_too() -> None:
    rig = Rig.start(a_plan(), 100)
    act(rig.record, "promote", actor="ana")
    rig.run(looks=1)
    rig.world.in_force = {STABLE: 50, CANARY: 50}
    engine = rig.run(looks=5)
    assert (conditions(engine.state), engine.state.ended) == (["Paused"], False)
    act(rig.record, "resume", actor="ana")
    assert rig.run().state.phase == "Promoted"
    assert rig.world.in_force[CANARY] == 100


def test_shares_that_do_not_follow_the_weights_hold() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=12)
    rig.world.weights = lambda: rig.record.head().entry.state.confirmed or {}  # type: ignore[method-assign]
    rig.world.in_force = {STABLE: 80, CANARY: 20}
    engine = rig.run(looks=10)
    assert "do not follow the weights" in engine.head.entry.summary


def test_why_names_odds_threshold_and_counts() -> None:
    rig = Rig.start(a_plan(), 100)
    engine = rig.run(looks=8)
    text = "\n".join(explain(engine.head.plan, engine.state, engine.head.entry.eta))
    for part in (
        "to 1 against 2.0; rolls back at 100 to 1",
        "canary against",
        "stable requests failed",
        "this step ends",
    ):
        assert part in text
