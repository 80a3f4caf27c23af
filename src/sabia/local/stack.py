"""The one-machine platform: a store, a predictor for each version that the route names, and the gateway."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.contract.names import PIN_HEADER
from sabia.kubernetes import manifests
from sabia.kubernetes.errors import ManifestProblem
from sabia.kubernetes.specs import PredictorSpec, RouteSpec, of_version
from sabia.local.envoy import Envoy, Gateway
from sabia.local.errors import AlreadyRunning, NotRunning
from sabia.local.objectstore import Access, ObjectStore
from sabia.local.predictors import PredictorServer
from sabia.local.process import Process

STATE_FILE = "stack.json"
_LOCK_FILE = "lock"
_STOP_SECONDS = 10.0

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served beside, or otherwise than, the manifests say; all by version.

    Attributes:
        extra: versions that no manifest names; each gets a pin and no weight.
        replicas: how many servers, where it is not one.
        faults: what is to go wrong on purpose, see `sabia.serving.inference.faults`.
        baselines: versions that get a second copy, named by `sabia.contract.names.baseline`, with a pin and no weight.
    """

    extra: Sequence[str] = ()
    replicas: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    baselines: Sequence[str] = ()


class Server(msgspec.Struct, frozen=True):
    """A predictor of a running stack."""

    name: str
    version: str
    service: str
    url: str
    pid: int


class State(msgspec.Struct, frozen=True):
    """What a running stack writes down for other processes. It holds the store's secret; the file is the owner's."""

    pid: int
    model: str
    endpoint: str
    key: str
    secret: str
    gateway_port: int
    admin_port: int
    servers: list[Server]
    route: RouteSpec

    @property
    def access(self) -> Access:
        """How to reach the store."""
        return Access(self.endpoint, self.key, self.secret)


_AS_WRITTEN = Serving()


