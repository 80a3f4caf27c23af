"""What a `Rollout` shows, made of the end of its record."""

from __future__ import annotations

from sabia.kubernetes.operator import status
from sabia.kubernetes.resources import plan_from_spec
from sabia.rollout.engine import act
from tests.unit.rollout.fakes import CANARY, Behaviour, Rig, a_plan


def shown(rig: Rig, before: dict[str, object] | None = None) -> dict[str, object]:
    return status.from_head(rig.record.name, rig.record.head(), generation=1, handled=None, before=before or {})


def conditions(found: dict[str, object]) -> dict[str, str]:
    items: list[dict[str, str]] = found["conditions"]  # type: ignore[assignment]
    return {item["type"]: item["status"] for item in items}


def reasons(found: dict[str, object]) -> dict[str, str]:
    items: list[dict[str, str]] = found["conditions"]  # type: ignore[assignment]
    return {item["type"]: item["reason"] for item in items}


def test_a_running_rollout_shows_step_weights_evidence_and_the_time_left() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=6)
    found = shown(rig)
    assert (found["phase"], found["step"], found["canaryWeight"]) == ("Stepping", 2, 5)
    assert "to 1 against 2.0" in str(found["summary"])
    assert found["timeLeft"] is not None
    assert found["observedGeneration"] == 1
    assert conditions(found)["Progressing"] == "True"


def test_a_pause_is_a_condition_with_its_reason() -> None:
    rig = Rig.start(a_plan(), 100)
    rig.run(looks=3)
    act(rig.record, "pause", actor="ana")
    found = shown(rig)
    assert found["phase"] == "Stepping"
    assert (conditions(found)["Paused"], conditions(found)["Progressing"]) == ("True", "False")
    assert "paused by ana" in str(found["conditions"])


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(errors=0.5))
    rig.run(looks=1)
    first = shown(rig)
    rig.run()
    last = shown(rig, first)
    times = [{item["type"]: item["lastTransitionTime"] for item in found["conditions"]} for found in (first, last)]  # type: ignore[attr-defined]
    assert times[0]["Accepted"] == times[1]["Accepted"]
    assert times[0]["Complete"] < times[1]["Complete"]
    assert conditions(last)["Complete"] == "True"
    assert reasons(last)["Complete"] == "RolledBack"


def test_what_holds_is_a_condition_with_its_reason() -> None:
    rig = Rig.start(a_plan(), 100, canary=Behaviour(shares=[0.0, 0.0, 1.0]))
    rig.run(looks=60)
    found = shown(rig)
    assert (conditions(found)["Held"], conditions(found)["Paused"]) == ("True", "False")
    assert (reasons(found)["Held"], conditions(found)["Progressing"]) == ("Held", "False")
    assert "predictions differ" in str(found["conditions"])


def test_a_plan_that_is_rejected_says_why() -> None:
    message = "The plan's steps are wrong."
    found = status.rejected("InvalidPlan", message, "2026-01-01T00:00:00Z", generation=2, before={})
    assert (found["phase"], found["summary"], found["observedGeneration"]) == ("Pending", message, 2)
    assert conditions(found) == {"Accepted": "False"}
    assert reasons(found) == {"Accepted": "InvalidPlan"}


def test_a_spec_is_a_plan_and_an_action() -> None:
    spec = {"model": "breast-cancer", "stable": "1.2", "canaries": [CANARY], "action": {"type": "pause", "id": "1"}}
    assert plan_from_spec(spec) == a_plan()
