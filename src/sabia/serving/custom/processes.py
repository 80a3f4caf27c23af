"""The processes of one model, as the server sees them: which gets the next request, and what becomes of one that fails.

A request goes to the process with the fewest, while that has room; the others wait, in the order in which they came. A
process that sends no heartbeat for `stuck_seconds` is killed; one that has grown past `model_memory_bytes` gets no more
requests and ends after its last; one that ends is replaced. The request that a process was executing when it ended gets
a 500. The others are sent again, up to `_MOST_TRIES` times.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from time import monotonic, perf_counter

from sabia.serving.custom import frames
from sabia.serving.custom.frames import Call, Reply, Started
from sabia.serving.custom.spawner import Ended, Spawner
from sabia.serving.errors import DeadlineExceeded, LoadFailed, ModelFailed, NotReady, Overloaded, RequestError
from sabia.serving.http.messages import Response

logger = logging.getLogger("sabia.predictor")

_MOST_TRIES = 3
# How much work one process may have before it, when its model takes one request at a time.
_WINDOW_SECONDS = 0.002
_SMALLEST_WINDOW, _LARGEST_WINDOW = 2, 64
# A process that dies at once would die again at once: its replacement waits, each time twice as long.
_SHORT_LIFE_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 30.0
# How long requests wait for a replacement before the server says that it is not ready.
_REPLACEMENT_SECONDS = 2.0
_PAGE = resource.getpagesize()

Finish = Callable[[Reply | RequestError], Response]
DIED, STUCK, LEAKED = "died", "stuck", "leaked"


@dataclass(eq=False, slots=True)
class _Pending:
    """A request without a reply."""

    call: Call
    finish: Finish
    result: asyncio.Future[Response]
    due: dict[int, _Pending]
    deadline: float
    timer: asyncio.TimerHandle | None = None
    tries: int = 0
    process: _Process | None = None

    def resolve(self, outcome: Reply | RequestError) -> None:
        """Respond, unless that was done."""
        if self.timer is not None:
            self.timer.cancel()
        else:
            self.due.pop(self.call.number, None)
        if not self.result.done():
            self.result.set_result(self.finish(outcome))


@dataclass(eq=False, slots=True)
class _Process:
    """One process of the model."""

    slot: int
    connection: socket.socket
    since: float = field(default_factory=monotonic)
    ready: bool = False
    retiring: bool = False
    reason: str = DIED
    pid: int = 0
    open: dict[int, _Pending] = field(default_factory=dict)
    transport: asyncio.Transport | None = None
    outgoing: bytearray = field(default_factory=bytearray)
    beats: int = 0
    last_beat: float = field(default_factory=monotonic)
    seconds: float = 0.0  # that a request takes, smoothed


class Processes:
    """The processes of one model.

    Args:
        spawner: starts them.
        model: the model's place in the spawner's list.
        wanted: how many there should be.
        queue: requests that may wait for one.
        stuck_seconds: time without a heartbeat after which a process is killed.
        memory_bytes: resident memory past which a process is replaced; None without a bound.
    """

    def __init__(
        self,
        spawner: Spawner,
        model: int,
        *,
        wanted: int,
        queue: int,
        stuck_seconds: float,
        memory_bytes: int | None,
    ) -> None:
        self._spawner, self._model = spawner, model
        self.name = spawner.models[model][0]
        self._wanted, self._queue = wanted, queue
        self._stuck_seconds, self._memory_bytes = stuck_seconds, memory_bytes
        self._processes: dict[int, _Process] = {}  # by slot
        self._waiting: deque[_Pending] = deque()
        self._numbers = count(1)
        # Of requests whose deadlines ascend, as nearly all do: one timer for all of them is cheaper than one each.
        self._due: dict[int, _Pending] = {}
        self._last_deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._pause, self._not_before = 0.0, 0.0
        self._last_ready = monotonic()
        self._closing = False
        self._connecting: set[asyncio.Task[None]] = set()
        self.on_end: Callable[[str], None] = lambda _: None
        self.started = Started()

    # -- before the event loop ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all processes, and wait until they are ready. Blocks.

        Raises:
            LoadFailed: one cannot load the model.
        """
        for _ in range(self._wanted):
            self._spawn()
        try:
            self._wait()
        except LoadFailed:
            for process in self._processes.values():
                process.connection.close()
            raise

    def _wait(self) -> None:
        for process in self._processes.values():
            splitter = frames.Splitter()
            message: bytes | bytearray | None = None
            while message is None:
                data = process.connection.recv(64 * 1024)
                if not data:
                    raise LoadFailed(f"the process of model {self.name!r} ended while it loaded.")
                message = next(splitter.feed(data), None)
            self.started = frames.decode_started(message)
            if self.started.problem:
                raise LoadFailed(self.started.problem)
            process.ready, process.pid = True, self.started.pid

    # -- on the event loop -------------------------------------------------------------------------------------------

    async def attach(self) -> None:
        """Begin to send requests to the processes."""
        self._spawner.watch(self.has_ended)
        for process in list(self._processes.values()):
            await self._connect(process)

    @property
    def open(self) -> int:
        """How many requests have no response yet."""
        return len(self._waiting) + sum(len(process.open) for process in self._processes.values())

    @property
    def healthy(self) -> bool:
        """Whether a process is ready, and its model says that it is; also while the only one is being replaced."""
        ready = [slot for slot, process in self._processes.items() if process.ready]
        if ready:
            self._last_ready = monotonic()
            return any(self._spawner.slots.healthy(slot) for slot in ready)
        return monotonic() - self._last_ready < _REPLACEMENT_SECONDS

    def submit(
        self,
        kind: int,
        headers: dict[bytes, bytes],
        body: bytes,
        deadline: float,
        finish: Finish,
        *,
        keep: bool = False,
    ) -> asyncio.Future[Response]:
        """Have a process answer a request.

        Args:
            kind: of the call.
            headers: of the request.
            body: of the request.
            deadline: by `time.perf_counter`; past it, `finish` gets DeadlineExceeded.
            finish: makes the response, on the loop, of the reply or the error. Must not raise.
            keep: whether the inference log keeps it.

        Raises:
            Overloaded: too many wait already.
        """
        loop = asyncio.get_running_loop()
        call = Call(next(self._numbers), kind, headers, body, keep)
        pending = _Pending(call, finish, loop.create_future(), self._due, deadline)
        process = None if self._waiting else self._free_process()
        if process is None and len(self._waiting) >= self._queue:
            raise Overloaded
        self._time(pending, loop)
        if process is None:
            self._waiting.append(pending)
        else:
            self._send(process, pending)
        return pending.result

    def tick(self) -> None:
        """Check every process, and start those that are missing; called about twice a second."""
        now = monotonic()
        for process in list(self._processes.values()):
            self._check(process, now)
        missing = self._wanted - sum(process.reason != LEAKED for process in self._processes.values())
        if now < self._not_before or self._closing:
            return
        for _ in range(missing):
            started = self._spawn()
            if started is not None:
                task = asyncio.get_running_loop().create_task(self._connect(started))
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    def _check(self, process: _Process, now: float) -> None:
        if not process.ready:
            return
        beats = self._spawner.slots.beats(process.slot)
        if beats != process.beats:
            process.beats, process.last_beat = beats, now
        elif now - process.last_beat > self._stuck_seconds and process.reason != STUCK:
            process.reason = STUCK
            self._spawner.kill(process.slot)
        if process.reason == DIED and self._has_leaked(process):
            logger.warning("a process of model %s has grown too large; another takes its place", self.name)
            process.reason = LEAKED  # it serves until its replacement is ready
        if process.retiring and not process.open:
            self._end(process)

    def has_ended(self, ended: Ended) -> bool:
        """Handle the end of a process; False if it is not one of these."""
        process = self._processes.pop(ended.slot, None)
        if process is None:
            return False
        executing = self._spawner.slots.executing(ended.slot)
        self._spawner.slots.release(ended.slot)
        if process.transport is not None:
            process.transport.abort()
        if not self._closing:
            if not process.retiring:
                self._note_death(process, ended.code)
            self.on_end(process.reason)
        self._send_again(process, executing)
        return True

    def close(self) -> None:
        """End every process; what has no response gets an error."""
        self._closing = True
        self._spawner.unwatch()
        if self._timer is not None:
            self._timer.cancel()
        sent = [pending for process in self._processes.values() for pending in process.open.values()]
        for pending in [*self._waiting, *sent]:
            pending.resolve(NotReady(self.name))
        self._waiting.clear()
        for process in self._processes.values():
            self._end(process)

    # -- requests ----------------------------------------------------------------------------------------------------

    def _free_process(self) -> _Process | None:
        """The process with the fewest requests, if it has room."""
        best: _Process | None = None
        for process in self._processes.values():
            if process.ready and not process.retiring and (best is None or len(process.open) < len(best.open)):
                best = process
        return best if best is not None and len(best.open) < self._window(best) else None

    def _window(self, process: _Process) -> int:
        if self.started.concurrent or not process.seconds:
            return _LARGEST_WINDOW if self.started.concurrent else _SMALLEST_WINDOW
        return max(_SMALLEST_WINDOW, min(_LARGEST_WINDOW, int(_WINDOW_SECONDS / process.seconds)))

    def _send(self, process: _Process, pending: _Pending) -> None:
        pending.process = process
        pending.tries += 1
        process.open[pending.call.number] = pending
        self._write(process, pending.call)

    def _write(self, process: _Process, call: Call) -> None:
        """Write a call, together with the others of this turn of the event loop."""
        if not process.outgoing:
            asyncio.get_running_loop().call_soon(self._flush, process)
        frames.append(process.outgoing, call)

    def _flush(self, process: _Process) -> None:
        data, process.outgoing = process.outgoing, bytearray()
        if process.transport is not None:
            process.transport.write(data)

    def _send_waiting(self) -> None:
        while self._waiting:
            process = self._free_process()
            if process is None:
                return
            pending = self._waiting.popleft()
            if not pending.result.done():
                self._send(process, pending)

    def _time(self, pending: _Pending, loop: asyncio.AbstractEventLoop) -> None:
        if pending.deadline < self._last_deadline:
            delay = max(0.0, pending.deadline - perf_counter())
            pending.timer = loop.call_later(delay, partial(self._expire, pending))
            return
        self._last_deadline = pending.deadline
        self._due[pending.call.number] = pending
        if self._timer is None:
            self._timer = loop.call_later(max(0.0, pending.deadline - perf_counter()), self._expire_due)

    def _expire_due(self) -> None:
        """Expire what is due, and wait for the next."""
        self._timer = None
        while self._due:
            first = next(iter(self._due.values()))
            left = first.deadline - perf_counter()
            if left > 0:
                self._timer = asyncio.get_running_loop().call_later(left, self._expire_due)
                return
            self._expire(first)

    def _expire(self, pending: _Pending) -> None:
        pending.resolve(DeadlineExceeded())
        process = pending.process
        if process is not None and process.transport is not None and pending.call.number in process.open:
            self._write(process, Call(pending.call.number, frames.CANCEL))
        else:
            self._forget(pending)

    def _forget(self, pending: _Pending) -> None:
        if pending in self._waiting:
            self._waiting.remove(pending)

    def _received(self, process: _Process, message: bytes | bytearray) -> None:
        if not process.ready:
            self._ready(process, frames.decode_started(message))
            return
        reply = frames.decode_reply(message)
        pending = process.open.pop(reply.number, None)
        took = sum(reply.seconds)
        process.seconds = took if not process.seconds else 0.9 * process.seconds + 0.1 * took
        if pending is not None:
            pending.resolve(reply)

    def _ready(self, process: _Process, started: Started) -> None:
        if started.problem:
            logger.error("model %s: %s", self.name, started.problem)
            return  # it ends next
        process.ready, process.pid = True, started.pid
        process.last_beat = monotonic()
        for other in self._processes.values():
            if other.reason == LEAKED and not other.retiring:
                other.retiring = True  # it ends after its last request
                break
        logger.info("a process of model %s is ready", self.name)

    def _send_again(self, process: _Process, executing: int) -> None:
        """Send what a process leaves behind to another; the request that it was executing fails."""
        left = sorted(process.open.values(), key=lambda pending: pending.call.number, reverse=True)
        for pending in left:
            pending.process = None
            if pending.result.done():
                continue
            if pending.call.number == executing or pending.tries >= _MOST_TRIES or self._closing:
                pending.resolve(ModelFailed())
            else:
                self._waiting.appendleft(pending)
        process.open.clear()
        self._send_waiting()

    # -- processes ---------------------------------------------------------------------------------------------------

    def _spawn(self) -> _Process | None:
        slot = self._spawner.slots.take()
        if slot is None:
            return None
        process = _Process(slot, self._spawner.start(self._model, slot))
        self._processes[slot] = process
        return process

    async def _connect(self, process: _Process) -> None:
        process.connection.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(partial(_Connection, self, process), sock=process.connection)
        process.transport = transport
        process.last_beat = monotonic()
        self._send_waiting()

    def _has_leaked(self, process: _Process) -> bool:
        if self._memory_bytes is None or not process.pid or process.retiring:
            return False
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            return False
        return pages * _PAGE > self._memory_bytes

    def _note_death(self, process: _Process, code: int) -> None:
        how = "hung" if process.reason == STUCK else _exit_reason(code)
        logger.warning("a process of model %s %s; another takes its place", self.name, how)
        if monotonic() - process.since < _SHORT_LIFE_SECONDS:
            self._pause = min(max(1.0, 2 * self._pause), _LONGEST_PAUSE_SECONDS)
            self._not_before = monotonic() + self._pause
        else:
            self._pause = 0.0

    def _end(self, process: _Process) -> None:
        """Have a process end after what it has begun."""
        if process.transport is not None:
            process.transport.close()
        else:
            process.connection.close()


class _Connection(asyncio.Protocol):
    """The server's end of one process's connection."""

    def __init__(self, processes: Processes, process: _Process) -> None:
        self._processes, self._process = processes, process
        self._splitter = frames.Splitter()

    def data_received(self, data: bytes) -> None:
        for message in self._splitter.feed(data):
            self._processes._received(self._process, message)  # noqa: SLF001  two halves of one
        self._processes._send_waiting()  # noqa: SLF001


def _exit_reason(code: int) -> str:
    return f"ended with {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
