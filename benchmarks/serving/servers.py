"""A contender as processes: started on one core, watched, and gone at the end with all that it started."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep

import psutil

from benchmarks.serving.contenders import Call, Contender, interpreter
from benchmarks.serving.estimators import Estimator

ROOT = Path(__file__).parents[2]
_START_SECONDS = 120
# One core for the server and its children, one for the load generator.
_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, CLIENT_CORE = _CORES[0], _CORES[-1]


@dataclass(frozen=True, slots=True)
class Server:
    """A running contender.

    Attributes:
        cold_start: seconds from exec to the first answered prediction.
    """

    process: psutil.Process
    port: int
    cold_start: float

    def tree(self) -> list[psutil.Process]:
        """The server and its children."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.process, *self.process.children(recursive=True)]
        return []

    def cpu_seconds(self) -> float:
        """The CPU time that all of them have used."""
        total = 0.0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory(self) -> int:
        """The memory of all of them in bytes, shared pages counted once (PSS)."""
        total = 0
        for process in self.tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return total


def free_port() -> int:
    """A free port; the next two are free as well."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                for offset in (1, 2):
                    stack.enter_context(socket.create_server(("127.0.0.1", port + offset)))
                return port


@contextlib.contextmanager
def started(
    contender: Contender,
    model: Estimator,
    folder: Path,
    *,
    cores: tuple[int, ...] = (SERVER_CORE,),
    importable: Path | None = None,
) -> Iterator[Server]:
    """A contender that has answered once; it can import what is in `importable`."""
    python, port = interpreter(contender, folder), free_port()
    # The threads of numeric libraries would fight for the one core; all contenders do better without them.
    # What is measured is the tree that this file is in, whichever one is installed.
    path = os.pathsep.join(map(str, (ROOT / "src", ROOT, *([importable] if importable else []))))
    variables = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path}
    log = (folder / f"{contender.key}.log").open("wb")
    began = perf_counter()
    with log:
        child = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cores)), *contender.command(python, model, port)],
            env=variables | contender.variables(model),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    process = psutil.Process(child.pid)
    try:
        _ask_until_answered(contender.call(1), port, child, began + _START_SECONDS)
        yield Server(process, port, perf_counter() - began)
    finally:
        _end(process)
        child.wait()


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this process on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def ask(call: Call, port: int, seconds: float = 30) -> tuple[int, bytes]:
    """The status and body of one response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("POST", call.path, call.body, call.headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _ask_until_answered(call: Call, port: int, child: subprocess.Popen[bytes], deadline: float) -> None:
    while perf_counter() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if ask(call, port)[0] == 200:
                return
        if child.poll() is not None:
            raise RuntimeError(f"a contender ended with {child.returncode} before it answered; its log says why")
        sleep(0.002)
    raise RuntimeError("a contender did not answer in time; its log says why")


def _end(process: psutil.Process) -> None:
    """End it and everything that it started, also what has left its group."""
    with contextlib.suppress(psutil.NoSuchProcess):
        everything = [process, *process.children(recursive=True)]
        for one in everything:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.terminate()
        _, left = psutil.wait_procs(everything, timeout=5)
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=5)


def calls_a_second(call: Callable[[], object], seconds: float) -> float:
    """How often a second a function can be called in a loop, on the core that servers have."""
    with on_core(SERVER_CORE):
        began, calls = perf_counter(), 0
        while perf_counter() - began < seconds:
            call()
            calls += 1
        return calls / (perf_counter() - began)