class Stack:
    """A platform in `folder`, from the documents in `root`. Use it as a context manager: leaving ends every process.

    Raises:
        AlreadyRunning: on entering, when another stack holds the folder.
    """

    def __init__(
        self, folder: Path, *, root: Path = manifests.ROOT, serving: Serving = _AS_WRITTEN, log: Log = lambda _: None
    ) -> None:
        self.folder = folder.resolve()
        self.logs = self.folder / "logs"
        self.route: RouteSpec = manifests.route(manifests.render(root / "traffic"), where="traffic")
        self.specs = _specs_of(self.route, list(manifests.predictors(root)))
        self.route, self.specs = _with(serving, self.route, self.specs)
        self._log = log
        self._lock: IO[bytes] | None = None
        self._processes: list[Process] = []
        self.servers: list[PredictorServer] = []
        self.access: Access | None = None
        self.gateway: Gateway | None = None

    @property
    def model(self) -> str:
        """The model that the route serves."""
        return next(iter(self.specs.values())).model

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
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
        """Bring each version that the route names from the store and serve it.

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
        """Start Envoy on the route, write the state down, and return the gateway."""
        self._log("starting the gateway (Envoy)")
        backends = {server.spec.service: (server.spec, server.ports) for server in self.servers}
        envoy = Envoy(self.folder / "envoy", self.logs, backends=backends, route=self.route)
        self._processes.append(envoy.process)
        envoy.wait_until_ready()
        self.gateway = envoy.gateway
        self._write_state()
        return envoy.gateway

    @property
    def processes(self) -> list[Process]:
        """Every child that was started and not yet stopped."""
        return [*self._processes, *(process for server in self.servers for process in server.processes)]

    def stop(self) -> None:
        """End every process, those that take requests first, and give the folder back."""
        (self.folder / STATE_FILE).unlink(missing_ok=True)
        for process in reversed(self._processes[1:]):
            process.stop(seconds=_STOP_SECONDS)
        serving = [process for server in self.servers for process in server.processes]
        for process in serving:
            process.ask_to_stop()
        for process in [*serving, *self._processes[:1]]:
            process.stop(seconds=_STOP_SECONDS)
        self._processes, self.servers = [], []
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write_state(self) -> None:
        if self.access is None or self.gateway is None:
            raise RuntimeError("the store and the gateway come before the state")
        servers = [
            Server(process.name, server.spec.version, server.spec.service, url, process.pid)
            for server in self.servers
            for process, url in zip(server.replicas, server.urls, strict=True)
        ]
        state = State(
            pid=os.getpid(),
            model=self.model,
            endpoint=self.access.endpoint,
            key=self.access.key,
            secret=self.access.secret,
            gateway_port=self.gateway.port,
            admin_port=self.gateway.admin_port,
            servers=servers,
            route=self.route,
        )
        draft = self.folder / f"{STATE_FILE}.new"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(state))
        draft.replace(self.folder / STATE_FILE)


def running(folder: Path) -> State:
    """The state of the stack that runs in `folder`.

    Raises:
        NotRunning: none does; a state file whose writer is gone does not count.
    """
    if not is_held(folder):
        raise NotRunning
    try:
        return msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=State)
    except FileNotFoundError as error:
        raise NotRunning from error


def is_held(folder: Path) -> bool:
    """Whether a stack runs in `folder`, be it only starting or stopping."""
    try:
        _locked(folder).close()
    except AlreadyRunning:
        return True
    except FileNotFoundError:
        return False
    return False


def gateway_of(folder: Path, state: State) -> Gateway:
    """The gateway of a running stack."""
    return Gateway(folder=folder.resolve() / "envoy", port=state.gateway_port, admin_port=state.admin_port)


def _locked(folder: Path) -> IO[bytes]:
    # The kernel gives the lock back when its holder ends, however it ends; a process id in a file would not.
    lock = (folder / _LOCK_FILE).open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise AlreadyRunning from error
    return lock


def _specs_of(route: RouteSpec, specs: list[PredictorSpec]) -> dict[str, PredictorSpec]:
    """The predictors that the route names, by Service."""
    known = {spec.service: spec for spec in specs}
    missing = [service for service in route.services if service not in known]
    if missing:
        raise ManifestProblem("traffic", f"no folder under versions/ makes the Service {missing[0]!r}")
    found = {service: known[service] for service in route.services}
    if len({spec.model for spec in found.values()}) != 1:
        raise ManifestProblem("traffic", "its versions are of more than one model")
    return found


def _with(
    serving: Serving, route: RouteSpec, specs: dict[str, PredictorSpec]
) -> tuple[RouteSpec, dict[str, PredictorSpec]]:
    """The route and its predictors with what is to be otherwise."""
    first = next(iter(specs.values()))
    for version in serving.extra:
        spec = of_version(first, version)
        if spec.service not in specs:
            route, specs = route.with_version(spec, PIN_HEADER), {**specs, spec.service: spec}
    for version in serving.baselines:
        for spec in [spec for spec in specs.values() if spec.version == version]:
            name = names.inference_service(spec.model, Version.parse(version), baseline=True)
            copy = replace(spec, name=name, version=names.baseline(version))
            route, specs = route.with_version(copy, PIN_HEADER), {**specs, copy.service: copy}
    known = {spec.version for spec in specs.values()}
    unknown = sorted({*serving.replicas, *serving.faults, *serving.baselines} - known)
    if unknown:
        raise ManifestProblem(
            "what is to be served", f"it has no version {unknown[0]}; it has {', '.join(sorted(known))}"
        )
    return route, {service: _changed(spec, serving) for service, spec in specs.items()}


def _changed(spec: PredictorSpec, serving: Serving) -> PredictorSpec:
    faults = serving.faults.get(spec.version)
    env = spec.env | ({"SABIA_FAULTS": faults} if faults else {})
    return replace(spec, replicas=serving.replicas.get(spec.version, spec.replicas), env=env)
