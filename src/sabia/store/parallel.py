"""Requests to a store in parallel: most of a request's time is waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

REQUESTS = 128

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The result for each item, in their order; at most `REQUESTS` calls are under way at a time.

    Raises:
        Exception: the first error of a call, in the order of the items; calls that have not begun are not made.
    """
    if len(items) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(REQUESTS, len(items)), thread_name_prefix="store") as threads:
        calls = [threads.submit(function, item) for item in items]
        try:
            return [call.result() for call in calls]
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
