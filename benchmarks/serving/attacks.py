"""What a hostile or broken client does to a server: `python -m benchmarks.serving.attacks NAME PORT SECONDS`.

Each runs for its time, against loopback only, and prints its result: how many responses of each status, how many
connections were closed on it. A process of its own, so that its work is not the well-behaved client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from time import perf_counter

PREDICT = "/v1/models/breast-cancer:predict"
ROW = json.dumps({"instances": [[1.0] * 30]}).encode()
Said = Counter[str]


def post(body: bytes, *lines: str, path: str = PREDICT) -> bytes:
    """A request."""
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *lines]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


class Attacker:
    """Many connections to one server, until a time."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port = port
        self._until = perf_counter() + seconds
        self.said: Said = Counter()

    @property
    def going_on(self) -> bool:
        """Whether there is time left."""
        return perf_counter() < self._until

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection."""
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def status(self, reader: asyncio.StreamReader) -> str:
        """The status of one complete response; `closed` when there is none."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            return "closed"
        return head.split(b" ", 2)[1].decode()

    async def ask(self, *parts: bytes, pause: float = 0.0) -> None:
        """Send a request in parts, and take note of what comes back."""
        with contextlib.suppress(OSError):
            reader, writer = await self.connect()
            try:
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(pause)
                self.said[await asyncio.wait_for(self.status(reader), 30)] += 1
            except (ConnectionError, TimeoutError):
                self.said["closed"] += 1
            finally:
                writer.close()
            return
        self.said["refused"] += 1

    async def repeat(self, call: Callable[[], Awaitable[None]], at_once: int) -> None:
        """Repeat it, `at_once` times concurrently."""

        async def one() -> None:
            while self.going_on:
                await call()

        await asyncio.gather(*(one() for _ in range(at_once)))

    async def hold(self, count: int, begin: bytes, drip: bytes = b"", every: float = 0.5, *, eof: bool = False) -> None:
        """Open `count` connections, send the start of a request, then a few bytes at intervals."""
        held = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                reader, writer = await self.connect()
                writer.write(begin)
                if eof:
                    writer.write_eof()
                held.append((reader, writer))
        self.said["opened"] = len(held)
        while self.going_on:
            await asyncio.sleep(every)
            for _, writer in held:
                if drip and not writer.is_closing():
                    writer.write(drip)
        for _, writer in held:
            writer.close()


async def _flood_unread(attacker: Attacker) -> None:
    """Many pipelined requests whose responses are never read."""
    with contextlib.suppress(OSError):
        _, writer = await attacker.connect()
        with contextlib.suppress(ConnectionError, TimeoutError):
            while attacker.going_on:
                writer.write(post(ROW) * 200)
                await asyncio.wait_for(writer.drain(), 0.5)
        attacker.said["gave up"] += 1
        writer.close()
    await asyncio.sleep(0.05)


_LARGE = b" " * (1 << 20)
_TOO_LARGE = post(b"").replace(b"Length: 0", b"Length: 157286400")
_ONES = b'{"instances": [%b]}' % b",".join([b"[%b]" % b",".join([b"1"] * 30)] * 65_000)
_CHUNKED = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
ATTACKS: dict[str, tuple[str, Callable[[Attacker], Awaitable[None]]]] = {
    "nothing": ("only the well-behaved client", lambda a: a.hold(0, b"")),
    "idle": ("5,000 idle connections", lambda a: a.hold(5000, b"")),
    "slow-heads": (
        "2,000 heads, a byte at a time (slow-loris)",
        lambda a: a.hold(2000, b"POST / HTTP/1.1\r\nHost: x\r\nX: ", b"a"),
    ),
    "slow-bodies": ("1,000 bodies, a byte at a time", lambda a: a.hold(1000, post(ROW)[:-200], b" ")),
    "half-closed": ("1,000 connections closed on one side", lambda a: a.hold(1000, post(ROW)[:-5], eof=True)),
    "held-bodies": ("500 bodies of 4 MiB, each but its last byte", lambda a: a.hold(500, post(_LARGE * 4)[:-1])),
    "large-bodies": (
        "bodies of 150 MB, 4 at once",
        lambda a: a.repeat(lambda: a.ask(_TOO_LARGE, *[_LARGE] * 150), 4),
    ),
    "full-bodies": (
        "JSON of 4 MB of ones, 8 at once",
        lambda a: a.repeat(lambda: a.ask(post(_ONES)), 8),
    ),
    "large-heads": (
        "heads of 1 MB, 16 at once",
        lambda a: a.repeat(lambda: a.ask(post(ROW, "X: " + "x" * 1_000_000)), 16),
    ),
    "deep": (
        "JSON nested 100,000 deep, 8 at once",
        lambda a: a.repeat(lambda: a.ask(post(b"[" * 100_000 + b"]" * 100_000)), 8),
    ),
    "gzip": (
        "gzip bombs, 8 at once",
        lambda a: a.repeat(lambda: a.ask(post(gzip.compress(bytes(1 << 20)), "Content-Encoding: gzip")), 8),
    ),
    "unread": ("pipelined requests, responses unread, 16 at once", lambda a: a.repeat(lambda: _flood_unread(a), 16)),
    "tiny-chunks": (
        "bodies in chunks of one byte, 8 at once",
        lambda a: a.repeat(lambda: a.ask(_CHUNKED, b"1\r\n \r\n" * 20_000 + b"0\r\n\r\n"), 8),
    ),
    "no-http": ("invalid HTTP, 16 at once", lambda a: a.repeat(lambda: a.ask(b"\x16\x03\x01" * 300), 16)),
    "churn": ("connections opened and closed, 32 at once", lambda a: a.repeat(lambda: a.ask(post(ROW)), 32)),
}


async def run(name: str, port: int, seconds: float) -> Said:
    """Attack, and say what came back."""
    attacker = Attacker(port, seconds)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ATTACKS[name][1](attacker), seconds + 30)
    return attacker.said


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(asyncio.run(run(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))))
