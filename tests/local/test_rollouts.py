"""Rollouts on real servers: by the commands that the README gives, and by a real Prometheus."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from sabia.kubernetes.prometheus import Prometheus
from sabia.local import counters as stack_metrics
from sabia.local.composition import Serving
from sabia.local.process import Process, answers, free_ports
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.local.state import gateway_of, running
from sabia.rollout.errors import InvalidPlan, NotScraped
from sabia.training.datasets import Dataset, load
from tests.local.test_commands import facts, processes_of, sabia

MODEL = "breast-cancer"
PLAN = """\
model: breast-cancer
stable: "{stable}"
canary: "{canary}"
steps: [5, 25, 50]
minimum_dwell: 2s
look_every: 500ms
warm_up: 2s
watch:
  errors: {{}}
  latency: {{slack: 20ms}}
  predictions: {{budget: 0.6}}
"""
# What an engine does next is waited for by asking; the record has no event for it.
_POLL = threading.Event()


@contextmanager
def load_on(url: str, clients: int = 3) -> Iterator[Counter[tuple[int, str | None]]]:
    """Calls that go on, counted by status and version."""
    seen: Counter[tuple[int, str | None]] = Counter()
    rows = load("sklearn:breast_cancer").features.tolist()
    stop = threading.Event()

    def call(at: int) -> None:
        with requests.Session() as session:
            while not stop.is_set():
                at = (at + 7) % len(rows)
                answer = session.post(f"{url}/v1/models/{MODEL}:predict", json={"instances": [rows[at]]}, timeout=10)
                seen[answer.status_code, answer.headers.get("x-model-version")] += 1

    threads = [threading.Thread(target=call, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stack with a third version that fails from its 100th call on."""
    folder = tmp_path_factory.mktemp("rollouts")
    done = sabia(folder, "up", "--serve", "2.1", "--faults", "2.1=errors=0.2,after=100")
    assert done.returncode == 0, done.stderr
    assert sabia(folder, "traffic", "1.2=100").returncode == 0
    yield folder
    sabia(folder, "down")


def write_plan(folder: Path, stable: str, canary: str) -> str:
    path = folder / "plan.yaml"
    path.write_text(PLAN.format(stable=stable, canary=canary))
    return str(path)


def until_over(folder: Path, *, seconds: float = 90) -> dict[str, Any]:
    """What `sabia rollout status` says once it is over."""
    deadline = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = facts(folder, "rollout", "status")
        if found["phase"] in ("Promoted", "RolledBack"):
            return found
        assert time.monotonic() < deadline, found
        _POLL.wait(0.2)


def test_a_good_version_is_promoted_though_its_engine_is_killed_and_a_bad_one_is_rolled_back(up: Path) -> None:
    url = facts(up, "status")["gateway"]
    with load_on(url) as seen:
        assert sabia(up, "rollout", "start", write_plan(up, "1.2", "2.0"), "--folder", str(up)).returncode == 0
        (engine,) = [one for one in processes_of(up) if "rollout" in one.cmdline()]
        engine.kill()
        engine.wait()
        done = sabia(up, "rollout", "run", "--folder", str(up))
        assert done.returncode == 0, done.stderr
        good = until_over(up)
        assert sabia(up, "rollout", "start", write_plan(up, "2.0", "2.1"), "--folder", str(up)).returncode == 0
        bad = until_over(up)
    assert (good["phase"], bad["phase"]) == ("Promoted", "RolledBack")
    assert good["weights"] == {"1.2": 0, "2.0": 100}
    assert "canary against" in bad["summary"]
    failed = {key: count for key, count in seen.items() if key[0] != 200}
    assert set(failed) <= {(500, "2.1")}, "only the bad version fails requests"
    for name in (good["name"], bad["name"]):
        assert facts(up, "rollout", "replay", "--name", name)["different"] == []
    shown = sabia(up, "rollout", "status", "--why")
    assert "rolled back" in shown.stdout


