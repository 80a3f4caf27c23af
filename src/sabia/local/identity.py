"""Which process a number means: numbers are used again, so a process is known by its number and its start."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def started_at(pid: int) -> str | None:
    """When a process started, as its system counts; None if there is no such process. Only equality has a meaning."""
    if (_PROC / "self" / "stat").exists():
        try:
            stat = (_PROC / str(pid) / "stat").read_text()
        except OSError:
            return None
        # Field 22 of proc(5), in ticks since the boot. The name in field 2 may have spaces and brackets in it.
        return stat.rpartition(")")[2].split()[19]
    shown = subprocess.run(  # noqa: S603
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() or None


def terminate(pid: int, started: str) -> bool:
    """Send SIGTERM to the process of this number and start; False if it has ended, and another may have its number."""
    if not hasattr(os, "pidfd_open"):
        if started_at(pid) != started:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        return True
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # From here on the descriptor means one process: compared now, it cannot be another one a moment later.
        if started_at(pid) != started:
            return False
        signal.pidfd_send_signal(process, signal.SIGTERM)
    except ProcessLookupError:
        return False
    finally:
        os.close(process)
    return True
