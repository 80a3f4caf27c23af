"""`sabia demo`: everything once, on real servers, checked at every step."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from sabia.demo.checks import Checks
from sabia.demo.errors import DemoFailed, DemoStopped
from sabia.demo.steps import BROKEN, FAULTS, STEPS, Demo
from sabia.local.composition import Serving
from sabia.local.signals import Stopped, stop_on_sigterm
from sabia.local.stack import Stack
from sabia.terminal import log, print_line, print_table

SUMMARY_FILE = "summary.json"


def run(folder: Path, requests: int) -> None:
    """Run the demo, with `requests` for each traffic phase, and write its summary into the folder.

    Raises:
        DemoFailed: a check did not hold.
        DemoStopped: a signal arrived.
    """
    stop_on_sigterm()
    checks = Checks()
    started = time.monotonic()
    try:
        with _empty_stack(folder) as stack:
            demo = Demo(stack, requests, checks)
            for step in STEPS:
                step(demo)
            children = [process.pid for process in stack.processes]
        checks.add("every server was stopped", not any(map(_exists, children)), f"{len(children)} processes ended")
    except (Stopped, KeyboardInterrupt):
        raise DemoStopped from None
    seconds = round(time.monotonic() - started, 1)
    summary = demo.summary | {"seconds": seconds, "checks": checks.results, "held": checks.held}
    path = folder / SUMMARY_FILE
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    rows = [[check["check"], "yes" if check["held"] else "NO", check["measured"]] for check in checks.results]
    print_table(["check", "held", "measured"], rows)
    print_line(f"{seconds} s; everything is in {path}")
    if not checks.held:
        raise DemoFailed


@contextmanager
def _empty_stack(folder: Path) -> Iterator[Stack]:
    """A stack with an empty store, which serves one broken version too."""
    serving = Serving(extra=[BROKEN], faults={BROKEN: FAULTS})
    with Stack(folder, serving=serving, log=log) as stack:
        shutil.rmtree(stack.folder / "objects", ignore_errors=True)
        (stack.folder / SUMMARY_FILE).unlink(missing_ok=True)
        yield stack


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
