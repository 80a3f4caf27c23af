"""The inference log on the cluster has every request once, except those that a killed pod had in memory."""

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
# A killed pod loses the requests of the last `log_seconds`, and those on their way to the store.
WINDOW = Settings().log_seconds + 3
# Prints the log, in a pod with the analyst's access.
COUNT = """
import json
from datetime import UTC, datetime, timedelta
from sabia.monitoring.archive import Archive
from sabia.store.objects import Store
today = datetime.now(UTC).date()
with Archive(Store.open("s3://sabia"), "breast-cancer", today - timedelta(days=1), today) as archive:
    print(json.dumps(archive.rows("SELECT request_id, version, server, count(*) FROM log GROUP BY ALL")))
"""


# Runs on the node: within its container the server is process 1, which SIGKILL does not reach.
KILL = """
import os
for number in filter(str.isdigit, os.listdir("/proc")):
    try:
        environment = open(f"/proc/{number}/environ", "rb").read().split(bytes(1))
        command = open(f"/proc/{number}/cmdline", "rb").read().split(bytes(1))
    except OSError:
        continue
    if b"HOSTNAME=%s" in environment and b"serve" in command:
        os.kill(int(number), 9)
        print("killed")
"""


@pytest.fixture
def two_by_two(split: None) -> Iterator[None]:
    """Two versions with two replicas and half of the traffic each."""
    for version, service in VERSIONS.items():
        assert tools.sabia("deploy", MODEL, version, "--replicas", "2").returncode == 0
        eventually(partial(_two_are_ready, service))
    tools.traffic("1.2=50", "2.0=50")
    yield
    tools.traffic("1.2=100")
    for version in VERSIONS:
        assert tools.sabia("deploy", MODEL, version).returncode == 0


def kill(pod: str) -> None:
    """Kill a pod's server (SIGKILL)."""
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
    output = tools.kubectl("logs", "-n", "kube-system", f"kill-{pod}")
    tools.kubectl("delete", "pod", "-n", "kube-system", f"kill-{pod}", "--wait=false")
    assert output.split() == ["killed"]


def _two_are_ready(service: str) -> bool:
    return tools.readiness(service) == [True, True]


def logged() -> dict[str, tuple[str, str, int]]:
    """By request id: version, server and number of rows in the log."""
    output = tools.run_pod(COUNT, secret="models-s3-analyst").splitlines()[-1]
    return {name: (version, server, count) for name, version, server, count in json.loads(output)}


def test_every_request_is_logged_once_except_those_in_the_memory_of_a_killed_pod(
    two_by_two: None, url: str, row: list[float]
) -> None:
    with tools.load(url, row) as load:
        eventually(lambda: load.now() > WINDOW)  # there is a log from before the kill
        killed = tools.pods_of(VERSIONS["1.2"])[0]["metadata"]["name"]
        began = load.now()
        kill(killed)
        eventually(lambda: restarts(tools.get("pod", killed)) == 1)
        eventually(lambda: tools.readiness(VERSIONS["1.2"]) == [True, True])
        ended = load.now()
        drained = tools.pods_of(VERSIONS["2.0"])[0]["metadata"]["name"]
        tools.kubectl("delete", "pod", "-n", NAMESPACE, drained, "--wait=true")
        eventually(lambda: tools.readiness(VERSIONS["2.0"]) == [True, True])
    # Requests that broke or reached no predictor are not logged.
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


def test_the_job_writes_the_report(served: Served, url: str, row: list[float]) -> None:
    tools.apply_folder("monitoring")
    tools.kubectl("create", "job", "-n", NAMESPACE, "report-now", "--from=cronjob/report")
    tools.kubectl("wait", "-n", NAMESPACE, "job/report-now", "--for=condition=Complete", "--timeout=240s")
    output = tools.kubectl("logs", "-n", NAMESPACE, "job/report-now")
    keys = [line.removeprefix("wrote s3://sabia/") for line in output.splitlines() if line.startswith("wrote ")]
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
    # The artifacts predict logged rows again.
    assert all(each["skew"]["largest_difference"] < 1e-9 for each in facts["versions"])


def test_the_logger_may_not_read_the_log(served: Served) -> None:
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
