"""What a `Rollout` shows, made of the end of its record."""

from __future__ import annotations

from sabia.kubernetes.operator import status
from sabia.kubernetes.resources import plan_of
from sabia.rollout.engine import command
from tests.unit.rollout.fakes import CANARY, Behaviour, Rig, a_plan


def shown(rig: Rig, before: dict[str, object] | None = None) -> dict[str, object]:
    return status.of(rig.record.name, rig.record.head(), handled=None, before=before or {})


def conditions(found: dict[str, object]) -> dict[str, str]:
    items: list[dict[str, str]] = found["conditions"]  # type: ignore[assignment]
    return {item["type"]: item["status"] for item in items}


def test_a_running_rollout_shows_step_weights_evidence_and_the_time_left() -> None:
    rig = Rig.of(a_plan(), 100)
    rig.run(looks=6)
    found = shown(rig)
    assert (found["phase"], found["step"], found["canaryWeight"]) == ("stepping", 2, 5)
    assert "to 1 against 2.0" in str(found["evidence"])
    assert found["eta"] is not None
    assert conditions(found)["Progressing"] == "True"


def test_what_holds_is_a_condition_with_its_reason() -> None:
    rig = Rig.of(a_plan(), 100)
    rig.run(looks=3)
    command(rig.record, "pause", actor="ana")
    found = shown(rig)
    assert found["phase"] == "paused"
    assert (conditions(found)["Held"], conditions(found)["Progressing"]) == ("True", "False")
    assert "paused by ana" in str(found["conditions"])


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    rig = Rig.of(a_plan(), 100, canary=Behaviour(errors=0.5))
    rig.run(looks=1)
    first = shown(rig)
    rig.run()
    last = shown(rig, first)
    times = [{item["type"]: item["lastTransitionTime"] for item in found["conditions"]} for found in (first, last)]  # type: ignore[attr-defined]
    assert times[0]["Accepted"] == times[1]["Accepted"]
    assert times[0]["RolledBack"] < times[1]["RolledBack"]
    assert conditions(last)["RolledBack"] == "True"


def test_what_is_refused_says_why() -> None:
    found = status.refused("The plan's steps are wrong.", "2026-01-01T00:00:00Z", {})
    assert (found["phase"], found["evidence"]) == ("refused", "The plan's steps are wrong.")
    assert conditions(found) == {"Accepted": "False"}


def test_a_spec_is_a_plan_and_a_decision() -> None:
    spec = {"model": "breast-cancer", "stable": "1.2", "canary": CANARY, "decision": {"verb": "pause", "id": "1"}}
    assert plan_of(spec) == a_plan()
