"""The platform on one machine: a store, a predictor for each version that the routes name, and the gateway."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from sabia.kubernetes import manifests
from sabia.local import state
from sabia.local.composition import Serving, compose
from sabia.local.envoy import Envoy, Gateway
from sabia.local.identity import started_at
from sabia.local.objectstore import Access, ObjectStore
from sabia.local.predictors import PredictorServer
from sabia.local.process import Process
from sabia.local.state import Server, State

_STOP_SECONDS = 10.0

Log = Callable[[str], None]

_AS_WRITTEN = Serving()


class Stack:
    """A platform in `folder`, from the manifests in `root` (None: from `serving` alone), for one or several models.

    A context manager: leaving it ends every process.

    Raises:
        AlreadyRunning: on entering, when another stack holds the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        root: Path | None = manifests.ROOT,
        serving: Serving = _AS_WRITTEN,
        log: Log = lambda _: None,
    ) -> None:
        self.folder = folder.resolve()
        self.logs = self.folder / "logs"
        self.root = root
        composition = compose(root, serving)
        self.routes, self.specs = composition.routes, composition.specs
        self._log = log
        self._lock: IO[bytes] | None = None
        self._processes: list[Process] = []
        self.servers: list[PredictorServer] = []
        self.access: Access | None = None
        self.gateway: Gateway | None = None

    @property
    def model(self) -> str:
        """The first model that it serves: that of the first route."""
        return next(iter(self.routes))

    def __enter__(self) -> Self:
        state.prepare(self.folder)
        self._lock = state.lock(self.folder)
        # What a holder that was killed left behind describes a stack that is gone.
        state.remove(self.folder)
        for old in self.logs.glob("*.log"):
            old.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_store(self) -> Access:
        """Start the object store and return how to reach it."""
        self._log("starting the object store (SeaweedFS)")
        store = ObjectStore(self.folder / "objects", self.logs)
        self._processes.append(store.process)
        store.wait_until_ready()
        self.access = store.access
        return store.access

    def start_predictors(self) -> None:
        """Bring each version that the routes name from the store and serve it.

        Raises:
            DownloadFailed, ProcessFailed: one of them could not.
        """
        if self.access is None:
            raise RuntimeError("start_store() comes before start_predictors()")
        folder = self.folder / "models"
        self.servers = [
            PredictorServer(spec, folder=folder, logs=self.logs, access=self.access) for spec in self.specs.values()
        ]
        for step in (PredictorServer.download, PredictorServer.start, PredictorServer.wait_until_ready):
            for server in self.servers:
                if step is PredictorServer.start:
                    self._log(f"serving {server.spec.model} {server.spec.version} from {server.spec.storage_uri}")
                step(server)

    def start_gateway(self) -> Gateway:
        """Start Envoy on the routes, write the state down, and return the gateway."""
        self._log("starting the gateway (Envoy)")
        backends = {server.spec.service: (server.spec, server.ports) for server in self.servers}
        envoy = Envoy(self.folder / "envoy", self.logs, backends=backends, routes=list(self.routes.values()))
        self._processes.append(envoy.process)
        envoy.wait_until_ready()
        self.gateway = envoy.gateway
        self.write_state()
        return envoy.gateway

    @property
    def processes(self) -> list[Process]:
        """Every child that was started and not yet stopped."""
        return [*self._processes, *(process for server in self.servers for process in server.processes)]

    def stop(self) -> None:
        """End every process by the steps of `_STOP`, and give the folder back."""
        for step in _STOP:
            step(self)

    def _leave(self) -> None:
        """Let no other process find the stack."""
        state.remove(self.folder)

    def _stop_gateway(self) -> None:
        """Stop the gateway first: clients get no response rather than an error of a server that is gone."""
        for process in reversed(self._processes[1:]):
            process.stop(seconds=_STOP_SECONDS)

    def _stop_predictors(self) -> None:
        """Stop the predictors, all at once; they still write the rest of their log to the store."""
        processes = [process for server in self.servers for process in server.processes]
        for process in processes:
            process.ask_to_stop()
        for process in processes:
            process.stop(seconds=_STOP_SECONDS)
        self.servers = []

    def _stop_store(self) -> None:
        """Stop the object store, which the others have used until now."""
        for process in self._processes[:1]:
            process.stop(seconds=_STOP_SECONDS)
        self._processes = []

    def _unlock(self) -> None:
        """Give the folder back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def write_state(self) -> None:
        """Let other processes find the stack; without a gateway it is a store alone."""
        if self.access is None:
            raise RuntimeError("the store comes before the state")
        servers = [
            Server(process.name, server.spec.model, server.spec.version, server.spec.service, url, process.pid)
            for server in self.servers
            for process, url in zip(server.replicas, server.urls, strict=True)
        ]
        found = State(
            pid=os.getpid(),
            started=started_at(os.getpid()) or "",
            endpoint=self.access.endpoint,
            key=self.access.key,
            secret=self.access.secret,
            gateway_port=self.gateway.port if self.gateway else 0,
            admin_port=self.gateway.admin_port if self.gateway else 0,
            servers=servers,
            routes=self.routes if self.gateway else {},
        )
        state.write(self.folder, found)


_STOP = (Stack._leave, Stack._stop_gateway, Stack._stop_predictors, Stack._stop_store, Stack._unlock)  # noqa: SLF001
