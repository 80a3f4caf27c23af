"""Closed loop: wrk keeps a number of connections busy; each sends the next request after its response."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.contenders import Call
from benchmarks.serving.servers import CLIENT_CORE, Server

CONNECTIONS = 16
_REPORT = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "p999": %f, "failed": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    latency:percentile(99.9) / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True, slots=True)
class Closed:
    """What a closed loop saw; latencies in seconds."""

    requests_per_second: float
    p50: float
    p99: float
    p999: float
    failed: int
    cpu_per_thousand: float


def check() -> None:
    """End with a sentence when wrk is not there."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk makes the load and is not installed here; Debian's package has its name.")


def closed(
    server: Server,
    call: Call,
    folder: Path,
    seconds: float,
    connections: int = CONNECTIONS,
    core: int | None = CLIENT_CORE,
) -> Closed:
    """Send requests for `seconds`, after a second of warming up."""
    script = folder / "call.lua"
    body = folder / "call.body"
    body.write_bytes(call.body)
    lines = ['wrk.method = "POST"', f'wrk.body = io.open({json.dumps(str(body.resolve()))}, "rb"):read("*a")']
    lines += [f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in call.headers.items()]
    script.write_text("\n".join(lines) + _REPORT)
    _wrk(server, call, script, 1, connections, core)
    before = server.cpu_seconds()
    found = _wrk(server, call, script, seconds, connections, core)
    used = server.cpu_seconds() - before
    return Closed(
        found["requests"] / found["seconds"],
        found["p50"],
        found["p99"],
        found["p999"],
        int(found["failed"]),
        1000 * used / max(1, found["requests"]),
    )


@contextmanager
def awake(core: int = CLIENT_CORE) -> Iterator[None]:
    """Keep a core from halting, by a process that runs only while the core is idle.

    Waking a halted core of a virtual machine costs the waking process some microseconds. A slightly slower server lets
    its client's core halt more often and pays for waking it: one microsecond more in each response became two on this
    machine.
    """
    spin = f"""
import os
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
os.sched_setaffinity(0, {{{core}}})
while os.getppid() == {os.getpid()}:
    sum(range(100_000))
"""
    with subprocess.Popen([sys.executable, "-c", spin]) as process:
        try:
            yield
        finally:
            process.terminate()


def _wrk(
    server: Server, call: Call, script: Path, seconds: float, connections: int, core: int | None
) -> dict[str, float]:
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "30s", "-s", str(script)]
    url = f"http://127.0.0.1:{server.port}{call.path}"
    done = subprocess.run([*pinned, *command, url], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
