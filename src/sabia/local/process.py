"""One server as a child process: its log in a file, its readiness awaited, its life tied to its parent's.

Children must be started by the main thread: the signal that ends them with their parent is tied to the thread that
started them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import requests

from sabia.local.errors import ProcessFailed

_LEASH = Path(__file__).with_name("leash.py")
_POLL = 0.05
_LAST_LINES = 3


def free_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1. All are bound until all are chosen, so they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


def remembered_ports(count: int, memory: Path) -> list[int]:
    """The ports written in `memory` if all of them are free, else free ones, written there for the next time.

    A server that stores its own address beside its data should come back under it.
    """
    if memory.exists():
        ports = [int(line) for line in memory.read_text().split()]
        if len(ports) == count and all(_is_free(port) for port in ports):
            return ports
    ports = free_ports(count)
    memory.write_text("\n".join(map(str, ports)) + "\n")
    return ports


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: this process's, without cloud credentials and Sabiá's settings, plus `extra`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_", "SABIA_"))}
    return inherited | dict(extra)


class Process:
    """A child process.

    Attributes:
        name: what messages and the log file call it.
        pid: its process id.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, logs: Path, extra: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._log = logs / f"{name}.log"
        leashed = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *command]
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(  # noqa: S603
                leashed, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(extra or {})
            )
        self.pid = self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit status, or None while it runs."""
        return self._child.poll()

    def wait_until(self, ready: Callable[[], bool], *, seconds: float) -> None:
        """Wait until `ready` returns True.

        Raises:
            ProcessFailed: the process ended, or was not ready in time.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            if self.exit_code is not None:
                raise ProcessFailed(self.name, f"ended with status {self.exit_code}", self.last_lines())
            if time.monotonic() > deadline:
                raise ProcessFailed(self.name, f"was not ready after {seconds:g} s", self.last_lines())
            time.sleep(_POLL)

    def wait(self, *, seconds: float) -> int:
        """Wait until it ends, and return its status.

        Raises:
            ProcessFailed: it did not end in time; it is killed.
        """
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired as error:
            self._child.kill()
            self._child.wait()
            raise ProcessFailed(self.name, f"did not end within {seconds:g} s", self.last_lines()) from error

    def ask_to_stop(self) -> None:
        """Send SIGTERM, if it runs."""
        if self.exit_code is None:
            self._child.send_signal(signal.SIGTERM)

    def stop(self, *, seconds: float) -> None:
        """Send SIGTERM, and kill it if it does not end within `seconds`."""
        self.ask_to_stop()
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def last_lines(self) -> str:
        """The last lines of its log, joined into one."""
        lines = self._log.read_text(errors="replace").splitlines()
        return " | ".join(line.strip() for line in lines[-_LAST_LINES:] if line.strip())


def answers(url: str, *, seconds: float = 1.0) -> bool:
    """Whether GET of `url` returns a status under 400."""
    try:
        return requests.get(url, timeout=seconds).ok
    except requests.RequestException:
        return False
