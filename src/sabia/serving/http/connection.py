"""One client's connection: bytes in, requests out, responses back in order.

The bytes are parsed by llhttp, the parser of Node.js, through `httptools`. In its strict mode it refuses what two
servers could read in two ways: lengths that repeat or contradict each other, a length beside a transfer encoding, bare
line feeds, spaces before a colon. What llhttp leaves to its user is here: how long a head, a body and a pause may be,
that HTTP/1.1 names its host, that trailers change nothing, and that responses go back in the order of the requests.

A response comes at once or later. A connection has one request open at a time, so a client that sends many without
waiting (pipelining) is read no further than it is answered.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from time import perf_counter
from typing import cast

import httptools

from sabia.serving.errors import (
    BodyTooLarge,
    HeadTooLarge,
    MalformedRequest,
    Overloaded,
    RequestError,
    SlowRequest,
    TooManyConnections,
    UnknownExpectation,
    UnknownTransferCoding,
)
from sabia.serving.http import requestid
from sabia.serving.http.messages import JSON, Request, Response, error_response, head
from sabia.serving.http.pool import ConnectionPool

NEVER = float("inf")
# A second one would contradict the first, and another server might choose the other one.
_SINGLE = frozenset({b"host", b"content-type", b"content-length", b"inference-header-content-length"})
_UPGRADE = frozenset({b"connection", b"upgrade", b"http2-settings"})
# Requests of one pipelining client that are answered, and bytes that are parsed (the rest of a body aside), before
# other connections get their turn: with a dozen such clients the others wait for a dozen turns.
_AT_ONCE = 2
_PIECE = 8 * 1024
_REQUEST_ID_LINE = requestid.LINE
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection.

    Attributes:
        deadline: until when its client may let it wait, by the pool's clock.
    """

    __slots__ = (
        "_blocked",
        "_broken",
        "_busy",
        "_chunks",
        "_declared",
        "_discarded",
        "_discarding",
        "_ended",
        "_head_bytes",
        "_head_complete",
        "_headers",
        "_held",
        "_in_message",
        "_limits",
        "_method",
        "_parser",
        "_pool",
        "_progress",
        "_queue",
        "_since_progress",
        "_size",
        "_started",
        "_target",
        "_transport",
        "_turn",
        "_unparsed",
        "_yielded",
        "deadline",
    )

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._limits = pool.limits
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[Request | RequestError] = deque()  # what waits for the response before it
        self._unparsed = memoryview(b"")  # received and not yet parsed
        self._busy = False  # a response comes later
        self._blocked = False  # the client reads slower than it sends requests
        self._discarding = False  # no further request of this client is answered
        self._ended = False  # the client has closed its side
        self._in_message = False  # a request has begun and is not complete
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self._broken: RequestError | None = None
        self._since_progress = 0  # bytes since the parser gave the last part of a body
        self._discarded = 0
        self._turn = 0  # requests answered since the other connections had their turn
        self._yielded = False
        self._held = 0  # bytes of bodies that this connection has in memory
        self.deadline = NEVER

    # -- called by the loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self.deadline = self._pool.now + self._limits.read_seconds
        if not self._pool.opened(self):
            self._refuse(TooManyConnections())
            self._transport.close()  # the pool does not watch it, so it cannot stay

    def data_received(self, data: bytes) -> None:
        """Some bytes; any number of requests may end in them."""
        self._turn = 0
        if self._discarding:
            self._discard(len(data))
        elif len(data) <= _PIECE and not self._unparsed:
            self._parse(data)
        else:
            # Some were on their way when reading was paused.
            self._unparsed = memoryview(b"".join([self._unparsed, data]) if self._unparsed else data)
            self._continue()

    def _parse(self, data: bytes | memoryview) -> None:
        """Parse some bytes; any number of requests may end in them."""
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError:
            if not self._discarding:
                self._refuse(self._broken or MalformedRequest())
        else:
            # The parser buffers heads, trailers and extensions of chunks before it calls back.
            self._since_progress = 0 if self._progress else self._since_progress + len(data)
            if self._since_progress > self._limits.head_bytes and not self._discarding:
                self._refuse(HeadTooLarge(self._limits.head_bytes))

    def eof_received(self) -> bool:
        """The client sends no more, and may still read. False closes the connection."""
        self._ended = True
        return self._busy or bool(self._queue or self._unparsed)

    def connection_lost(self, reason: Exception | None) -> None:
        """The connection has ended."""
        del reason
        self._discarding = True
        self._queue.clear()
        self._unparsed = memoryview(b"")
        self._chunks = []
        self._release(self._held)
        self._pool.closed(self)

    def pause_writing(self) -> None:
        """The client reads slower than it sends requests."""
        self._blocked = True
        self._transport.pause_reading()
        self.deadline = self._pool.now + self._limits.read_seconds

    def resume_writing(self) -> None:
        """It has caught up."""
        self._blocked = False
        self._continue()

    # -- called by the parser ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._discarding:
            return
        self._in_message = True
        self._head_complete = False
        self._target = b""
        self._headers = {}
        self._head_bytes = 0
        self._chunks = []
        self._size = self._declared = 0
        self.deadline = self._pool.now + self._limits.read_seconds

    def on_url(self, part: bytes) -> None:
        """The target, or a part of it."""
        self._target = self._target + part if self._target else part
        self._head_bytes += len(part)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        self._head_bytes += len(name) + len(value)
        headers = self._headers
        if self._head_bytes > self._limits.head_bytes or len(headers) >= self._limits.headers:
            self._stop_parsing(HeadTooLarge(self._limits.head_bytes))
        if self._head_complete:
            return
        name = name.lower()
        if name in headers:
            if name in _SINGLE:
                self._stop_parsing(MalformedRequest())
            value = headers[name] + b", " + value
        headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is complete; a body may follow."""
        if self._discarding:
            return
        self._head_complete = True
        self._started = perf_counter()
        headers = self._headers
        version = self._parser.get_http_version()
        self._method = self._parser.get_method()
        if self._method == b"CONNECT" or version not in ("1.1", "1.0") or (b"host" not in headers and version == "1.1"):
            self._stop_parsing(MalformedRequest())
        if self._head_bytes > self._limits.head_bytes:
            self._stop_parsing(HeadTooLarge(self._limits.head_bytes))
        self._declared = int(headers.get(b"content-length", 0))
        if self._declared > self._limits.body_bytes:
            self._refuse(BodyTooLarge(self._limits.body_bytes))
        elif b"," in headers.get(b"transfer-encoding", b""):  # the parser refuses those that do not end with chunked
            self._refuse(UnknownTransferCoding())
        elif b"expect" in headers and version == "1.1":
            self._meet_expectation(headers[b"expect"])

    def _meet_expectation(self, expected: bytes) -> None:
        if expected.strip().lower() != b"100-continue":
            self._refuse(UnknownExpectation())
        elif not (self._busy or self._queue):
            self._transport.write(_CONTINUE)

    def on_body(self, chunk: bytes) -> None:
        """A part of the body."""
        if self._discarding:
            return
        self._progress = True
        size, pool = len(chunk), self._pool
        self._size += size
        self._held += size
        pool.held += size
        if self._size > self._limits.body_bytes:
            self._refuse_body(BodyTooLarge(self._limits.body_bytes))
        elif pool.held > self._limits.held_bytes and self._size > self._limits.small_bytes:
            self._refuse_body(Overloaded())
        else:
            self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        """A request is complete."""
        if self._discarding:
            return
        self._progress = True
        parser = self._parser
        if b"upgrade" in self._headers and parser.should_upgrade():
            return  # the parser has left the body to the other protocol
        self._in_message = False
        chunks = self._chunks
        keep_alive = parser.should_keep_alive()
        request = Request(
            self._method,
            self._target,
            self._headers,
            chunks[0] if len(chunks) == 1 else b"".join(chunks),
            self._started,
            keep_alive,
        )
        if not keep_alive:
            self._discarding = True
        if self._busy or self._blocked or self._queue or self._turn >= _AT_ONCE:
            self._queue.append(request)
            self._transport.pause_reading()
            self._yield()
        else:
            self._turn += 1
            self._respond_to(request)

    # -- responding --------------------------------------------------------------------------------------------------

    def _respond_to(self, item: Request | RequestError) -> None:
        """Respond to the next request, or with the error that came in its place."""
        if isinstance(item, RequestError):
            self._send(error_response(item, close=True), b"", keep_alive=False, body=True)
            return
        response = self._pool.respond(item)
        if type(response) is Response:
            self.deadline = self._pool.now + self._limits.idle_seconds
            self._release(len(item.body))
            self._send(response, item.id, keep_alive=item.keep_alive, body=item.method != b"HEAD")
        else:
            self._busy = True  # what arrives meanwhile is queued
            self.deadline = NEVER
            cast("asyncio.Future[Response]", response).add_done_callback(partial(self._send_later, item))

    def _send_later(self, request: Request, response: asyncio.Future[Response]) -> None:
        self._busy = False
        if self._transport.is_closing() or response.cancelled():
            return
        self.deadline = self._pool.now + self._limits.idle_seconds
        self._release(len(request.body))
        self._send(response.result(), request.id, keep_alive=request.keep_alive, body=request.method != b"HEAD")
        self._continue()

    def _continue(self) -> None:
        """Respond to queued requests, parse what was received, then read on."""
        self._turn = 0
        while (self._queue or self._unparsed) and not (self._busy or self._blocked or self._transport.is_closing()):
            if self._turn >= _AT_ONCE:
                self._yield()
                break
            if self._queue:
                self._turn += 1
                self._respond_to(self._queue.popleft())
            else:
                size = max(_PIECE, self._declared - self._size) if self._in_message else _PIECE
                piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
                self._parse(piece)
                if self._discarding:
                    self._discard(len(self._unparsed))
                    self._unparsed = memoryview(b"")
        if self._transport.is_closing():
            return
        if self._unparsed:
            self._transport.pause_reading()
        elif self._busy or self._blocked or self._queue:
            return
        elif self._ended:
            self._transport.close()
        else:
            self._transport.resume_reading()

    def _yield(self) -> None:
        """Let the other connections have their turn before going on."""
        if not self._yielded and not self._busy and not self._blocked:
            self._yielded = True
            asyncio.get_running_loop().call_soon(self._resume)

    def _resume(self) -> None:
        self._yielded = False
        self._continue()

    def _send(self, response: Response, request_id: bytes, *, keep_alive: bool, body: bool) -> None:
        pool = self._pool
        content = response.body
        close = not keep_alive or response.close or pool.draining
        # An HTTP/1.0 client that asks for keep-alive needs the confirmation.
        keep = b"connection" in self._headers
        if response.status == 200 and not (close or keep or response.headers) and body and response.media_type == JSON:
            line = _REQUEST_ID_LINE % request_id if request_id else b""
            self._transport.write(b"%b%bcontent-length: %d\r\n\r\n%b" % (pool.ok_json, line, len(content), content))
            return
        lines = head(response, pool.lines, request_id=request_id, close=close, keep=keep)
        self._transport.write(lines + content if body else lines)
        if close:
            self._end()

    def _end(self) -> None:
        """Close, after what was written is sent.

        A client in the middle of a request may finish: to close on what it still sends would reset the connection, and
        the response might be lost.
        """
        self._queue.clear()
        self._discarding = True
        if self._in_message and not self._ended:
            self.deadline = self._pool.now + self._limits.read_seconds
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()

    def _refuse_body(self, reason: RequestError) -> None:
        """Refuse a body that there is no room for, and free what arrived of it."""
        self._chunks.clear()
        self._release(self._size)
        self._refuse(reason)

    def _release(self, size: int) -> None:
        self._held -= size
        self._pool.held -= size

    def _stop_parsing(self, reason: RequestError) -> None:
        """Refuse from within the parser, which then stops.

        Raises:
            RequestError: always.
        """
        self._broken = reason
        raise reason

    def _refuse(self, reason: RequestError) -> None:
        """Send the error response when its turn comes, and answer nothing more."""
        self._discarding = self._in_message = True  # the rest of it may still arrive
        self._pool.refused(reason)
        if self._busy or self._blocked or self._queue:
            self._queue.append(reason)
        else:
            self._respond_to(reason)

    def _decline_upgrade(self, rest: bytes) -> None:
        """Parse a request as if its client had not asked to upgrade, as clients that prefer HTTP/2 do."""
        lines = [b"%b %b HTTP/1.1" % (self._method, self._target)]
        lines += [b"%b: %b" % item for item in self._headers.items() if item[0] not in _UPGRADE]
        self._parser = httptools.HttpRequestParser(self)
        self._parse(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _discard(self, size: int) -> None:
        """Count bytes of a client that has its error response and goes on sending; past the limit, cut it off."""
        self._discarded += size
        if self._discarded > self._limits.dropped_bytes:
            self._transport.abort()

    # -- called by the pool ------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether it waits for its client's next request."""
        return not (self._busy or self._in_message or self._queue or self._unparsed or self._blocked)

    @property
    def spare(self) -> int | None:
        """How expendable it is: first (0) when it only drains, then when it is idle, then when its client has begun a
        request and lets it wait; None when a request is being answered.
        """
        if self._busy or self._queue or self._unparsed:
            return None
        return 0 if self._discarding else 2 if self._in_message else 1

    def expire(self) -> None:
        """Its client is past the deadline."""
        if self._blocked or self._discarding:
            self._transport.abort()
        elif self._in_message:
            self._refuse(SlowRequest())
        else:
            self._transport.close()

    def close(self) -> None:
        """Close, after what was written is sent."""
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()
