"""The folder of a stack: a lock that its holder keeps, and a file that describes it to other processes."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from sabia.folders import private
from sabia.kubernetes.specs import RouteSpec
from sabia.local.envoy import Gateway
from sabia.local.errors import AlreadyRunning, ModelNotServed, ModelUnnamed, NotRunning, NotStarted
from sabia.local.identity import started_at
from sabia.local.objectstore import Access

STATE_FILE = "stack.json"
_LOCK_FILE = "lock"


class Server(msgspec.Struct, frozen=True):
    """A predictor of a running stack."""

    name: str
    model: str
    version: str
    service: str
    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Served:
    """One model of a running stack: its route as the stack was started, and its predictors."""

    model: str
    route: RouteSpec
    servers: list[Server]


class State(msgspec.Struct, frozen=True):
    """A running stack, as other processes find it. It contains the store's secret; only its owner can read the file.

    `pid` and `started` mean its holder, see `sabia.local.identity`; `routes` is by model. A stack that is a store alone
    has no routes, and its ports of a gateway are 0.
    """

    pid: int
    endpoint: str
    key: str
    secret: str
    gateway_port: int
    admin_port: int
    servers: list[Server]
    routes: dict[str, RouteSpec]
    started: str = ""

    @property
    def access(self) -> Access:
        """How to reach the store."""
        return Access(self.endpoint, self.key, self.secret)

    def served(self, model: str | None = None) -> Served:
        """One model; None is the only one.

        Raises:
            ModelUnnamed: none is named, and there are several.
            ModelNotServed: there is no such model, or none at all.
        """
        if model is None and len(self.routes) > 1:
            raise ModelUnnamed(self.routes)
        name = model if model is not None else next(iter(self.routes), None)
        if name is None or name not in self.routes:
            raise ModelNotServed(name, self.routes)
        return Served(name, self.routes[name], [server for server in self.servers if server.model == name])


def prepare(folder: Path) -> None:
    """Make the folder of a stack, for its user alone: it holds the objects, the log and the store's secret.

    Raises:
        NotStarted: it is another user's, or cannot be made.
    """
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        private(folder.resolve())
    except OSError as error:
        raise NotStarted("its folder belongs to another user, or cannot be written") from error


def write(folder: Path, state: State) -> None:
    """Write the state, readable by its owner alone."""
    draft = folder / f"{STATE_FILE}.new"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.encode(state))
    draft.replace(folder / STATE_FILE)


def remove(folder: Path) -> None:
    """Remove the state: from now on no other process uses this stack."""
    (folder / STATE_FILE).unlink(missing_ok=True)


def running(folder: Path) -> State:
    """The state of the stack that runs in `folder`.

    Raises:
        NotRunning: none does; a state file whose writer has ended, or that no release wrote, does not count.
    """
    if not is_held(folder):
        raise NotRunning
    try:
        found = msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=State)
    except (FileNotFoundError, msgspec.MsgspecError) as error:
        raise NotRunning from error
    if started_at(found.pid) != found.started:
        raise NotRunning
    return found


def is_held(folder: Path) -> bool:
    """Whether a stack runs, starts or stops in `folder`."""
    try:
        lock(folder).close()
    except AlreadyRunning:
        return True
    except FileNotFoundError:
        return False
    return False


def gateway_of(folder: Path, state: State) -> Gateway:
    """The gateway of a running stack."""
    return Gateway(folder=folder.resolve() / "envoy", port=state.gateway_port, admin_port=state.admin_port)


def lock(folder: Path) -> IO[bytes]:
    """Take the folder for a stack; closing the file gives it back.

    Raises:
        AlreadyRunning: another stack holds it.
    """
    # The kernel gives the lock back when its holder ends, however it ends; a process id in a file would not.
    file = (folder / _LOCK_FILE).open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise AlreadyRunning from error
    return file
