"""Commands that start and stop the platform on this machine: up, down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from sabia.cli.context import FOLDER, FolderOption
from sabia.cli.deployments import check_faults, print_stack
from sabia.cli.errors import CliError
from sabia.cli.output import console, say
from sabia.contract.layout import Version
from sabia.contract.names import published
from sabia.local import stack as stacks
from sabia.local.errors import AlreadyRunning, NotRunning, ProcessFailed
from sabia.local.stack import Serving, Stack
from sabia.registry import catalogue
from sabia.store.objects import Store
from sabia.training import job

_UP_SECONDS = 180.0
_DOWN_SECONDS = 40.0
_POLL = 0.1


class Stopped(BaseException):
    """SIGTERM arrived: leave every context in order."""


def stop_on_sigterm() -> None:
    """Let SIGTERM unwind the stack of contexts, as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        del number, frame
        raise Stopped

    signal.signal(signal.SIGTERM, stop)


Pairs = list[str] | None


def up(
    folder: FolderOption = FOLDER,
    serve: Annotated[Pairs, typer.Option("--serve", help="A version that no manifest names, too; repeatable.")] = None,
    replicas: Annotated[Pairs, typer.Option(metavar="VERSION=N", help="Servers of a version; repeatable.")] = None,
    faults: Annotated[
        Pairs,
        typer.Option(metavar="VERSION=FAULTS", help="What goes wrong on purpose, such as 2.1=errors=0.05; repeatable."),
    ] = None,
    baseline: Annotated[
        Pairs, typer.Option("--baseline", help="A version that gets a second copy; repeatable.")
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop with Ctrl-C.")] = False,
) -> None:
    """Start the platform on this machine: store, predictors, gateway. Trains first when a version is missing."""
    serving = _serving(serve or [], replicas or [], faults or [], baseline or [])
    if foreground:
        hold(folder, serving)
        return
    try:
        stacks.running(folder)
    except NotRunning:
        again = [("--serve", serve), ("--replicas", replicas), ("--faults", faults), ("--baseline", baseline)]
        _start_in_background(
            folder, [word for name, values in again for value in values or [] for word in (name, value)]
        )
    else:
        raise AlreadyRunning
    print_stack(folder)


def _serving(serve: list[str], replicas: list[str], faults: list[str], baseline: list[str]) -> Serving:
    numbers = _pairs(replicas, "VERSION=N")
    if not all(number.isdecimal() and int(number) > 0 for number in numbers.values()):
        raise CliError("--replicas takes VERSION=N, with N at least 1.", 2)
    wrong = _pairs(faults, "VERSION=FAULTS")
    for text in wrong.values():
        check_faults(text)
    extra = [str(Version.parse(version)) for version in serve]
    copies = [str(Version.parse(version)) for version in baseline]
    return Serving(extra, {version: int(number) for version, number in numbers.items()}, wrong, copies)


def _pairs(texts: list[str], form: str) -> dict[str, str]:
    found = {}
    for text in texts:
        version, separator, value = text.partition("=")
        if not separator:
            raise CliError(f"{text!r} is not {form}.", 2)
        found[str(Version.parse(version))] = value
    return found


def hold(folder: Path, serving: Serving) -> None:
    """Start everything and hold it until SIGTERM or Ctrl-C."""
    stop_on_sigterm()
    try:
        with Stack(folder, serving=serving, say=say) as stack:
            train_missing(stack, stack.start_store().open())
            stack.start_predictors()
            gateway = stack.start_gateway()
            say(f"ready: {gateway.url}")
            _watch(stack)
    except (Stopped, KeyboardInterrupt):
        say("stopped")


def train_missing(stack: Stack, store: Store) -> None:
    """Run the built-in recipe when the store lacks a version that the route names."""
    wanted = {Version.parse(published(spec.version)) for spec in stack.specs.values()}
    if not wanted <= set(catalogue.versions(store, stack.model)):
        say("the store lacks a version that the route names: training the recipe")
        job.train(store, log=say)


def _watch(stack: Stack) -> None:
    """Wait until a signal, or until a server ends by itself: a platform with a hole in it must not look whole."""
    while True:
        for process in stack.processes:
            if process.exit_code is not None:
                raise ProcessFailed(process.name, f"ended with status {process.exit_code}", process.last_lines())
        time.sleep(_POLL)


def _start_in_background(folder: Path, options: list[str]) -> None:
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    log = folder / "up.log"
    with log.open("wb") as file:
        command = [sys.executable, "-P", "-m", "sabia", "up", "--foreground", "--folder", str(folder), *options]
        child = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
    deadline = time.monotonic() + _UP_SECONDS
    while not (folder / stacks.STATE_FILE).exists():
        if child.poll() is not None:
            raise CliError(f"The stack did not start: {_last_line(log)}")
        if time.monotonic() > deadline:
            child.terminate()
            raise CliError(f"The stack was not ready after {_UP_SECONDS:g} s.")
        time.sleep(_POLL)


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def down(folder: FolderOption = FOLDER) -> None:
    """Stop the platform on this machine; its objects stay for the next `sabia up`."""
    state = stacks.running(folder)
    os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + _DOWN_SECONDS
    while stacks.is_held(folder):
        if time.monotonic() > deadline:
            raise CliError(f"The stack did not stop within {_DOWN_SECONDS:g} s.")
        time.sleep(_POLL)
    console.print("stopped")
