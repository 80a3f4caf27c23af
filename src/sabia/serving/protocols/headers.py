"""The headers that describe a request's body, for every protocol."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from sabia.serving.errors import InvalidInput, UnsupportedMediaType
from sabia.serving.http.messages import JSON, Request

_CLIENT_TIMEOUT = b"x-request-timeout-ms"
# Envoy removes it from the requests of its clients, and sets it to the timeout of the route.
_GATEWAY_TIMEOUT = b"x-envoy-expected-rq-timeout-ms"
_MILLISECONDS = re.compile(rb"[0-9]{1,9}")
_JSON_LENGTH = b"inference-header-content-length"
BINARY = "application/octet-stream"
# As nearly every client sends it.
PLAIN = frozenset({b"application/json", None})


def is_plain(request: Request) -> bool:
    """Whether the body is plain JSON, by the two headers that nearly every client sends."""
    headers = request.headers
    return headers.get(b"content-type") in PLAIN and b"content-encoding" not in headers


def check(request: Request, *also: str) -> None:
    """Refuse a body that is neither JSON, nor untyped, nor one of `also`.

    Raises:
        UnsupportedMediaType: it is another.
    """
    encoding = request.header(b"content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType("Content-Encoding", encoding, "the body as it is")
    if request.media_type not in ("", JSON, BINARY, *also):
        raise UnsupportedMediaType("Content-Type", request.media_type, f"{JSON} or {BINARY}")


def json_length(request: Request) -> int | None:
    """The length of the JSON part of a body with binary data behind it; None when the whole body is JSON.

    Raises:
        InvalidInput: the header is missing, or not a length.
    """
    declared = request.headers.get(_JSON_LENGTH)
    if declared is None:
        if request.media_type == BINARY:
            raise InvalidInput("Header Inference-Header-Content-Length", f"is missing, and {BINARY} needs it")
        return None
    if not re.fullmatch(rb"[0-9]{1,12}", declared):
        raise InvalidInput("Header Inference-Header-Content-Length", "is not a length in bytes")
    return int(declared)


def json_bytes(request: Request) -> int:
    """How much of a body is JSON, which takes time to parse; at most its size."""
    size = len(request.body)
    declared = request.headers.get(_JSON_LENGTH)
    if declared is None:
        return size
    return min(size, int(declared)) if declared.isdigit() and len(declared) < 12 else size


class Allowed(NamedTuple):
    """How long a request may take, in seconds, and whether it was its client who allowed no more."""

    seconds: float
    by_client: bool


def allowed(request: Request, most: float, *, behind_gateway: bool) -> Allowed:
    """How long a request may take: `most`, or less where its client, or the gateway in front, allows less.

    Args:
        request: with the client's own deadline in a header.
        most: the server's bound, in seconds.
        behind_gateway: whether only a gateway reaches the server, so that the gateway's header is the gateway's.
    """
    if behind_gateway:
        most = min(most, _seconds(request.headers.get(_GATEWAY_TIMEOUT)))
    chosen = _seconds(request.headers.get(_CLIENT_TIMEOUT))
    return Allowed(chosen, by_client=True) if chosen < most else Allowed(most, by_client=False)


def _seconds(text: bytes | None) -> float:
    if text is None or not _MILLISECONDS.fullmatch(text) or not int(text):
        return math.inf
    return int(text) / 1000
