"""This machine: the stack that `sabia up` started, and rollouts whose engine is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.kubernetes.prometheus import Prometheus
from sabia.local import counters
from sabia.local import state as states
from sabia.local.envoy import Gateway
from sabia.local.errors import NotRunning
from sabia.local.process import answers
from sabia.local.signals import Stopped, stop_on_sigterm
from sabia.local.split import EnvoySplit
from sabia.local.state import Served, State
from sabia.monitoring.labelbatches import with_labels
from sabia.platforms.errors import NotOffered
from sabia.platforms.port import Address, Deployment, RolloutView, Status
from sabia.platforms.store import open_store
from sabia.registry.comparable import require_comparable
from sabia.rollout import engine, record, summary
from sabia.rollout.events import Action
from sabia.rollout.plan import Plan
from sabia.rollout.ports import Source
from sabia.rollout.record import Record
from sabia.store.objects import Store

_NOT_OFFERED = "This machine serves what `sabia up --serve VERSION` names; name a cluster's namespace with --namespace."


class LocalPlatform:
    """The stack in `folder`; see `choose` for the arguments."""

    def __init__(self, folder: Path, *, store: str | None, model: str | None, log: Callable[[str], None]) -> None:
        self._folder = folder
        self._url = store
        self._model = model
        self._log = log
        self._store: Store | None = None

    @property
    def model(self) -> str:
        """See `Platform.model`."""
        return self._served().model

    def models(self) -> list[str]:
        """See `Platform.models`."""
        return sorted(self._state().routes)

    def versions(self) -> list[str]:
        """See `Platform.versions`."""
        return sorted({server.version for server in self._served().servers})

    def store(self) -> Store:
        """See `Platform.store`."""
        if self._store is None:
            self._store = open_store(self._url, folder=self._folder)
        return self._store

    def split(self) -> EnvoySplit:
        """See `Platform.split`."""
        state = self._state()
        return EnvoySplit.from_state(self._gateway(state), state, self._model)

    def source(self, prometheus: str | None = None) -> Source:
        """See `Platform.source`."""
        if prometheus is not None:
            return Prometheus(prometheus, self.model, self.versions())
        state = self._state()
        return counters.pages(self._gateway(state), state, self._model)

    def status(self) -> Status:
        """See `Platform.status`."""
        state = self._state()
        store = {"url": state.access.url, "endpoint": state.endpoint}
        if not state.routes and self._model is None:
            alone = {"model": None, "gateway": None, "store": store, "pid": state.pid}
            return Status(alone, [], [f"the store {state.access.url} runs; no model is served"])
        served, split = state.served(self._model), self.split()
        gateway, path = self._gateway(state), names.v1_model(served.model)
        weights, requests = split.weights(), split.request_counts()
        versions = [
            {
                "version": server.version,
                "weight": weights[server.version],
                "ready": answers(server.url + path, seconds=2),
                "requests": requests[server.version],
                "url": server.url,
                "pid": server.pid,
            }
            for server in served.servers
        ]
        platform = {"model": served.model, "gateway": gateway.url, "store": store, "pid": state.pid}
        return Status(platform, versions, [f"{served.model}: {self.address('').url}"])

    def address(self, gateway: str) -> Address:
        """See `Platform.address`."""
        del gateway
        return Address(self._gateway(self._state()).url + names.v1_predict(self.model))

    def deploy(self, version: Version, options: Deployment) -> str:
        """See `Platform.deploy`."""
        raise NotOffered(_NOT_OFFERED)

    def undeploy(self, version: str, *, quiet: float, seconds: float) -> None:
        """See `Platform.undeploy`."""
        raise NotOffered(_NOT_OFFERED)

    def start_rollout(self, plan: Plan, *, name: str | None, actor: str) -> str:
        """See `Platform.start_rollout`."""
        require_comparable(self.store(), plan.model, plan.versions)
        return engine.start(self.store(), plan, self.split().weights(), actor=actor, name=name).name

    def carry_out(self, name: str | None, *, foreground: bool, prometheus: str | None) -> None:
        """See `Platform.carry_out`."""
        started = self._record(name)
        if foreground:
            self._run(started, prometheus)
            return
        options = ["--folder", str(self._folder), "--model", started.model, "--name", started.name]
        options += ["--store", self._url] if self._url else []
        options += ["--prometheus", prometheus] if prometheus else []
        with (self._folder / "rollout.log").open("ab") as file:
            subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "sabia", "rollout", "run", *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def _run(self, started: Record, prometheus: str | None) -> None:
        stop_on_sigterm()
        plan = started.plan()
        source = self.source() if prometheus is None else Prometheus(prometheus, plan.model, plan.versions)
        source = with_labels(source, self.store(), started, report=self._log)
        running = engine.Engine(started, self.split(), source, report=self._log)
        try:
            # Without its stack there is nothing to carry out; the record waits for the next engine.
            running.run(lambda: not states.is_held(self._folder))
        except (Stopped, KeyboardInterrupt):
            self._log("stopped; `sabia rollout run` continues from the record")

    def rollout(self, name: str | None) -> RolloutView:
        """See `Platform.rollout`."""
        found = self._record(name)
        head = found.head()
        state = head.entry.state
        return RolloutView(
            name=found.name,
            model=found.model,
            phase=state.phase,
            conditions=list(summary.conditions(state)),
            weights=state.confirmed or state.desired,
            summary=head.entry.summary,
            details=summary.explain(head.plan, state, head.entry.eta),
            eta=head.entry.eta,
            at=head.entry.at,
            ended=state.ended,
        )

    def act(self, name: str | None, action: Action, *, actor: str, version: str | None) -> str:
        """See `Platform.act`. The action is appended to the record, which the engine follows."""
        found = self._record(name)
        engine.act(found, action, actor=actor, version=version)
        return found.name

    def _record(self, name: str | None) -> Record:
        return record.latest(self.store(), self._model or self._only_model(), name)

    def _only_model(self) -> str | None:
        """The only model of a running stack; without a stack, rollouts of every model are searched.

        Raises:
            ModelUnnamed: the stack serves several models.
        """
        try:
            state = self._state()
        except NotRunning:
            return None
        return state.served().model if state.routes else None

    def _served(self) -> Served:
        return self._state().served(self._model)

    def _state(self) -> State:
        return states.running(self._folder)

    def _gateway(self, state: State) -> Gateway:
        return states.gateway_of(self._folder, state)
