"""One process of a model: it loads the model, then answers the calls that the server sends it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Awaitable
from functools import partial
from time import perf_counter
from typing import Any, cast

import msgspec
import uvloop

from sabia.contract.signature import Signature
from sabia.contract.signature import check as check_signature
from sabia.serving.custom import frames, sources
from sabia.serving.custom.artifact import ArtifactModel
from sabia.serving.custom.frames import Call, Reply, Started, Tensor
from sabia.serving.custom.handler import Handler, failed
from sabia.serving.custom.slots import Slots
from sabia.serving.custom.steps import Steps, continued
from sabia.serving.errors import DeadlineExceeded

logger = logging.getLogger("sabia.predictor")

_BEAT_SECONDS = 0.25
# How long a model may take to say whether it is ready.
_HEALTH_SECONDS = 5.0
# How long calls are answered in a row before the server gets the replies, and the event loop its turn.
_TURN_SECONDS = 0.0005


def run(
    model: Any, label: str, identity: tuple[str, str], connection: socket.socket, slots: Slots, slot: int, most: int
) -> None:
    """Load the model and answer calls until the server closes the connection; `most` bounds a response, in bytes."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        started = _load(model, label, runner)
        connection.sendall(frames.encode(started))
        if not started.problem:
            handler = Handler(model, *identity, most, slots.note(slot), started.signature)
            runner.run(_serve(model, handler, connection, slots, slot))


def _load(model: Any, label: str, runner: asyncio.Runner) -> Started:
    """Load a model as its own server would, unless that is done."""
    step = "cannot be loaded"
    try:
        _use_v1()
        if not getattr(model, "ready", False) and hasattr(model, "load"):
            outcome = model.load()
            if inspect.isawaitable(outcome):
                outcome = runner.run(_result(outcome))
            if not (outcome or getattr(model, "ready", False)):
                return Started(problem=f"{label}.load() did not make the model ready.")
        if hasattr(model, "start"):
            model.start()
        step = "cannot describe its inputs and outputs"
        inputs, outputs = (_tensors(model, name, runner) for name in ("get_input_types", "get_output_types"))
        step = "cannot use its signature"
        signature = _signature(model)
    except Exception as error:  # noqa: BLE001  whatever it is, the server says it
        return Started(problem=sources.blame(label, step, error))
    return Started(
        pid=os.getpid(),
        concurrent=Steps(model).awaits,
        inputs=inputs,
        outputs=outputs,
        signature=signature,
        content_digest=model.content_digest if isinstance(model, ArtifactModel) else "",
    )


def _signature(model: Any) -> Signature | None:
    """The signature that a class declares; an attribute of that name and of another type is the class's own matter.

    Raises:
        InvalidSignature: with what is wrong with it.
    """
    signature = getattr(model, "signature", None)
    if not isinstance(signature, Signature):
        return None
    check_signature(signature)
    return signature


def _use_v1() -> None:
    """Configure KServe's SDK, where a model has imported it, as its server does by default."""
    context, config = sys.modules.get("kserve.context"), sys.modules.get("kserve.predictor_config")
    if context is not None and config is not None and context.get_predictor_config() is None:
        context.set_predictor_config(config.PredictorConfig(None))


async def _result(outcome: Any) -> Any:
    return await outcome


def _tensors(model: Any, name: str, runner: asyncio.Runner) -> list[Tensor]:
    if not hasattr(model, name):
        return []
    outcome = getattr(model, name)()
    if inspect.isawaitable(outcome):
        outcome = runner.run(_result(outcome))
    return msgspec.convert(outcome or [], list[Tensor])


class _Calls(asyncio.Protocol):
    """The server's calls, in their order.

    Where the model awaits, each is a task of its own; elsewhere a task is made only for a call that waits after all.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._splitter = frames.Splitter()
        self._calls: deque[Call] = deque()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._going_on = False
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for message in self._splitter.feed(data):
            call = frames.decode_call(message)
            if call.kind == frames.CANCEL:
                self._cancel(call.number)
            else:
                self._calls.append(call)
        if not self._going_on:
            self._answer()

    def connection_lost(self, reason: Exception | None) -> None:
        del reason
        self._calls.clear()
        if not self.ended.done():
            self.ended.set_result(None)

    def _answer(self) -> None:
        """Answer the calls that arrived; what is written reaches the server when this returns."""
        self._going_on = False
        until = perf_counter() + _TURN_SECONDS
        replies = bytearray()
        while self._calls:
            call = self._calls.popleft()
            work = self._handler.reply(call)
            if self._handler.awaits:
                self._tasks[call.number] = self._loop.create_task(self._finish(call.number, work))
                continue
            try:
                waited = work.send(None)
            except StopIteration as end:
                frames.append(replies, end.value)
            except BaseException as error:  # noqa: BLE001  the model raised something that ends no process of its own
                frames.append(replies, failed(call.number, error))
            else:
                self._tasks[call.number] = self._loop.create_task(self._finish(call.number, continued(work, waited)))
            if self._calls and perf_counter() > until:
                self._going_on = True
                self._loop.call_soon(self._answer)
                break
        if replies:
            self._transport.write(replies)

    def _cancel(self, number: int) -> None:
        task = self._tasks.get(number)
        if task is not None:
            task.cancel()
            return
        for call in self._calls:
            if call.number == number:
                self._calls.remove(call)
                self._transport.write(frames.encode(_cancelled(number)))
                return

    async def _finish(self, number: int, work: Awaitable[Reply]) -> None:
        try:
            try:
                reply = await work
            except BaseException as error:  # noqa: BLE001  beside a cancellation, what the model itself raised
                task = self._tasks.get(number)
                expired = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
                reply = _cancelled(number) if expired else failed(number, error)
            self._transport.write(frames.encode(reply))
        finally:
            del self._tasks[number]


def _cancelled(number: int) -> Reply:
    """The client has its response; the server learns that this process has room again."""
    return Reply(number, DeadlineExceeded.http_status, b"")


async def _serve(model: Any, handler: Handler, connection: socket.socket, slots: Slots, slot: int) -> None:
    loop = asyncio.get_running_loop()
    engine = loop.create_task(_result(model.start_engine())) if getattr(model, "engine", False) else None
    connection.setblocking(False)
    _, protocol = await loop.create_connection(partial(_Calls, handler), sock=connection)
    beating = loop.create_task(_beat(model, slots, slot))
    await protocol.ended
    beating.cancel()
    for name in ("stop", "stop_engine") if engine is not None else ("stop",):
        with contextlib.suppress(Exception):
            getattr(model, name)()


async def _beat(model: Any, slots: Slots, slot: int) -> None:
    while True:
        slots.beat(slot, healthy=await _healthy(model))
        await asyncio.sleep(_BEAT_SECONDS)


async def _healthy(model: Any) -> bool:
    """Whether the model says that it is ready."""
    check = getattr(model, "healthy", None)
    if check is None:
        return True
    try:
        return bool(await asyncio.wait_for(_result(check()), _HEALTH_SECONDS))
    except Exception:
        logger.exception("the model cannot say whether it is ready")
        return False


def leave(status: int) -> None:
    """End this process without what its parent had planned for its own end."""
    with contextlib.suppress(Exception):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def ignore_signals() -> None:
    """Leave signals of a terminal to the server, which closes the connection."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
