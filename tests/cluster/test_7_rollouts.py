"""Rollouts by evidence on a real cluster: promotion and rollback under load, the operator killed in each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import tools
from tests.cluster.rollouts import condition, start, until
from tests.cluster.tools import MODEL, NAMESPACE, Load, Served
from tests.waiting import eventually

Document = dict[str, Any]

BROKEN = "2.1"


@pytest.fixture(scope="module")
def broken(served: Served) -> Iterator[None]:
    """A version that answers its first 150 calls well."""
    done = tools.sabia("deploy", MODEL, BROKEN, "--faults", "errors=0.1,after=150")
    assert done.returncode == 0, done.stderr
    yield
    tools.traffic("1.2=100")
    assert tools.sabia("undeploy", MODEL, BROKEN, "--quiet", "2").returncode == 0


def kill_the_operator() -> str:
    """SIGKILL, without any leave; returns the pod's name."""
    (pod,) = tools.get("pods", selector="sabia.dev/operator=rollouts")["items"]
    name: str = pod["metadata"]["name"]
    tools.kubectl("exec", "-n", NAMESPACE, name, "--", "python", "-c", "import os; os.kill(1, 9)", check=False)
    tools.kubectl("delete", "pod", "-n", NAMESPACE, name, "--force", "--grace-period=0", check=False)
    return name


def facts(load: Load, end: Document, canary: str) -> Document:
    """What is reported of a rollout."""
    failed = [answer for answer in load.answers if answer.outcome != "200"]
    return {
        "phase": end["phase"],
        "summary": end["summary"],
        "records": end["entry"] + 1,
        "requests": len(load.answers),
        "failed": len(failed),
        "failed by others than the canary": sum(answer.version != canary for answer in failed),
    }


def test_a_good_version_is_promoted_although_the_operator_is_killed_in_the_middle(
    operator: None, split: None, url: str, row: list[float]
) -> None:
    with tools.load(url, row, clients=6, pause=0.01) as load:
        start("good", stable="1.2", canaries=["2.0"])
        until("good", lambda found: found.get("step") == 2)
        kill_the_operator()
        end = until("good", lambda found: found["phase"] in ("Promoted", "RolledBack"))
    found = facts(load, end, "2.0")
    tools.report("a good version, the operator killed", found)
    assert found["phase"] == "Promoted"
    assert found["failed"] == 0
    assert tools.traffic() == {"weights": {"1.2": 0, "2.0": 100}, "mirror": None}
    listed = tools.kubectl("get", "rollouts", "-n", NAMESPACE)
    assert "promoted: 2.0 is safe at every step." in listed


def test_a_bad_version_is_rolled_back_although_the_operator_is_killed_in_the_middle(
    operator: None, broken: None, split: None, url: str, row: list[float]
) -> None:
    with tools.load(url, row, clients=6, pause=0.01) as load:
        start("bad", stable="1.2", canaries=[BROKEN])
        until("bad", lambda found: found["phase"] == "Stepping" and found["canaryWeight"] == 5)
        kill_the_operator()
        end = until("bad", lambda found: found["phase"] in ("Promoted", "RolledBack"))
    found = facts(load, end, BROKEN)
    tools.report("a bad version, the operator killed", found)
    assert found["phase"] == "RolledBack"
    assert found["failed by others than the canary"] == 0
    assert "canary against" in end["summary"]
    assert tools.traffic()["weights"][BROKEN] == 0
    reasons = {event["reason"] for event in tools.get("events")["items"] if event["involvedObject"]["name"] == "bad"}
    assert {"Stepping", "RollingBack", "RolledBack"} <= reasons
    complete = condition(end, "Complete")
    assert (complete["status"], complete["reason"]) == ("True", "RolledBack")


