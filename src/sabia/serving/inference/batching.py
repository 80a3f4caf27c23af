"""Micro-batching: single rows that arrive together are predicted together.

A run of ONNX Runtime costs nearly the same for one row as for ten, so a server whose requests queue answers more of
them, and sooner, in one run. A server whose requests do not queue would only be slower for waiting. So no request waits
for a clock: requests are gathered for one turn of the event loop, and only while one begins right after the response to
the one before. `docs/decisions/0012` has the figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A request that begins this soon after the end of the last one was waiting for it.
_BACK_TO_BACK_SECONDS = 20e-6


class Batcher(Generic[Item, Result]):
    """Gathers items of one turn of the event loop.

    Args:
        run: returns the results of some items, in their order. Must not raise.
        limit: largest batch; below 2 nothing is ever gathered.
    """

    def __init__(self, run: Callable[[list[Item]], list[Result]], limit: int) -> None:
        self._run, self._limit = run, limit
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._crowded = False
        self._ended = 0.0

    def should_gather(self, now: float) -> bool:
        """Whether an item that comes now, by `time.perf_counter`, should wait for its neighbours."""
        return self._limit > 1 and (self._crowded or now - self._ended < _BACK_TO_BACK_SECONDS)

    def note_end(self, now: float) -> None:
        """Note that an item was run alone, and ended now, by `time.perf_counter`."""
        self._ended = now

    def add(self, item: Item) -> asyncio.Future[Result]:
        """Run it with the others of this turn."""
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, result))
        if len(self._waiting) == 1:
            loop.call_soon(self._flush)
        elif len(self._waiting) >= self._limit:
            self._flush()
        return result

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return  # the limit was reached within the turn
        self._crowded = len(waiting) > 1
        for (_, future), result in zip(waiting, self._run([item for item, _ in waiting]), strict=True):
            if not future.done():
                future.set_result(result)
