"""Predictions that take too long for the event loop: a few threads, a bounded queue before them, and a deadline.

ONNX Runtime lets other threads run while it computes, so health, metrics and small requests are answered meanwhile.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from time import perf_counter
from typing import Generic, TypeVar

from sabia.serving.errors import DeadlineExceeded, Overloaded

Result = TypeVar("Result")
_DEADLINE = ContextVar("deadline", default=math.inf)


class Pool(Generic[Result]):
    """Threads for work that returns one kind of result.

    Attributes:
        open: number of pieces of work that wait or run.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="prediction")
        self._room = threads + queue
        self.open = 0

    def submit(
        self,
        work: Callable[[], Result],
        deadline: float,
        finish: Callable[[Result | BaseException], Result],
        late: Callable[[Result], object] = lambda _: None,
    ) -> asyncio.Future[Result]:
        """Do work in a thread.

        Args:
            work: what to do.
            deadline: by `time.perf_counter`; past it, work that has not begun is dropped.
            finish: makes the result, on the loop, of what work returned or raised; DeadlineExceeded when it did neither
                in time. Must not raise.
            late: gets, on the loop, what work returned after the deadline, when `finish` had been called already.

        Raises:
            Overloaded: too many wait already.
        """
        if self.open >= self._room:
            raise Overloaded
        loop = asyncio.get_running_loop()
        result: asyncio.Future[Result] = loop.create_future()

        def resolve(outcome: Result | BaseException) -> None:
            if not result.done():
                timer.cancel()
                result.set_result(finish(outcome))

        def expire() -> None:
            working.cancel()
            resolve(DeadlineExceeded())

        def done(future: Future[Result]) -> None:
            self.open -= 1
            if not future.cancelled():
                error = future.exception()
                if error is None and result.done():
                    late(future.result())
                resolve(future.result() if error is None else error)

        self.open += 1
        working = self._executor.submit(partial(_in_time, work, deadline))
        timer = loop.call_later(max(0.0, deadline - perf_counter()), expire)
        working.add_done_callback(lambda future: _on_loop(loop, partial(done, future)))
        return result

    def close(self) -> None:
        """Take no more work, and do not wait for what is running."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def check_deadline() -> None:
    """Raise DeadlineExceeded if the work of this thread is late; long work that calls it ends early."""
    if perf_counter() > _DEADLINE.get():
        raise DeadlineExceeded


def _in_time(work: Callable[[], Result], deadline: float) -> Result:
    _DEADLINE.set(deadline)  # of this thread alone
    check_deadline()
    return work()


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
