"""Waiting for what comes by itself and tells nobody when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_POLL = threading.Event()
_POLL_SECONDS = 0.05


def eventually(look: Callable[[], T], *, holds: Callable[[T], object] = bool, seconds: float = 60) -> T:
    """The first thing that `look` finds of which that holds. There is no event for most of what a client can see, so it
    is asked.
    """
    deadline = time.monotonic() + seconds
    while not holds(found := look()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s; found {found!r}"
        _POLL.wait(_POLL_SECONDS)
    return found
