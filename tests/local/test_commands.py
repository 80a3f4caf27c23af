"""`sabia up` to `sabia down`, and the demo killed wherever it is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from sabia.local.state import is_held

SABIA = [sys.executable, "-P", "-m", "sabia"]
# Nothing listens on the discard port: whatever is sent to this proxy fails.
DEAD = "http://127.0.0.1:9"
ROW = json.dumps([[1.0] * 30])


def sabia(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the stack in `folder`."""
    # As in a company: a proxy is set for every process. This machine's own addresses are not behind it.
    environment = os.environ | {"SABIA_FOLDER": str(folder), "HTTP_PROXY": DEAD, "http_proxy": DEAD, "ALL_PROXY": DEAD}
    return subprocess.run(
        [*SABIA, *arguments], capture_output=True, text=True, check=False, timeout=180, env=environment
    )


def facts(folder: Path, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = sabia(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Processes whose command line names the folder: everything that a stack starts does."""
    everything = psutil.process_iter(["cmdline"])
    return [one for one in everything if any(str(folder) in part for part in one.info["cmdline"] or [])]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Path]:
    """The folder of a stack that was started by `sabia up`."""
    done = sabia(tmp_path, "up")
    assert done.returncode == 0, done.stderr
    yield tmp_path
    sabia(tmp_path, "down")


def test_up_serves_what_the_manifests_say_until_down(up: Path) -> None:
    status = facts(up, "status")
    assert [(row["version"], row["weight"], row["ready"]) for row in status["versions"]] == [
        ("1.2", 90, True),
        ("2.0", 10, True),
    ]
    assert [row["version"] for row in facts(up, "versions")] == ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]
    assert facts(up, "predict", ROW, "--version", "2.0")["version"] == "2.0"
    assert facts(up, "traffic", "1.2=0", "2.0=100")["weights"] == {"1.2": 0, "2.0": 100}
    assert facts(up, "traffic", "--mirror", "1.2") == {"weights": {"1.2": 0, "2.0": 100}, "mirror": "1.2"}
    assert (
        facts(up, "traffic", "--no-mirror")
        == facts(up, "traffic")
        == {"weights": {"1.2": 0, "2.0": 100}, "mirror": None}
    )
    assert facts(up, "predict", ROW)["version"] == "2.0"
    bad = sabia(up, "predict", "[[1]]")
    assert (bad.returncode, "instances[0] has 1 values" in bad.stderr) == (1, True)
    assert sabia(up, "traffic", "9.9=1").returncode == 3
    assert sabia(up, "traffic", "nonsense").returncode == 2
    again = sabia(up, "up")
    assert (again.returncode, "runs in this folder already" in again.stderr) == (1, True)
    assert sabia(up, "down").returncode == 0
    assert not is_held(up)
    assert sabia(up, "status").returncode == 5
    second = sabia(up, "up")
    assert second.returncode == 0
    assert "training" not in (up / "up.log").read_text(), "the objects stayed"


def test_a_stack_whose_holder_is_killed_leaves_no_process_and_the_next_one_starts(up: Path) -> None:
    killed = facts(up, "status")["pid"]
    os.kill(killed, signal.SIGKILL)
    _, alive = psutil.wait_procs(processes_of(up), timeout=20)
    assert alive == []
    assert sabia(up, "status").returncode == 5
    assert sabia(up, "up").returncode == 0
    assert facts(up, "status")["pid"] != killed, "the next stack is ready when `up` returns"


def test_a_stack_that_loses_a_predictor_ends_and_says_so(up: Path) -> None:
    """A platform with a hole in it must not look whole."""
    status = facts(up, "status")
    holder = psutil.Process(status["pid"])
    os.kill(status["versions"][0]["pid"], signal.SIGKILL)
    holder.wait(30)
    assert "ended with status -9" in (up / "up.log").read_text()
    _, alive = psutil.wait_procs(processes_of(up), timeout=20)
    assert alive == []


@pytest.mark.parametrize(
    ("act", "moment", "number"),
    [
        (1, "object store", signal.SIGKILL),
        (1, "serving breast-cancer 1.2", signal.SIGKILL),
        (1, "serving breast-cancer 2.0", signal.SIGTERM),
        (1, "gateway", signal.SIGKILL),
        (1, "gateway", signal.SIGINT),
        (2, "stable requests failed", signal.SIGTERM),
    ],
)
def test_a_demo_that_is_killed_anywhere_leaves_no_process(
    tmp_path: Path, act: int, moment: str, number: signal.Signals
) -> None:
    command = [*SABIA, "demo", "--folder", str(tmp_path), "--requests", "100", "--act", str(act)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        assert any(moment in line for line in demo.stderr)
        started = processes_of(tmp_path)
        demo.send_signal(number)
        demo.wait(30)
    _, alive = psutil.wait_procs(started, timeout=20)
    assert [process for process in [*alive, *processes_of(tmp_path)] if process.is_running()] == []


def test_the_demo_passes_every_check_also_after_it_was_killed(tmp_path: Path) -> None:
    # `make demo`, which the gate runs, checks the second act.
    command = [*SABIA, "demo", "--folder", str(tmp_path), "--requests", "200", "--act", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as killed:
        assert killed.stderr is not None
        assert any("gateway" in line for line in killed.stderr)
        killed.kill()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["held"] is True
    assert all(check["held"] for check in summary["checks"])
    assert [sum(phase["counts"].values()) for phase in summary["phases"]] == [200] * 4
    assert processes_of(tmp_path) == []
