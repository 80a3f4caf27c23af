"""The headers that describe a request's body, for every protocol."""

from __future__ import annotations

import re

from sabia.serving.errors import InvalidInput, UnsupportedMediaType
from sabia.serving.http.messages import JSON, Request

_TIMEOUTS = (b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms")
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


def allowed_seconds(request: Request, most: float) -> float:
    """How long a request may take: `most`, or what its client or a gateway allows it, whichever is less."""
    for name in _TIMEOUTS:
        text = request.headers.get(name)
        if text is not None and re.fullmatch(rb"[0-9]{1,9}", text) and int(text):
            most = min(most, int(text) / 1000)
    return most
