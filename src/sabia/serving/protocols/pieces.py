"""Large JSON bodies, parsed in pieces so that they block other requests briefly and need little memory.

A JSON decoder keeps the interpreter from the first byte to the last, and makes Python numbers of sixteen times their
text. So the lists of numbers that make bodies large are decoded piece by piece: between two pieces other requests are
answered, and a piece is an array before the next one is numbers. A body of another form is decoded whole, but only one
such body at a time.
"""

from __future__ import annotations

import re
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# About a third of a millisecond.
PIECE_BYTES = 64 * 1024

_ROWS = msgspec.json.Decoder(list[list[float]])
_NUMBERS = msgspec.json.Decoder(list[float])
_BEFORE = re.compile(rb'\s*{\s*"instances"\s*:\s*\[')
_AFTER = re.compile(rb"\]\s*}\s*")
_BETWEEN_ROWS = re.compile(rb"\]\s*,")
_DATA = re.compile(rb'"data"\s*:\s*\[')
_one_large = threading.Lock()


@contextmanager
def one_at_a_time(size: int) -> Iterator[None]:
    """Wait, in a thread, until no other large body is being decoded whole; `size` is that of this one's JSON."""
    if size <= PIECE_BYTES:
        yield
        return
    with _one_large:
        yield


def parse_rows(body: bytes, width: int) -> Array | None:
    """Rows of shape (rows, columns) from `{"instances": [[number, …], …]}` alone; None from anything else."""
    before = _BEFORE.match(body)
    end = body.rfind(b"]")
    if before is None or end < 0 or _AFTER.fullmatch(body, end) is None:
        return None
    pack = struct.Struct(f"{width}d").pack
    packed: list[bytes] = []
    start = before.end()
    while start < end:
        cut = _BETWEEN_ROWS.search(body, min(start + PIECE_BYTES, end), end)
        stop, following = (cut.start() + 1, cut.end()) if cut is not None else (end, end)
        try:
            packed.append(b"".join([pack(*row) for row in _ROWS.decode(b"[%b]" % body[start:stop])]))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, struct.error):
            return None
        if cut is not None and not body[following:end].strip():
            return None  # a trailing comma
        start = following
    return np.frombuffer(b"".join(packed)).reshape(-1, width) if any(packed) else None


def take_data(body: bytes) -> tuple[bytes, Array] | None:
    """A V2 request without its one flat list of data, and that list; None when there is no such thing."""
    begin = _DATA.search(body)
    if begin is None or _DATA.search(body, begin.end()) is not None:
        return None
    start, end = begin.end(), body.find(b"]", begin.end())
    if end < 0 or b"[" in body[start:end] or not body[start:end].strip():
        return None
    arrays: list[Array] = []
    while start < end:
        cut = body.find(b",", min(start + PIECE_BYTES, end), end)
        stop, following = (cut, cut + 1) if cut >= 0 else (end, end)
        try:
            arrays.append(np.array(_NUMBERS.decode(b"[%b]" % body[start:stop]), dtype=np.float64))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        if cut >= 0 and not body[following:end].strip():
            return None
        start = following
    return body[: begin.end()] + body[end:], np.concatenate(arrays)
