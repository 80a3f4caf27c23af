"""What a connection carries: a complete request, and the response to it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from sabia.contract.names import SPLIT
from sabia.serving.errors import RequestError
from sabia.serving.http import requestid

JSON = "application/json"
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Request(msgspec.Struct, gc=False):
    """One request, complete.

    Attributes:
        method: as it was sent; the protocol's methods are upper case.
        target: path and query as they were sent.
        headers: names in lower case.
        body: at most as long as the limit.
        started: when its head was complete, by `time.perf_counter`, in seconds.
        keep_alive: whether the client wants to go on with this connection.
        id: of a request for the version; empty for others. The response carries it.
        route: how a request for the version came, see `sabia.contract.names.ROUTES`.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    started: float
    keep_alive: bool = True
    id: bytes = b""
    route: str = SPLIT

    def header(self, name: bytes, default: str = "") -> str:
        """A header's value as text."""
        value = self.headers.get(name)
        return default if value is None else value.decode("latin-1")

    @property
    def media_type(self) -> str:
        """The content type without parameters, lower case; empty when the client sent none."""
        return self.header(b"content-type").partition(";")[0].strip().lower()


class Response(msgspec.Struct):
    """What goes back to the client.

    Attributes:
        body: left out when the request was a HEAD.
        headers: beside the type, the length, the date and what every response of this server carries.
        close: the connection ends with this response.
        measured: for the recorder; a connection ignores it.
        error: why the request was refused, for protocols that have statuses of their own; None when it was answered.
    """

    status: int = 200
    body: bytes = b""
    media_type: str = JSON
    headers: dict[str, str] = {}
    close: bool = False
    measured: Any = None
    error: RequestError | None = None


def head(response: Response, lines: bytes, *, request_id: bytes, close: bool, keep: bool) -> bytes:
    """Status line and headers; `lines` are the headers that every response carries."""
    parts = [
        b"HTTP/1.1 %d %b\r\n" % (response.status, _REASONS.get(response.status, b"")),
        lines,
        b"content-type: %b\r\ncontent-length: %d\r\n" % (response.media_type.encode(), len(response.body)),
    ]
    if request_id:
        parts.append(requestid.LINE % request_id)
    parts += [f"{name}: {value}\r\n".encode("latin-1") for name, value in response.headers.items()]
    if close:
        parts.append(b"connection: close\r\n")
    elif keep:
        parts.append(b"connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def error_response(reason: RequestError, *, close: bool = False) -> Response:
    """One sentence, in the form that V1 and V2 share."""
    body = msgspec.json.encode({"error": str(reason)})
    return Response(reason.http_status, body, headers=dict(reason.headers), close=close, error=reason)
