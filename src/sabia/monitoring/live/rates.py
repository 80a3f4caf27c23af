"""Requests per second, from counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic

_WINDOW_SECONDS = 10.0


class RequestRates:
    """Rates over the last ten seconds, from the counts of successive updates. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._history: deque[tuple[float, dict[str, int]]] = deque()

    def update(self, requests: Mapping[str, int]) -> dict[str, float]:
        """Requests per second by version, given each version's count now."""
        now = self._clock()
        self._history.append((now, dict(requests)))
        while len(self._history) > 2 and self._history[1][0] <= now - _WINDOW_SECONDS:
            self._history.popleft()
        then, before = self._history[0]
        if now <= then:
            return {}
        # A restarted server counts from 0 again: no rate rather than a negative one.
        return {
            version: (count - before[version]) / (now - then)
            for version, count in requests.items()
            if count >= before.get(version, count + 1)
        }
