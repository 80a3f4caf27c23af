"""The machine's clocks."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """See `ports.Clock`."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.monotonic()

    def utc(self) -> datetime:
        """See `Clock.utc`."""
        return datetime.now(UTC)

    def wait(self, seconds: float) -> None:
        """See `Clock.wait`."""
        time.sleep(seconds)
