"""Several processes on one port: a supervisor loads the version, forks workers, and replaces those that die or hang.

The supervisor opens the socket and the model; the workers share both as the system shares the memory of forked
processes, so a large model is in memory once and a new worker serves within milliseconds. Forking is safe only from a
process with one thread, and the object-store client starts some: so the artifact is read in a process of its own, which
sends it back and ends.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import os
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
from sabia.serving.inference.loading import artifact_from, dump_artifact, open_model
from sabia.serving.inference.typed import Served
from sabia.serving.process.server import LOG_SECONDS, build_app, listen, log_address, run
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import DIED, STUCK, VersionMetrics

logger = logging.getLogger("sabia.predictor")

_TICK_SECONDS = 0.5
# A worker that dies at once would die again at once: its replacement waits.
_SHORT_LIFE_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD}


def serve(settings: Settings) -> None:
    """Load the version and serve it from `workers` processes until SIGTERM or SIGINT.

    Raises:
        LoadFailed: it cannot be served; nothing was listening.
    """
    model = open_model(_read_apart(settings))
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
            dump_artifact(settings, pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return artifact_from(data)


@dataclass(slots=True)
class _Worker:
    pid: int
    since: float
    heartbeats: int = 0
    missed_beats: int = 0


class _Supervisor:
    """The parent process: starts workers, watches their heartbeats, replaces them, and passes signals on."""

    def __init__(
        self,
        model: Served,
        settings: Settings,
        listener: socket.socket,
        metrics: VersionMetrics,
        registry: CollectorRegistry,
    ) -> None:
        self._model, self._settings, self._listener = model, settings, listener
        self._metrics, self._registry = metrics, registry
        self._workers: dict[int, _Worker] = {}
        self._vacant: dict[int, float] = {}  # numbers without a worker, and when they get one
        # In ticks, not seconds: on a machine that was suspended, the workers were too.
        self._patience = max(2, round(settings.stuck_seconds / _TICK_SECONDS))

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        gc.collect()
        gc.freeze()  # the collector would write to the shared pages, and so copy them
        for slot in range(self._settings.workers):
            self._start(slot)
        log_address(f"{self._model.name} {self._model.version}", self._settings, self._listener)
        while True:
            arrived = signal.sigtimedwait(_SIGNALS, _TICK_SECONDS)
            if arrived is not None and arrived.si_signo in (signal.SIGTERM, signal.SIGINT):
                break
            self._reap()
            if arrived is None:
                self._check_heartbeats()
            for slot in [slot for slot, when in self._vacant.items() if when <= monotonic()]:
                self._start(slot)
        self._stop()

    def _start(self, slot: int) -> None:
        self._vacant.pop(slot, None)
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._run_worker(slot, parent)
        self._workers[slot] = _Worker(pid, monotonic(), self._metrics.heartbeats(slot))

    def _run_worker(self, slot: int, parent: int) -> NoReturn:
        status = 1
        try:
            # A worker without a supervisor would never be replaced, and would keep the port.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)
            self._metrics.use_slot(slot)
            app = build_app(self._model, self._settings, self._registry, self._metrics)
            run(app, self._settings, self._listener, on_ready=_unblock_signals)
            status = 0
        except LoadFailed as error:
            logger.error("%s", error)  # noqa: TRY400  the message suffices
        except BaseException:  # noqa: BLE001  nothing of the parent's may run in the worker
            traceback.print_exc()
        finally:
            logging.shutdown()
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        """Reap exited workers and schedule their replacements."""
        for slot, worker in list(self._workers.items()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            stuck = worker.missed_beats >= self._patience
            logger.warning("worker %d %s; another takes its place", slot, "hung" if stuck else _exit_reason(status))
            del self._workers[slot]
            self._metrics.reset_slot(slot)
            self._metrics.count_restart(STUCK if stuck else DIED)
            lived = monotonic() - worker.since
            self._vacant[slot] = monotonic() + (_SHORT_LIFE_SECONDS if lived < _SHORT_LIFE_SECONDS else 0)

    def _check_heartbeats(self) -> None:
        """Kill workers without a heartbeat for too long."""
        for slot, worker in self._workers.items():
            heartbeats = self._metrics.heartbeats(slot)
            worker.missed_beats = 0 if heartbeats != worker.heartbeats else worker.missed_beats + 1
            worker.heartbeats = heartbeats
            if worker.missed_beats >= self._patience:
                os.kill(worker.pid, signal.SIGKILL)

    def _stop(self) -> None:
        """Terminate all workers; kill those that are still running when their time is up."""
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
            for slot, worker in list(self._workers.items()):
                if os.waitpid(worker.pid, os.WNOHANG)[0]:
                    del self._workers[slot]


def _unblock_signals() -> None:
    """Let the signals through that the supervisor blocks."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _exit_reason(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
