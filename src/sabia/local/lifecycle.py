"""`sabia up` and `sabia down`: a stack that is held by a process of its own, in the foreground or the background."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sabia.contract import names
from sabia.kubernetes import manifests
from sabia.kubernetes.programs import installed
from sabia.local import state as states
from sabia.local.composition import Serving
from sabia.local.errors import AlreadyRunning, NotPublished, NotRunning, NotStarted, NotStopped, ProcessFailed
from sabia.local.identity import terminate
from sabia.local.signals import Stopped, stop_on_sigterm
from sabia.local.stack import Stack
from sabia.registry import catalogue
from sabia.store.objects import Store

Log = Callable[[str], None]

LOG_FILE = "up.log"
# The model of the recipe that is part of the package.
BUILT_IN = "breast-cancer"
_PROGRAMS = ("weed", "envoy", "kubectl")
_UP_SECONDS = 180.0
_DOWN_SECONDS = 40.0
_POLL = 0.1


def hold(
    folder: Path, serving: Serving, *, root: Path | None = manifests.ROOT, store_only: bool = False, log: Log
) -> None:
    """Start a stack, or its store alone, and hold it until SIGTERM or Ctrl-C.

    Raises:
        AlreadyRunning: another stack holds the folder.
        ManifestProblem: the manifests in `root` cannot be served.
        NotPublished: the store lacks a version that is to be served.
        ProcessFailed: a server did not start, or ended; the others are stopped.
    """
    _require_programs()
    stop_on_sigterm()
    # Whatever the stack and its servers write is for this user alone.
    os.umask(0o077)
    try:
        with Stack(folder, root=None if store_only else root, serving=serving, log=log) as stack:
            store = stack.start_store().open()
            if store_only:
                stack.write_state()
                log("ready: the store")
            else:
                train_missing(stack, store, log=log)
                stack.start_predictors()
                log(f"ready: {stack.start_gateway().url}")
            _watch(stack)
    except (Stopped, KeyboardInterrupt):
        log("stopped")


def train_missing(stack: Stack, store: Store, *, log: Log = lambda _: None) -> None:
    """Run the built-in recipe if the store lacks a version of its model that the package's own manifests serve.

    Raises:
        NotPublished: the store lacks a version that is to be served; nothing is trained for other manifests.
    """
    missing = _missing(stack, store)
    if BUILT_IN in missing and stack.root == manifests.ROOT:
        from sabia.training import job  # noqa: PLC0415  two seconds that other commands need not spend

        log("the store lacks a version that the route names: training the recipe")
        job.train(store, log=log)
        missing = _missing(stack, store)
    for model, versions in missing.items():
        raise NotPublished(model, versions)


def _missing(stack: Stack, store: Store) -> dict[str, list[str]]:
    """The versions that are to be served and that the store lacks, by model."""
    missing: dict[str, list[str]] = {}
    for model in stack.routes:
        served = {names.published(spec.version) for spec in stack.specs.values() if spec.model == model}
        lacking = served - set(map(str, catalogue.versions(store, model)))
        if lacking:
            missing[model] = sorted(lacking)
    return missing


def _watch(stack: Stack) -> None:
    """Wait for a signal, or for the end of any server: a stack that lost one must not look complete."""
    while True:
        for process in stack.processes:
            if process.exit_code is not None:
                raise ProcessFailed(process.name, f"ended with status {process.exit_code}", process.last_lines())
        time.sleep(_POLL)


def start(folder: Path, options: Sequence[str]) -> None:
    """Start `sabia up --foreground` with these options as a background process, and wait until the stack is ready.

    Raises:
        AlreadyRunning: a stack holds the folder.
        NotInstalled: the extra `local` is not installed; nothing is written.
        NotStarted: the stack is not ready in time, or its process ended.
    """
    _require_programs()
    if _is_running(folder):
        raise AlreadyRunning
    states.prepare(folder)
    path = folder / LOG_FILE
    with path.open("wb") as file:
        command = [sys.executable, "-P", "-m", "sabia", "up", "--foreground", "--folder", str(folder), *options]
        child = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    deadline = time.monotonic() + _UP_SECONDS
    while not _is_held_by(folder, child.pid):
        if child.poll() is not None:
            raise NotStarted(_last_line(path))
        if time.monotonic() > deadline:
            child.terminate()
            raise NotStarted(f"it was not ready after {_UP_SECONDS:g} s")
        time.sleep(_POLL)


def stop(folder: Path) -> None:
    """Stop the stack that runs in a folder, and return once all of its processes have ended. The objects stay.

    Raises:
        NotRunning: no stack runs there.
        NotStopped: it did not end in time.
    """
    found = states.running(folder)
    if not terminate(found.pid, found.started):
        raise NotRunning
    deadline = time.monotonic() + _DOWN_SECONDS
    while states.is_held(folder):
        if time.monotonic() > deadline:
            raise NotStopped(_DOWN_SECONDS)
        time.sleep(_POLL)


def _require_programs() -> None:
    """Check that every program of a stack is installed, before a folder is made for it.

    Raises:
        NotInstalled: one is not.
    """
    for program in _PROGRAMS:
        installed(program, extra="local")


def _is_running(folder: Path) -> bool:
    try:
        states.running(folder)
    except NotRunning:
        return False
    return True


def _is_held_by(folder: Path, pid: int) -> bool:
    try:
        return states.running(folder).pid == pid
    except NotRunning:
        return False


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "its log is empty"