def test_a_plan_cannot_be_edited_another_rollout_waits_and_without_requests_a_person_decides(
    operator: None, split: None
) -> None:
    start("quiet", stable="1.2", canaries=["2.0"])
    until("quiet", lambda found: found["phase"] == "Stepping")
    patch = json.dumps({"spec": {"minimumDwell": "1s"}})
    said = tools.kubectl("patch", "rollout", "quiet", "-n", NAMESPACE, "--type=merge", "-p", patch, check=False)
    assert "the plan of a rollout cannot change" in said
    start("second", stable="1.2", canaries=["2.0"])
    waiting = until("second", lambda found: bool(found.get("summary")))
    assert "under way" in waiting["summary"]
    tools.kubectl("delete", "rollout", "second", "-n", NAMESPACE, "--timeout=60s")
    # Without requests nothing is promoted, and a person decides.
    found = until("quiet", lambda found: found.get("entry", 0) >= 8)
    assert (found["phase"], found["canaryWeight"]) == ("Stepping", 5)
    for action, phase, paused in (
        ("pause", "Stepping", "True"),
        ("resume", "Stepping", "False"),
        ("abort", "RolledBack", "False"),
    ):
        assert tools.sabia("rollout", action, "--name", "quiet").returncode == 0

        def is_shown(found: Document, phase: str = phase, paused: str = paused) -> bool:
            return (found["phase"], condition(found, "Paused")["status"]) == (phase, paused)

        until("quiet", is_shown)
    shown = tools.sabia("rollout", "status", "--name", "quiet", "--why")
    assert "aborted by" in shown.stdout
    assert tools.sabia("rollout", "abort", "--name", "quiet").returncode == 1


def test_deleting_a_rollout_gives_the_stable_version_everything_back(operator: None, split: None) -> None:
    start("deleted", stable="1.2", canaries=["2.0"])
    until("deleted", lambda found: found.get("canaryWeight") == 5)
    tools.kubectl("delete", "rollout", "deleted", "-n", NAMESPACE, "--timeout=60s")
    assert tools.traffic()["weights"]["1.2"] == 100
    # It has ended, so another one may start. One that is deleted while no operator runs is ended by the next operator.
    start("next", stable="1.2", canaries=["2.0"])
    until("next", lambda found: found.get("canaryWeight") == 5)
    tools.kubectl("scale", "-n", NAMESPACE, "deployment/rollouts", "--replicas=0")
    eventually(lambda: not tools.get("pods", selector="sabia.dev/operator=rollouts")["items"])
    tools.kubectl("delete", "rollout", "next", "-n", NAMESPACE, "--wait=false")
    assert tools.traffic()["weights"]["2.0"] == 5
    tools.kubectl("scale", "-n", NAMESPACE, "deployment/rollouts", "--replicas=1")
    tools.kubectl("wait", "-n", NAMESPACE, "rollout/next", "--for=delete", "--timeout=120s")
    assert tools.traffic()["weights"]["1.2"] == 100


def test_a_plan_that_cannot_be_is_refused_with_a_sentence(operator: None) -> None:
    start("wrong", stable="1.2", canaries=["2.0"], steps=[50, 5])
    found = until("wrong", lambda found: bool(found.get("summary")))
    accepted = condition(found, "Accepted")
    assert (found["phase"], accepted["status"], accepted["reason"]) == ("Pending", "False", "InvalidPlan")
    assert "steps must be rising" in found["summary"]
    tools.kubectl("delete", "rollout", "wrong", "-n", NAMESPACE, "--timeout=60s")


@pytest.mark.parametrize(
    ("verb", "what", "allowed"),
    [
        ("update", "httproutes.gateway.networking.k8s.io", "yes"),
        ("get", "pods", "yes"),
        ("get", "secrets", "no"),
        ("delete", "pods", "no"),
        ("create", "rollouts.sabia.dev", "no"),
        ("delete", "inferenceservices.serving.kserve.io", "no"),
        ("update", "inferenceservices.serving.kserve.io", "no"),
        ("delete", "httproutes.gateway.networking.k8s.io", "no"),
    ],
)
def test_the_operator_may_do_what_it_needs_and_nothing_else(operator: None, verb: str, what: str, allowed: str) -> None:
    user = f"--as=system:serviceaccount:{NAMESPACE}:rollouts"
    assert tools.kubectl("auth", "can-i", verb, what, "-n", NAMESPACE, user, check=False).split()[0] == allowed


def test_the_store_lets_the_operator_write_records_and_nothing_else(served: Served) -> None:
    script = """
import io, os
from minio import Minio
from minio.error import S3Error
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
store = Minio(os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), access_key=key, secret_key=secret, secure=False)
for name in ("rollouts/attempt/x/00000000.json", "models/attempt.json"):
    try:
        store.put_object("sabia", name, io.BytesIO(b"x"), 1)
        print(name, "done")
    except S3Error as error:
        print(name, error.code)
"""
    said = tools.run_pod(script, secret="models-s3-rollouts").splitlines()
    assert said == ["rollouts/attempt/x/00000000.json done", "models/attempt.json AccessDenied"]
