"""Lines of the server's log that any client can cause: one in a while, so that no client fills a disk with them."""

from __future__ import annotations

import logging
from time import monotonic


class Seldom:
    """Logs at most one line in some time, with the number of those that were left out.

    Args:
        log: gets the lines.
        seconds: the time between two of them.
    """

    def __init__(self, log: logging.Logger, seconds: float = 60.0) -> None:
        self._log, self._seconds = log, seconds
        self._next, self._left_out = 0.0, 0

    def warning(self, message: str, *values: object) -> None:
        """Log it, or count it."""
        now = monotonic()
        if now < self._next:
            self._left_out += 1
            return
        self._log.warning(f"{message} (%d more like it before)", *values, self._left_out)
        self._next, self._left_out = now + self._seconds, 0