def test_a_person_pauses_goes_on_and_aborts(up: Path) -> None:
    sabia(up, "traffic", "1.2=100")
    assert sabia(up, "rollout", "start", write_plan(up, "1.2", "2.0"), "--folder", str(up)).returncode == 0
    again = sabia(up, "rollout", "start", write_plan(up, "1.2", "2.0"), "--folder", str(up))
    assert (again.returncode, "is under way" in again.stderr) == (1, True)
    assert sabia(up, "rollout", "pause").returncode == 0
    assert facts(up, "rollout", "status")["conditions"] == ["Paused"]
    assert sabia(up, "rollout", "resume").returncode == 0
    assert sabia(up, "rollout", "abort").returncode == 0
    assert until_over(up)["phase"] == "RolledBack"
    assert sabia(up, "rollout", "abort").returncode == 1
    watched = sabia(up, "rollout", "watch")
    assert (watched.returncode, "RolledBack" in watched.stdout) == (0, True)


def test_the_plan_says_before_the_start_what_can_be_found(up: Path) -> None:
    path = write_plan(up, "1.2", "2.0")
    found = facts(up, "rollout", "plan", path, "--rate", "100", "--errors", "0.1")
    expected = {row["canary"]: row for row in found["expected"]}
    assert expected["100.000%"]["end"] == "RolledBack"
    assert expected["0.100% (x1)"]["end"] == "Promoted"
    broken = up / "broken.yaml"
    broken.write_text(Path(path).read_text().replace("steps: [5, 25, 50]", "steps: [50, 5]"))
    refused = sabia(up, "rollout", "plan", str(broken), "--rate", "1", "--errors", "0")
    assert (refused.returncode, "steps (line 4)" in refused.stderr) == (2, True)


