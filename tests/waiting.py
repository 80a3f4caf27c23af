"""Waiting for conditions that send no event."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL = threading.Event()
_POLL_SECONDS = 0.05


def eventually(look: Callable[[], T], *, holds: Callable[[T], object] = bool, seconds: float = 60) -> T:
    """The first value of `look` for which `holds` is true, polled: most of what a client can observe sends no event."""
    deadline = time.monotonic() + seconds
    while not holds(found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s; found {found!r}"
        _POLL.wait(_POLL_SECONDS)
    return found
