"""A process is known by its number and its start, so that no signal reaches another one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sabia.local import state
from sabia.local.errors import NotRunning, NotStarted
from sabia.local.identity import started_at, terminate
from sabia.local.lifecycle import stop
from sabia.local.state import State


@pytest.fixture
def unrelated() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with a stack."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
    yield process
    process.kill()
    process.wait()


def a_state(pid: int, started: str) -> State:
    return State(
        pid=pid, started=started, endpoint="", key="", secret="", gateway_port=0, admin_port=0, servers=[], routes={}
    )


def test_a_process_is_ended_by_its_number_and_start(unrelated: subprocess.Popen[bytes]) -> None:
    started = started_at(unrelated.pid)
    assert started is not None
    assert terminate(unrelated.pid, started)
    assert unrelated.wait(30) == -15


def test_a_process_that_has_the_number_of_another_is_left_alone(unrelated: subprocess.Popen[bytes]) -> None:
    assert not terminate(unrelated.pid, "some other start")
    assert unrelated.poll() is None


def test_a_process_that_has_ended_has_no_start() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert started_at(process.pid) is None
    assert not terminate(process.pid, "1")


def test_what_a_killed_stack_left_behind_stops_no_other_process(
    unrelated: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """The folder is held, by a stack that starts, and its file still names the number of one that was killed."""
    state.prepare(tmp_path)
    state.write(tmp_path, a_state(unrelated.pid, "some other start"))
    with state.lock(tmp_path), pytest.raises(NotRunning):
        stop(tmp_path)
    assert unrelated.poll() is None


def test_a_file_that_no_release_wrote_is_no_stack(tmp_path: Path) -> None:
    state.prepare(tmp_path)
    (tmp_path / state.STATE_FILE).write_text("{}")
    with state.lock(tmp_path), pytest.raises(NotRunning):
        state.running(tmp_path)


def test_a_stack_is_found_by_what_it_wrote(tmp_path: Path) -> None:
    state.prepare(tmp_path)
    written = a_state(os.getpid(), started_at(os.getpid()) or "")
    state.write(tmp_path, written)
    with state.lock(tmp_path):
        assert state.running(tmp_path) == written


def test_the_folder_of_a_stack_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    folder.chmod(0o755)
    state.prepare(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder of another user")
def test_the_folder_of_another_user_is_refused_in_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "stack"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(NotStarted, match="belongs to another user"):
        state.prepare(folder)
