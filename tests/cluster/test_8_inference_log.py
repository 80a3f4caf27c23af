"""The inference log on the cluster: every answered request is in it once, but for what a killed pod had in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from sabia.kubernetes.pods import restarts
from sabia.serving.settings import Settings
from tests.cluster import tools
from tests.cluster.tools import MODEL, NAMESPACE, Served
from tests.waiting import eventually

VERSIONS = {"1.2": f"{MODEL}-v1-2", "2.0": f"{MODEL}-v2-0"}
# A pod that is killed loses what it answered in the last `log_seconds`, and what was on its way to the store.
WINDOW = Settings().log_seconds + 3
# What the log says, told by a pod with the analyst's access.
COUNT = """
import json
from datetime import UTC, datetime, timedelta
from sabia.store.objects import Store
from monitoring.archive import Archive
today = datetime.now(UTC).date()
with Archive(Store.open("s3://sabia"), "breast-cancer", today - timedelta(days=1), today) as archive:
    print(json.dumps(archive.rows("SELECT request_id, version, server, count(*) FROM log GROUP BY ALL")))
"""


# From the node's own point of view: within its container a server is the first process, which no signal ends unasked.
KILL = """
import os
for number in filter(str.isdigit, os.listdir("/proc")):
    try:
        environment = open(f"/proc/{number}/environ", "rb").read().split(bytes(1))
        command = open(f"/proc/{number}/cmdline", "rb").read().split(bytes(1))
    except OSError:
        continue
    if b"HOSTNAME=%s" in environment and b"predictor" in command:
        os.kill(int(number), 9)
        print("killed")
"""


@pytest.fixture
def two_by_two(split: None) -> Iterator[None]:
    """Two versions with two replicas each, and half of the traffic for each."""
    for version, service in VERSIONS.items():
        assert tools.sabia("deploy", MODEL, version, "--replicas", "2").returncode == 0
        eventually(partial(_two_are_ready, service))
    tools.traffic("1.2=50", "2.0=50")
    yield
    tools.traffic("1.2=100")
    for version in VERSIONS:
        assert tools.sabia("deploy", MODEL, version).returncode == 0


def kill(pod: str) -> None:
    """End a pod's server without asking it (SIGKILL)."""
    container = {
        "name": "kill",
        "image": tools.IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", KILL % pod],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    metadata = {"name": f"kill-{pod}", "namespace": "kube-system"}
    spec: dict[str, Any] = {"hostPID": True, "restartPolicy": "Never", "containers": [container]}
    spec["nodeName"] = tools.get("pod", pod)["spec"]["nodeName"]
    tools.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    tools.kubectl(
        "wait", "-n", "kube-system", f"pod/kill-{pod}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"
    )
    said = tools.kubectl("logs", "-n", "kube-system", f"kill-{pod}")
    tools.kubectl("delete", "pod", "-n", "kube-system", f"kill-{pod}", "--wait=false")
    assert said.split() == ["killed"]


def _two_are_ready(service: str) -> bool:
    return tools.readiness(service) == [True, True]


def logged() -> dict[str, tuple[str, str, int]]:
    """By request id: version, server and how often it is in the log."""
    said = tools.run_pod(COUNT, secret="models-s3-analyst").splitlines()[-1]
    return {name: (version, server, count) for name, version, server, count in json.loads(said)}


def test_every_answered_request_is_in_the_log_once_but_what_a_killed_pod_held(
    two_by_two: None, url: str, row: list[float]
) -> None:
    with tools.load(url, row) as load:
        eventually(lambda: load.now() > WINDOW)  # so that there is a log from before the kill
        killed = tools.pods_of(VERSIONS["1.2"])[0]["metadata"]["name"]
        began = load.now()
        kill(killed)
        eventually(lambda: restarts(tools.get("pod", killed)) == 1)
        eventually(lambda: tools.readiness(VERSIONS["1.2"]) == [True, True])
        ended = load.now()
        drained = tools.pods_of(VERSIONS["2.0"])[0]["metadata"]["name"]
        tools.kubectl("delete", "pod", "-n", NAMESPACE, drained, "--wait=true")
        eventually(lambda: tools.readiness(VERSIONS["2.0"]) == [True, True])
    # A call that broke, or that no predictor answered, is in no log.
    answered = {call.request_id: call for call in load.answers if call.request_id and call.version}
    last = {call.request_id for call in answered.values() if call.at > ended}

    def complete() -> dict[str, tuple[str, str, int]]:
        found = logged()
        return found if last <= found.keys() else {}

    found = eventually(complete, seconds=120)
    mine = {name: found[name] for name in answered if name in found}
    lost = [call for name, call in answered.items() if name not in found]
    tools.report(
        "inference log, a pod killed and one drained",
        {
            "answered": len(answered),
            "logged once": sum(count == 1 for _, _, count in mine.values()),
            "lost with the killed pod": len(lost),
            "the longest before the kill, seconds": round(max((began - call.at for call in lost), default=0.0), 1),
            "by server": dict(Counter(server for _, server, _ in mine.values())),
        },
    )
    assert {count for _, _, count in mine.values()} == {1}
    assert all(version == answered[name].version for name, (version, _, _) in mine.items())
    assert {call.version for call in lost} <= {"1.2"}
    assert all(began - WINDOW <= call.at <= ended for call in lost)
    servers = {version: {server for of, server, _ in mine.values() if of == version} for version in VERSIONS}
    assert drained in servers["2.0"]
    assert all(len(each) >= 2 for each in servers.values())


def test_the_report_is_made_by_its_job(served: Served, url: str, row: list[float]) -> None:
    tools.apply_folder("monitoring")
    tools.kubectl("create", "job", "-n", NAMESPACE, "report-now", "--from=cronjob/report")
    tools.kubectl("wait", "-n", NAMESPACE, "job/report-now", "--for=condition=Complete", "--timeout=240s")
    said = tools.kubectl("logs", "-n", NAMESPACE, "job/report-now")
    keys = [line.removeprefix("wrote s3://sabia/") for line in said.splitlines() if line.startswith("wrote ")]
    assert [key.rpartition(".")[2] for key in keys] == ["html", "json"]
    script = (
        "from sabia.store.objects import Store\n"
        "store = Store.open('s3://sabia')\n"
        f"assert store.get({keys[0]!r}).startswith(b'<!doctype html>')\n"
        f"print(store.get({keys[1]!r}).decode())\n"
    )
    facts = json.loads(tools.run_pod(script, secret="models-s3-analyst"))
    assert {"1.2", "2.0"} <= {each["version"] for each in facts["versions"]}
    assert facts["rows"] > 0
    # The decisions are made again from the log, by the artifacts.
    assert all(each["skew"]["largest_difference"] < 1e-9 for each in facts["versions"])


def test_whoever_may_write_the_log_may_not_read_it(served: Served) -> None:
    script = (
        "from sabia.store.objects import Store\n"
        "from sabia.store.errors import StoreRefused\n"
        "store = Store.open('s3://sabia')\n"
        "keys = [entry.key for entry in store.list('inference-log/')]\n"
        "def refused(call):\n"
        "    try:\n"
        "        call()\n"
        "    except StoreRefused:\n"
        "        return True\n"
        "    return False\n"
        "assert keys and refused(lambda: store.get(keys[0]))\n"
        "assert refused(lambda: store.create_unique('models/breast-cancer/9.9/manifest.json', b'{}'))\n"
        "print('refused')\n"
    )
    assert tools.run_pod(script, secret="models-s3-logger").strip() == "refused"