def test_a_rollout_without_its_stack_ends_its_engine_and_nothing_else(tmp_path: Path) -> None:
    assert sabia(tmp_path, "rollout", "status").returncode == 5


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three servers of the stable version and one of the canary."""
    from sabia.local.lifecycle import train_missing

    serving = Serving(replicas={"1.2": 3}, baselines=["1.2"])
    with Stack(tmp_path_factory.mktemp("replicas"), serving=serving) as stack:
        train_missing(stack, stack.start_store().open())
        stack.start_predictors()
        stack.start_gateway()
        yield stack


def ask(url: str, row: list[float], number: int, **headers: str) -> None:
    for _ in range(number):
        requests.post(f"{url}/v1/models/{MODEL}:predict", json={"instances": [row]}, headers=headers, timeout=10)


def test_every_replica_is_scraped_and_the_gateway_counts_what_the_split_sent(replicas: Stack, dataset: Dataset) -> None:
    gateway, state = gateway_of(replicas.folder, running(replicas.folder)), running(replicas.folder)
    split, source = EnvoySplit.from_state(gateway, state), stack_metrics.pages(gateway, state)
    row = dataset.features[0].tolist()
    before = source.scrape()
    split.set_weights({"1.2": 50, "2.0": 50})
    ask(gateway.url, row, 60)
    ask(gateway.url, row, 10, **{"x-model-version": "2.0"})
    split.set_mirror("2.0")
    split.set_weights({"1.2": 100})
    ask(gateway.url, row, 10)
    split.set_mirror(None)
    after = source.scrape()
    assert {version: len(found) for version, found in after.arms.items()} == {"1.2": 3, "2.0": 1, "1.2-baseline": 1}
    sent = {v: after.gateway[v].requests - before.gateway[v].requests for v in ("1.2", "2.0")}
    counted = {
        v: sum(c.requests for c in after.arms[v].values()) - sum(c.requests for c in before.arms[v].values())
        for v in ("1.2", "2.0")
    }
    assert sum(sent.values()) == 70, "pins and copies are no sample of what clients send"
    assert sent == counted
    assert min(c.requests for c in after.arms["1.2"].values()) > 0


def test_what_never_reached_a_server_is_a_failure_of_its_version_and_trouble(
    tmp_path_factory: pytest.TempPathFactory, dataset: Dataset
) -> None:
    from sabia.local.lifecycle import train_missing

    with Stack(tmp_path_factory.mktemp("gone")) as stack:
        train_missing(stack, stack.start_store().open())
        stack.start_predictors()
        gateway = stack.start_gateway()
        state = running(stack.folder)
        EnvoySplit.from_state(gateway, state).set_weights({"2.0": 100})
        source = stack_metrics.pages(gateway, state)
        before = source.scrape()
        stack.servers[1].replicas[0].stop(seconds=10)
        ask(gateway.url, dataset.features[0].tolist(), 5)
        after = source.scrape()
        assert after.trouble == {"2.0": "it is not ready"}
        assert after.gateway["2.0"].errors - before.gateway["2.0"].errors == 5


def test_a_baseline_is_a_second_copy_that_gets_what_its_weight_says(replicas: Stack, dataset: Dataset) -> None:
    gateway, state = gateway_of(replicas.folder, running(replicas.folder)), running(replicas.folder)
    split, source = EnvoySplit.from_state(gateway, state), stack_metrics.pages(gateway, state)
    before = source.scrape()
    split.set_weights({"1.2-baseline": 50, "2.0": 50})
    ask(gateway.url, dataset.features[0].tolist(), 40)
    split.set_weights({"1.2": 100})
    after = source.scrape()
    sent = {v: after.gateway[v].requests - before.gateway[v].requests for v in ("1.2", "1.2-baseline", "2.0")}
    assert sent["1.2"] == 0
    assert sent["1.2-baseline"] + sent["2.0"] == 40
    assert min(sent["1.2-baseline"], sent["2.0"]) > 0


PROMETHEUS = shutil.which("prometheus")


@pytest.fixture
def prometheus(replicas: Stack, tmp_path: Path) -> Iterator[str]:
    """A real Prometheus that scrapes every predictor each second."""
    if PROMETHEUS is None:
        pytest.skip("there is no prometheus on PATH (Debian's package of that name has it)")
    targets = [url.removeprefix("http://") for server in replicas.servers for url in server.urls]
    configuration = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "predictors", "static_configs": [{"targets": targets}]}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (port,) = free_ports(1)
    command = [PROMETHEUS, f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    server = Process("prometheus", [*command, f"--web.listen-address=127.0.0.1:{port}"], logs=tmp_path)
    url = f"http://127.0.0.1:{port}"
    try:
        server.wait_until(lambda: answers(f"{url}/-/ready"), seconds=30)
        yield url
    finally:
        server.stop(seconds=10)


def test_prometheus_says_what_the_servers_say(replicas: Stack, prometheus: str, dataset: Dataset) -> None:
    gateway, state = gateway_of(replicas.folder, running(replicas.folder)), running(replicas.folder)
    ask(gateway.url, dataset.features[0].tolist(), 30)
    expected = stack_metrics.pages(gateway, state).scrape().arms
    # The baseline's server says that it is version 1.2, as it is.
    expected["1.2"] |= expected.pop("1.2-baseline")
    source = Prometheus(prometheus, MODEL, ["1.2", "2.0"])
    deadline = time.monotonic() + 30
    while True:
        try:
            found = source.scrape().arms
        except NotScraped:
            found = {}
        if {v: sorted(map(str, arm.values())) for v, arm in found.items()} == {
            v: sorted(map(str, arm.values())) for v, arm in expected.items()
        }:
            break
        assert time.monotonic() < deadline, json.dumps(sorted(found))
        _POLL.wait(0.25)


def test_a_prometheus_that_is_down_or_knows_nothing_is_no_verdict(prometheus: str) -> None:
    with pytest.raises(InvalidPlan, match="cannot be distinguished from its original"):
        Prometheus(prometheus, MODEL, ["1.2", "1.2-baseline"])
    with pytest.raises(NotScraped, match="does not answer"):
        Prometheus("http://127.0.0.1:1", MODEL, ["1.2"]).scrape()
    with pytest.raises(NotScraped, match="no sample of other"):
        Prometheus(prometheus, "other", ["1.2"]).scrape()
    with pytest.raises(NotScraped, match="refuses a query"):
        Prometheus(prometheus, 'a"}}{', ["1.2"]).scrape()


def test_the_commands_are_one_program() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sabia", "rollout"], capture_output=True, text=True, check=False, timeout=60
    )
    for verb in ("plan", "start", "run", "status", "watch", "pause", "resume", "promote", "abort", "replay"):
        assert f" {verb} " in done.stdout + done.stderr
