"""What the connections of one process share: their bounds, their clock, and what responds to requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from sabia.serving.errors import RequestError
from sabia.serving.http.limits import Limits
from sabia.serving.http.messages import JSON, Request, Response

_SWEEP_SECONDS = 0.5


class Member(Protocol):
    """What a pool needs of a connection.

    Attributes:
        deadline: until when its client may let it wait, by the pool's clock.
    """

    deadline: float

    @property
    def idle(self) -> bool:
        """Whether it waits for its client's next request."""

    @property
    def spare(self) -> int | None:
        """How expendable it is, 0 first; None when a request is being answered."""

    def expire(self) -> None:
        """Its client is past the deadline."""

    def close(self) -> None:
        """Close, after what was written is sent."""

    def abort(self) -> None:
        """Close now."""


def _order(connection: Member) -> tuple[int, float]:
    return connection.spare or 0, connection.deadline


Respond = Callable[[Request], "Response | asyncio.Future[Response]"]


class ConnectionPool:
    """The connections of one process.

    Args:
        respond: returns the response to a request, now or later.
        limits: what a connection may cost.
        headers: of every response.
        on_refusal: gets the name of the error whenever a connection is refused or closed for a bound.
        on_count: gets the number of connections whenever it changes.
        on_sweep: is called about twice a second.

    Attributes:
        now: the loop's clock, as of the last sweep.
        held: bytes of bodies in memory, of all connections.
        draining: True when every response is the last of its connection.
        lines: the headers of every response.
        ok_json: the head of a 200 in JSON, up to what differs between two of them.
    """

    def __init__(
        self,
        respond: Respond,
        limits: Limits,
        headers: dict[str, str],
        on_refusal: Callable[[str], None],
        on_count: Callable[[int], None],
        on_sweep: Callable[[], None],
    ) -> None:
        self.respond = respond
        self.limits = limits
        self.draining = False
        self.held = 0
        self.connections: dict[Member, None] = {}
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1")
        self._on_refusal, self._on_count, self._on_sweep = on_refusal, on_count, on_sweep
        self._spare: list[Member] = []
        self._next: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None
        self.now = 0.0
        self._refresh_headers()

    def start(self) -> None:
        """Begin to sweep; called on the loop."""
        loop = asyncio.get_running_loop()
        self.now = loop.time()
        self._refresh_headers()
        self._next = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        """End every connection, and sweep no more."""
        if self._next is not None:
            self._next.cancel()
        for connection in list(self.connections):
            connection.abort()

    def opened(self, connection: Member) -> bool:
        """Add a connection, at the cost of an expendable one when full; False when there is no room."""
        if len(self.connections) >= self.limits.connections and not self._make_room():
            return False
        self.connections[connection] = None
        self._on_count(len(self.connections))
        return True

    def closed(self, connection: Member) -> None:
        """Remove a connection."""
        self.connections.pop(connection, None)
        self._on_count(len(self.connections))
        if self._empty is not None and not self.connections:
            self._empty.set()

    def refused(self, reason: RequestError) -> None:
        """Report why a connection was refused."""
        self._on_refusal(type(reason).__name__)

    def drain(self) -> None:
        """Close the idle connections; the others close with their response."""
        self.draining = True
        for connection in list(self.connections):
            if connection.idle:
                connection.close()

    async def emptied(self, seconds: float) -> None:
        """Wait until there is no connection, for this time at most."""
        self._empty = asyncio.Event()
        if not self.connections:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)

    def _make_room(self) -> bool:
        # To scan every connection for each new one would make a flood an attack: one scan finds a twentieth of them.
        if not self._spare:
            candidates = sorted((item for item in self.connections if item.spare is not None), key=_order)
            self._spare = candidates[: max(1, self.limits.connections // 20)][::-1]
        while self._spare:
            candidate = self._spare.pop()
            if candidate in self.connections and candidate.spare is not None:
                del self.connections[candidate]
                candidate.abort()
                self._on_refusal("IdleConnection")
                return True
        return False

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = self.now = loop.time()
        for connection in [item for item in self.connections if item.deadline <= now]:
            connection.expire()
        self._refresh_headers()
        self._on_sweep()
        self._next = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _refresh_headers(self) -> None:
        self.lines = b"date: %b\r\n%b" % (formatdate(usegmt=True).encode(), self._headers)
        self.ok_json = b"HTTP/1.1 200 OK\r\n%bcontent-type: %b\r\n" % (self.lines, JSON.encode())
