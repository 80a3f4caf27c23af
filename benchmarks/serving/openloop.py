"""Open loop: requests leave by the clock whether or not the ones before are answered.

A latency is counted from the moment that the call was due, so a server that pauses is charged for every call that it
made wait: what is called coordinated omission cannot happen.

`python -m benchmarks.serving.openloop PORT RATE SECONDS FILE`
prints the quantiles; FILE holds the request's bytes. A process of its own, so that it can be bound to a core.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
import uvloop

from benchmarks.serving.contenders import Call
from benchmarks.serving.servers import CLIENT_CORE, Server

CONNECTIONS = 64
# Past it what is not answered is counted with the time that it has waited until then.
_PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Open:
    """What an open loop saw; latencies in seconds."""

    rate: float
    answered: int
    due: int
    p50: float
    p99: float
    p999: float
    failed: int


def opened(server: Server, call: Call, folder: Path, rate: float, seconds: float) -> Open:
    """Send requests at this rate for `seconds`."""
    lines = [f"POST {call.path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(call.body)}"]
    lines += [f"{name}: {value}" for name, value in call.headers.items()]
    request = folder / "call.request"
    request.write_bytes(("\r\n".join(lines) + "\r\n\r\n").encode() + call.body)
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving.openloop",
        str(server.port),
        str(rate),
        str(seconds),
        str(request),
    ]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["taskset", "-c", str(CLIENT_CORE), *command], capture_output=True, text=True, check=True, cwd=root
    )
    return Open(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """One request at a time: its due time goes in, its latency comes out."""

    def __init__(self, loop: _Loop) -> None:
        self._loop = loop
        self._buffer = b""
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length: ")
        in_chunks = at < 0
        length = 0 if in_chunks else int(lowered[at + 16 :].partition(b"\r\n")[0])
        complete = body.endswith(b"0\r\n\r\n") if in_chunks else len(body) >= length
        if complete:
            self._buffer = b""
            self._loop.answered(self, failed=not head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")))

    def connection_lost(self, reason: Exception | None) -> None:
        del reason
        self._loop.lost()


class _Loop:
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._free: list[_Connection] = []
        self._late: deque[float] = deque()
        self.latencies: list[float] = []
        self.failed = 0
        self.done = False

    async def connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, protocol = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", port)
            self._free.append(protocol)

    def due(self, when: float) -> None:
        if self._free:
            self._send(self._free.pop(), when)
        else:
            self._late.append(when)

    def answered(self, connection: _Connection, *, failed: bool) -> None:
        self.latencies.append(perf_counter() - connection.due)
        self.failed += failed
        if self._late:
            self._send(connection, self._late.popleft())
        else:
            self._free.append(connection)

    def lost(self) -> None:
        if not self.done:
            self.failed += 1

    def _send(self, connection: _Connection, when: float) -> None:
        connection.due = when
        connection.transport.write(self._request)


async def _run(port: int, rate: float, seconds: float, request: bytes) -> dict[str, float]:
    loop = _Loop(request)
    await loop.connect(port)
    # Arrivals are random, as those of many independent clients are.
    gaps = np.random.default_rng(1).exponential(1 / rate, int(rate * seconds))
    times = (perf_counter() + 0.1 + np.cumsum(gaps)).tolist()
    for when in times:
        left = when - perf_counter()
        # Sleeping is coarse; the last part of a wait is spent looking at the sockets.
        if left > 0.002:
            await asyncio.sleep(left - 0.001)
        while perf_counter() < when:  # noqa: ASYNC110  the loop's own timers are too coarse
            await asyncio.sleep(0)
        loop.due(when)
    deadline = perf_counter() + _PATIENCE_SECONDS
    while len(loop.latencies) < len(times) and perf_counter() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    now = perf_counter()
    loop.done = True
    waiting = [now - when for when in times[len(loop.latencies) :]]
    p50, p99, p999 = np.quantile([*loop.latencies, *waiting], [0.5, 0.99, 0.999]).tolist()
    return {
        "rate": rate,
        "answered": len(loop.latencies),
        "due": len(times),
        "p50": p50,
        "p99": p99,
        "p999": p999,
        "failed": loop.failed,
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    result = uvloop.run(
        _run(int(arguments[0]), float(arguments[1]), float(arguments[2]), Path(arguments[3]).read_bytes())
    )
    print(json.dumps(result))
