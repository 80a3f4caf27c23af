"""The process that starts the processes of a model.

To fork is safe only from a process with one thread, and the server has others: its log's, and those of libraries. So a
process is forked from the server before any of them exists, makes the models there, and forks once for each process
that the server asks for; what models share is then in memory once. It ends with the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sabia.serving.custom import sources, worker
from sabia.serving.custom.slots import Slots
from sabia.serving.custom.sources import Source
from sabia.serving.errors import LoadFailed

logger = logging.getLogger("sabia.predictor")

_PR_SET_PDEATHSIG = 1
_MESSAGE_BYTES = 64 * 1024


class Made(msgspec.Struct):
    """The first message: the names and versions of the models, or why there are none."""

    models: list[tuple[str, str]] = []
    problem: str = ""


class Start(msgspec.Struct, tag=True):
    """Start a process of a model; its end of the connection comes with the message."""

    model: int
    slot: int


class Kill(msgspec.Struct, tag=True):
    """Kill the process in a slot."""

    slot: int


class Ended(msgspec.Struct):
    """A process has ended, with a code as `subprocess` gives it."""

    slot: int
    code: int


class Spawner:
    """The server's end.

    Attributes:
        models: name and version of each model.
    """

    def __init__(self, made: Sequence[Source], version: str | None, slots: Slots, most_bytes: int) -> None:
        self.slots = slots
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        with warnings.catch_warnings():
            # A program that serves an object of its own may have threads; they are not in the child.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            self.connection.close()
            _die_with(parent)
            _Child(theirs, slots, most_bytes).run(made, version)
        self.pid = pid
        theirs.close()
        first = msgspec.json.decode(self.connection.recv(_MESSAGE_BYTES) or b"{}", type=Made)
        if not first.models:
            self.close()
            raise LoadFailed(first.problem or "the process that was to make the model died.")
        self.models = first.models
        self._watchers: list[Callable[[Ended], bool]] = []

    def watch(self, watcher: Callable[[Ended], bool]) -> None:
        """Have a function called, on the loop, with each process that ends, until one returns True."""
        if not self._watchers:
            asyncio.get_running_loop().add_reader(self.connection, self._readable)
        self._watchers.append(watcher)

    def unwatch(self) -> None:
        """Watch no more; called on the loop."""
        if self._watchers:
            self._watchers.clear()
            asyncio.get_running_loop().remove_reader(self.connection)

    def start(self, model: int, slot: int) -> socket.socket:
        """Start a process of a model, and return the server's end of its connection."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.connection, [msgspec.json.encode(Start(model, slot))], [theirs.fileno()])
        return ours

    def kill(self, slot: int) -> None:
        """Kill the process in a slot."""
        self.connection.send(msgspec.json.encode(Kill(slot)))

    def _readable(self) -> None:
        data = self.connection.recv(_MESSAGE_BYTES)
        if data:
            ended = msgspec.json.decode(data, type=Ended)
            any(watcher(ended) for watcher in self._watchers)
        else:
            asyncio.get_running_loop().remove_reader(self.connection)
            logger.error("the process that starts the others has ended; stopping")
            os.kill(os.getpid(), signal.SIGTERM)

    def close(self) -> None:
        """Kill what still runs, and end."""
        # An event loop that watched it may hold the socket open.
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _Child:
    """The process itself."""

    def __init__(self, connection: socket.socket, slots: Slots, most_bytes: int) -> None:
        self._connection, self._slots, self._most_bytes = connection, slots, most_bytes
        self._processes: dict[int, int] = {}  # the slot of each process

    def run(self, made: Sequence[Source], version: str | None) -> None:
        """Make the models, then start and reap processes until the server closes the connection."""
        status = 1
        try:
            worker.ignore_signals()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            self._labels = [each.label for each in made]
            self._models, first = _make(made, version)
            self._identities = first.models
            self._connection.send(msgspec.json.encode(first))
            if not first.problem:
                self._listen()
            status = 0
        except BaseException:  # noqa: BLE001  nothing of the parent's may run here
            traceback.print_exc()
        finally:
            for slot in list(self._processes.values()):
                self._kill(slot)
            worker.leave(status)

    def _listen(self) -> None:
        gc.collect()
        gc.freeze()
        wakeup, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            ready, _, _ = select.select([self._connection.fileno(), wakeup], [], [])
            if wakeup in ready:
                os.read(wakeup, 4096)
                self._reap()
            if self._connection.fileno() in ready:
                try:
                    data, fds, _, _ = socket.recv_fds(self._connection, _MESSAGE_BYTES, 1)
                except ConnectionResetError:  # the server has left without reading the last message
                    return
                if not data:
                    return
                message = msgspec.json.decode(data, type=Start | Kill)
                if isinstance(message, Start):
                    self._start(message, socket.socket(fileno=fds[0]))
                else:
                    self._kill(message.slot)

    def _start(self, start: Start, connection: socket.socket) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            self._processes[pid] = start.slot
            connection.close()
            return
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._connection.close()
            os.setpgid(0, 0)  # what the code starts ends with it
            _die_with(parent)
            model, label = self._models[start.model], self._labels[start.model]
            identity = self._identities[start.model]
            worker.run(model, label, identity, connection, self._slots, start.slot, self._most_bytes)
            status = 0
        except BaseException:  # noqa: BLE001  nothing of the parent's may run here
            traceback.print_exc()
        finally:
            worker.leave(status)

    def _kill(self, slot: int) -> None:
        for pid, each in self._processes.items():
            if each == slot:
                os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _reap(self) -> None:
        for pid in list(self._processes):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                slot = self._processes.pop(pid)
                with contextlib.suppress(BrokenPipeError):  # the server has left; its end of file is next
                    self._connection.send(msgspec.json.encode(Ended(slot, os.waitstatus_to_exitcode(status))))


def _make(made: Sequence[Source], version: str | None) -> tuple[list[Any], Made]:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, "")  # a team's module is where the command is run
    models: list[Any] = []
    identities: list[tuple[str, str]] = []
    for source in made:
        try:
            model = source.make()
            identities.append(sources.identity(model, source.label, version))
        except BaseException as error:  # noqa: BLE001  a module may even exit
            return [], Made(problem=sources.blame(source.label, "cannot be made", error))
        models.append(model)
    names = [name for name, _ in identities]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        return [], Made(problem=f"two models are called {twice!r}.")
    return models, Made(models=identities)


def _die_with(parent: int) -> None:
    """End when the parent does."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
