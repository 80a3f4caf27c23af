"""The gain of a second worker, on a machine whose other core runs the load generator.

Two workers on two free cores cannot be had where the load generator takes a part of one. So every process of the server
gets a share of a core that is small enough to leave the generator its own, by a control group with a quota of CPU time.
One worker with its share is compared with two that have one such share each. Needs root.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.serving.contenders import OURS, Contender, ours
from benchmarks.serving.estimators import Estimator
from benchmarks.serving.load import Closed, closed
from benchmarks.serving.servers import CLIENT_CORE, SERVER_CORE, started

SHARE = 0.4
_PERIOD = 20_000  # microseconds
_V1 = Path("/sys/fs/cgroup/cpu")
_V2 = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Scaling:
    """Requests a second of one worker and of two, each with the same share of a core."""

    one: float
    two: float
    share: float


def scaling(model: Estimator, folder: Path, seconds: float) -> Scaling | None:
    """Measure; None where no quota can be set."""
    if not _writable():
        return None
    found = []
    for workers in (1, 2):
        contender = Contender(f"sabia-{workers}", OURS.title, ours("--workers", str(workers)), OURS.call)
        with (
            started(contender, model, folder, cores=(SERVER_CORE, CLIENT_CORE)) as server,
            contextlib.ExitStack() as stack,
        ):
            # The parent of several workers serves nothing; it keeps what it needs.
            serving = server.process.children() if workers > 1 else [server.process]
            for number, process in enumerate(serving):
                stack.enter_context(_limited(process, number))
            result: Closed = closed(server, contender.call(1), folder, seconds, connections=32, core=None)
            found.append(result.requests_per_second)
    return Scaling(found[0], found[1], SHARE)


def _writable() -> bool:
    return os.access(_V1 / "cpu.cfs_quota_us" if _V1.is_dir() else _V2 / "cgroup.subtree_control", os.W_OK)


@contextlib.contextmanager
def _limited(process: psutil.Process, number: int) -> Iterator[None]:
    """A process with its share of a core, its threads included."""
    first = _V1.is_dir()
    group = (_V1 if first else _V2) / f"sabia-benchmark-{os.getpid()}-{number}"
    if not first:
        (_V2 / "cgroup.subtree_control").write_text("+cpu")
    group.mkdir()
    try:
        quota = round(SHARE * _PERIOD)
        if first:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        (group / "cgroup.procs").write_text(str(process.pid))
        yield
    finally:
        with contextlib.suppress(OSError):
            ((_V1 if first else _V2) / "cgroup.procs").write_text(str(process.pid))
        with contextlib.suppress(OSError):
            group.rmdir()
