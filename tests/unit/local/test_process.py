"""Children: started, awaited, and never left behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sabia.local.errors import ProcessFailed
from sabia.local.process import Process, free_ports, remembered_ports

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def ends_within(pid: int, seconds: float) -> bool:
    """Whether a process that is not our child ends in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def test_a_child_that_ends_before_it_is_ready_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    child = Process("toy", [sys.executable, "-c", "import sys; sys.exit('it broke')"], logs=tmp_path)
    with pytest.raises(ProcessFailed, match=r"toy ended with status 1\. Its log ends: it broke"):
        child.wait_until(lambda: False, seconds=30)


def test_a_child_that_is_never_ready_is_reported(tmp_path: Path) -> None:
    child = Process("toy", SLEEP, logs=tmp_path)
    try:
        with pytest.raises(ProcessFailed, match="was not ready after 0"):
            child.wait_until(lambda: False, seconds=0)
    finally:
        child.stop(seconds=5)
    assert child.exit_code == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    child = Process("toy", [sys.executable, "-c", stubborn], logs=tmp_path)
    child.wait_until(lambda: child.last_lines() == "deaf", seconds=30)
    child.stop(seconds=0.1)
    assert child.exit_code == -signal.SIGKILL


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_child_dies_with_its_parent_however_that_ends(end: signal.Signals, tmp_path: Path) -> None:
    parent_code = (
        "import sys, time; from pathlib import Path; from sabia.local.process import Process\n"
        f"child = Process('toy', {SLEEP!r}, logs=Path({str(tmp_path)!r}))\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.send_signal(end)
    parent.wait(10)
    parent.stdout.close()
    assert ends_within(child, 10)


def test_a_child_whose_parent_has_ended_already_does_not_start(tmp_path: Path) -> None:
    leash = Path(__file__).parents[3] / "src" / "sabia" / "local" / "leash.py"
    touched = tmp_path / "touched"
    command = [sys.executable, "-I", "-S", str(leash), "1", sys.executable, "-c", f"open({str(touched)!r}, 'w')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (1, "the parent has ended")
    assert not touched.exists()


def test_a_child_does_not_inherit_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    child = Process("toy", [sys.executable, "-c", "import os; print(sorted(os.environ))"], logs=tmp_path)
    assert child.wait(seconds=30) == 0
    assert "AWS_SECRET_ACCESS_KEY" not in child.last_lines()


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_ports_are_remembered_while_they_are_free(tmp_path: Path) -> None:
    memory = tmp_path / "ports"
    first = remembered_ports(3, memory)
    assert remembered_ports(3, memory) == first
    with socket.create_server(("127.0.0.1", first[1])):
        assert remembered_ports(3, memory) != first
