"""Several processes on one port: a parent that loads the version once, forks them, and replaces what dies or hangs.

The parent opens the socket and the model; the workers share both as the system shares the memory of forked processes,
so a large model is in memory once and a new worker answers within milliseconds. Forking is safe only from a process
with one thread, and the object-store client starts some: so the artifact is read in a process of its own, which sends
it back and ends.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import pickle
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import NoReturn

from prometheus_client import CollectorRegistry

from sabia.registry.verification import Artifact
from sabia.serving.errors import LoadFailed
from sabia.serving.inference.loading import read
from sabia.serving.inference.model import Model
from sabia.serving.process.server import LOG_SECONDS, build_app, listen, run, tell
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import DIED, STUCK, VersionMetrics

logger = logging.getLogger("sabia.predictor")

_TICK_SECONDS = 0.5
# A worker that dies at once would die again at once.
_SHORT_LIFE_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def serve(settings: Settings) -> None:
    """Load the version and serve it from `workers` processes until SIGTERM or SIGINT.

    Raises:
        LoadFailed: it cannot be served; nothing was listening.
    """
    model = Model(_read_apart(settings))
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads != 1:
        raise LoadFailed(f"{threads} threads run where workers are to be forked; only one may.")
    registry = CollectorRegistry()
    metrics = VersionMetrics(model, registry, settings.workers)
    metrics.use_slot(settings.workers)
    with listen(settings) as listener:
        _Supervisor(model, settings, listener, metrics, registry).run()


def _read_apart(settings: Settings) -> Artifact:
    """The artifact, read in a process of its own."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        with os.fdopen(theirs, "wb") as pipe:
            try:
                found: Artifact | str = read(settings)
            except LoadFailed as error:
                found = str(error).removeprefix("Not serving: ")
            pickle.dump(found, pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise LoadFailed("the process that was to read the artifact died.")
    # From our own child, over a pipe that nobody else has.
    artifact: Artifact | str = pickle.loads(data)  # noqa: S301
    if isinstance(artifact, str):
        raise LoadFailed(artifact)
    return artifact


@dataclass(slots=True)
class _Worker:
    pid: int
    since: float
    heartbeats: int = 0
    silent_ticks: int = 0


class _Supervisor:
    """The parent: it starts workers, watches them, and passes on what it is told."""

    def __init__(
        self,
        model: Model,
        settings: Settings,
        listener: socket.socket,
        metrics: VersionMetrics,
        registry: CollectorRegistry,
    ) -> None:
        self._model, self._settings, self._listener = model, settings, listener
        self._metrics, self._registry = metrics, registry
        self._workers: dict[int, _Worker] = {}
        self._missing: dict[int, float] = {}  # numbers without a worker, and when they get one
        # Ticks that were counted, not time that has passed: a machine that slept has not heard its workers either.
        self._patience = max(2, round(settings.stuck_seconds / _TICK_SECONDS))

    def run(self) -> None:
        """Until SIGTERM or SIGINT."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        gc.collect()
        gc.freeze()  # the collector would write to what the workers share, and so end the sharing
        for number in range(self._settings.workers):
            self._start(number)
        tell(self._model, self._settings, self._listener)
        while True:
            arrived = signal.sigtimedwait(_SIGNALS, _TICK_SECONDS)
            if arrived is not None and arrived.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
            self._reap()
            if arrived is None:
                self._watch()
            for number in [number for number, when in self._missing.items() if when <= monotonic()]:
                self._start(number)
        self._stop()

    def _start(self, number: int) -> None:
        self._missing.pop(number, None)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._run_worker(number, parent)
        self._workers[number] = _Worker(pid, monotonic(), self._metrics.heartbeats(number))

    def _run_worker(self, number: int, parent: int) -> NoReturn:
        status = 1
        try:
            # A worker whose parent is gone has nobody who replaces it, and would keep the port.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)
            self._metrics.use_slot(number)
            app = build_app(self._model, self._settings, self._registry, self._metrics)
            run(app, self._settings, self._listener, on_ready=_unblock_signals)
            status = 0
        except LoadFailed as error:
            logger.error("%s", error)  # noqa: TRY400  the sentence says it; where it was raised does not matter
        except BaseException:  # noqa: BLE001  nothing of the parent's may run in the worker
            traceback.print_exc()
        finally:
            logging.shutdown()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Take note of workers that have ended, and plan who follows them."""
        for number, worker in list(self._workers.items()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            stuck = worker.silent_ticks >= self._patience
            logger.warning("worker %d %s; another takes its place", number, "hung" if stuck else _exit_reason(status))
            del self._workers[number]
            self._metrics.reset_slot(number)
            self._metrics.count_restart(STUCK if stuck else DIED)
            lived = monotonic() - worker.since
            self._missing[number] = monotonic() + (_SHORT_LIFE_SECONDS if lived < _SHORT_LIFE_SECONDS else 0)

    def _watch(self) -> None:
        """End a worker that has given no sign of life for too long."""
        for number, worker in self._workers.items():
            heartbeats = self._metrics.heartbeats(number)
            worker.silent_ticks = 0 if heartbeats != worker.heartbeats else worker.silent_ticks + 1
            worker.heartbeats = heartbeats
            if worker.silent_ticks >= self._patience:
                os.kill(worker.pid, signal.SIGKILL)

    def _stop(self) -> None:
        """Ask all to leave; end those that have not left when their time is up."""
        logger.info("stopping %d workers", len(self._workers))
        for worker in self._workers.values():
            os.kill(worker.pid, signal.SIGTERM)
        deadline = monotonic() + self._settings.drain_seconds + self._settings.grace_seconds + LOG_SECONDS + 1
        while self._workers:
            left = deadline - monotonic()
            if left <= 0:
                for worker in self._workers.values():
                    os.kill(worker.pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, max(0.01, min(left, _TICK_SECONDS)))
            for number, worker in list(self._workers.items()):
                if os.waitpid(worker.pid, os.WNOHANG)[0]:
                    del self._workers[number]


def _unblock_signals() -> None:
    """Let the signals through that the parent holds back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _exit_reason(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
