"""Promotion, rollback and removal while clients go on calling. No call is retried."""

from __future__ import annotations

import json

import pytest

from sabia.kubernetes.cluster import Cluster, Deployed
from sabia.kubernetes.errors import NotCounted
from tests.cluster import tools
from tests.cluster.tools import MODEL, Served
from tests.waiting import eventually

# There and back, in the steps of a rollout.
SHARES = [1, 5, 10, 25, 50, 75, 90, 100, 50, 0, 10, 50, 100, 99, 50, 25, 10, 1, 100, 0]


def test_twenty_changes_of_weights_fail_no_request(split: None, url: str, row: list[float]) -> None:
    over_time = []
    with tools.load(url, row) as load:
        for share in SHARES:
            began = load.now()
            tools.traffic(f"1.2={100 - share}", f"2.0={share}")
            in_force = load.now()
            load.wait_for(60)
            end = load.now()
            assert (sum(load.versions(began, end).values()) / (end - began)) >= 20, "requests a second"
            over_time.append({"at": round(in_force, 2), "2.0": share, "answers": dict(load.versions(in_force, end))})
    facts = {"changes": len(SHARES), "requests": len(load.answers), "outcomes": dict(load.outcomes())}
    tools.report("twenty changes of weights under load", facts | {"over_time": over_time})
    assert load.outcomes() == {"200": len(load.answers)}


def test_after_a_rollback_the_version_gets_nothing(split: None, url: str, row: list[float]) -> None:
    tools.traffic("1.2=50", "2.0=50")
    with tools.load(url, row) as load:
        eventually(lambda: load.versions()["2.0"])
        tools.traffic("1.2=100")
        returned = load.now()
        load.wait_for(200)
    late = [answer.at - returned for answer in load.answers if answer.at > returned and answer.version == "2.0"]
    facts = {"requests after the command returned": sum(load.versions(returned).values()), "of 2.0": len(late)}
    tools.report("rollback", facts | {"the last of them after, seconds": round(max(late, default=0.0), 3)})
    # The command returns when the gateway's controller has taken the route; its proxies have it a moment later.
    assert max(late, default=0.0) < 2
    assert load.failed() == 0


def test_a_version_that_comes_and_goes_without_a_weight_is_never_met(split: None, url: str, row: list[float]) -> None:
    with tools.load(url, row, clients=8, pause=0.005) as load:
        for _ in range(4):
            assert tools.sabia("deploy", MODEL, "2.2").returncode == 0
            assert tools.sabia("undeploy", MODEL, "2.2", "--quiet", "1").returncode == 0
    facts = {"times": 4, "requests": len(load.answers), "outcomes": dict(load.outcomes())}
    tools.report("a version comes and goes without a weight", facts)
    assert load.failures() == []
    assert load.versions().keys() == {"1.2"}


def test_a_version_is_removed_in_the_order_that_no_client_notices(split: None, url: str, row: list[float]) -> None:
    assert tools.sabia("deploy", MODEL, "2.1").returncode == 0
    tools.traffic("1.2=50", "2.1=50")
    with tools.load(url, row) as load:
        refused = tools.sabia("undeploy", MODEL, "2.1")
        assert (refused.returncode, "its weight is 50" in refused.stderr) == (1, True)
        tools.traffic("1.2=100")
        done = tools.sabia("undeploy", MODEL, "2.1", "--quiet", "3")
        assert done.returncode == 0, done.stderr
        load.wait_for(100)
    assert load.outcomes() == {"200": len(load.answers)}
    assert load.versions()["2.1"] > 0
    assert "2.1" not in tools.status()
    left = tools.kubectl("get", "isvc,networkpolicy,poddisruptionbudget,service", "-n", tools.NAMESPACE, "-o", "name")
    assert "v2-1" not in left
    assert tools.sabia("undeploy", MODEL, "2.1").returncode == 3


def test_a_version_that_still_gets_requests_is_not_removed(split: None, url: str, row: list[float]) -> None:
    """A client that bypasses the route counts too."""
    assert tools.sabia("deploy", MODEL, "2.1").returncode == 0
    (pod,) = tools.pods_of(f"{MODEL}-v2-1")
    body = json.dumps({"instances": [row]})
    script = (
        "import time, urllib.request\n"
        f"url, body = 'http://127.0.0.1:8080/v1/models/{MODEL}:predict', {body!r}.encode()\n"
        "end = time.monotonic() + 15\n"
        "while time.monotonic() < end:\n"
        "    request = urllib.request.Request(url, body, {'content-type': 'application/json'})\n"
        "    urllib.request.urlopen(request).read()\n"
        "    time.sleep(0.2)\n"
    )
    with tools.background(lambda: tools.within(pod["metadata"]["name"], script)):
        done = tools.sabia("undeploy", MODEL, "2.1", "--quiet", "5", "--timeout", "8")
    assert (done.returncode, "requests still arrive" in done.stderr) == (1, True)
    assert tools.status()["2.1"]["ready"]
    assert tools.sabia("undeploy", MODEL, "2.1", "--quiet", "2").returncode == 0


def test_what_cannot_be_counted_is_not_taken_for_silence(served: Served) -> None:
    """A pod that is ready and whose metrics cannot be read may have clients."""
    unseen = Deployed("unseen", MODEL, "9.8", ready=True, reason="")
    label = {"serving.kserve.io/inferenceservice": unseen.name}
    pod = tools.start_pod("import time; time.sleep(120)", labels=label)
    tools.kubectl("wait", "-n", tools.NAMESPACE, f"pod/{pod}", "--for=condition=Ready", "--timeout=60s")
    cluster = Cluster.connect(tools.NAMESPACE)
    with pytest.raises(NotCounted, match=r"version 9\.8 cannot be counted"):
        cluster.requests_of(unseen)
    tools.kubectl("delete", "pod", "-n", tools.NAMESPACE, pod)
    assert cluster.requests_of(unseen) == 0
