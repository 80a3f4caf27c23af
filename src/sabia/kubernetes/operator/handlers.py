"""What the operator does for each `Rollout`: one engine, from where its record ends, until it is over.

Everything that matters is in the record; the resource's status shows it. An operator that is killed in the middle
leaves nothing that the next one could not go on from.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import kopf

from sabia.kubernetes import counters as cluster_metrics
from sabia.kubernetes import resources
from sabia.kubernetes.cluster import Cluster
from sabia.kubernetes.httproute import HttpRouteSplit
from sabia.kubernetes.operator import status
from sabia.kubernetes.prometheus import Prometheus
from sabia.rollout.engine import Engine, start
from sabia.rollout.errors import (
    AlreadyRollingOut,
    ClusterRefused,
    ClusterUnreachable,
    InvalidPlan,
    LookTaken,
    RolloutError,
    RolloutNotFound,
    RouteNotFound,
)
from sabia.rollout.messages import phase
from sabia.rollout.plan import Plan
from sabia.rollout.record import Head, Record
from sabia.rollout.source import Source
from sabia.rollout.state import Command
from sabia.store.errors import StoreError
from sabia.store.objects import Store

Document = dict[str, Any]

logger = logging.getLogger("sabia.operator")

_RETRY = 5.0
# How long, beside some looks, a rollout whose resource is deleted may take to give the weights back.
_TAKE_BACK_SECONDS = 60.0


@dataclass(slots=True)
class Carried:
    """One `Rollout` that is being carried out.

    Attributes:
        cluster: its namespace.
        body: the resource, as kopf keeps it up to date.
        record: its record.
        handled: the id of the decision that was taken last.
        shown: phase and step that were last told in an event.
    """

    cluster: Cluster
    body: kopf.Body
    record: Record
    handled: str | None
    shown: tuple[str, int | None] | None = None
    last: Document = field(default_factory=dict)

    def told(self, head: Head) -> None:
        """Show the end of the record in the status, and what is new of it as an event."""
        self.last = status.of(self.record.name, head, handled=self.handled, before=self.last)
        _show(self.cluster, str(self.body.metadata.name), self.last)
        now = (phase(head.entry.state), head.entry.state.step)
        if now != self.shown:
            self.shown = now
            kind = "Warning" if now[0] in ("rolling-back", "rolled-back", "held", "paused") else "Normal"
            reason = "".join(part.capitalize() for part in now[0].split("-"))
            kopf.event(self.body, type=kind, reason=reason, message=head.entry.says[:1000])

    def order(self) -> Command | None:
        """What the spec says somebody decided, if it is new."""
        decision = self.body.spec.get(resources.DECISION) or {}
        identity = str(decision.get("id") or decision.get("verb") or "") or None
        if identity is None or identity == self.handled:
            return None
        self.handled = identity
        return Command(decision["verb"], str(decision.get("by") or "the spec"), decision.get("version"))


def carry_out(
    cluster: Cluster, store: Store, body: kopf.Body, stopped: kopf.DaemonStopped, prometheus: str | None = None
) -> None:
    """Begin or go on with the rollout of one resource, until it is over or the operator stops.

    Raises:
        kopf.TemporaryError: it cannot be begun now; kopf tries again.
    """
    before = dict(body.status)
    if before.get("phase") in ("done", "rolled-back"):
        return
    try:
        found = _record(cluster, store, body)
    except InvalidPlan as error:
        _show(cluster, str(body.metadata.name), status.refused(str(error), _now(), before))
        return
    except (AlreadyRollingOut, RouteNotFound, ClusterUnreachable, ClusterRefused, StoreError) as error:
        _show(cluster, str(body.metadata.name), status.refused(str(error), _now(), before) | {"phase": "pending"})
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error
    carried = Carried(cluster, body, found, before.get("decision"), last=before)
    engine = _engine(cluster, found, prometheus, told=carried.told, orders=carried.order)
    carried.told(engine.head)
    try:
        engine.run(lambda: bool(stopped))
    except (LookTaken, StoreError) as error:
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error


def take_back(cluster: Cluster, store: Store, body: kopf.Body, prometheus: str | None = None) -> None:
    """End the rollout of a resource that is being deleted: nobody carries it out any more, so the stable version gets
    everything back. The resource is there until that is written down, or cannot be done.

    Raises:
        kopf.TemporaryError: it cannot be told now; kopf tries again.
    """
    try:
        plan = resources.plan_of(dict(body.spec))
        record = Record(store, plan.model, _name(plan, body))
        state = record.head().entry.state
    except (InvalidPlan, RolloutNotFound):
        return  # it has never begun
    except StoreError as error:
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error
    if state.ended:
        return
    until = time.monotonic() + _TAKE_BACK_SECONDS + 4 * plan.look_seconds
    try:
        engine = _engine(cluster, record, prometheus)
        if state.phase != "rolling-back":
            engine.order(Command("abort", "the deletion of its resource"))
        engine.run(lambda: time.monotonic() > until)
    except (LookTaken, StoreError) as error:  # whoever carried it out is about to stop
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error
    if not engine.state.ended:
        logger.error("%s was deleted and could not be ended: %s", record.name, engine.head.entry.says)


def _engine(cluster: Cluster, record: Record, prometheus: str | None, **more: Any) -> Engine:
    source: Source = cluster_metrics.pages(cluster, record.model)
    if prometheus is not None:
        source = Prometheus(prometheus, record.model, record.plan().versions)
    return Engine(record, HttpRouteSplit(cluster, record.model), source, say=logger.info, **more)


def _record(cluster: Cluster, store: Store, body: kopf.Body) -> Record:
    """The record of a resource, begun when there is none.

    Raises:
        InvalidPlan: the plan cannot be carried out.
        AlreadyRollingOut: another rollout of the model is under way.
        RolloutError, StoreError: it cannot be told now.
    """
    plan = resources.plan_of(dict(body.spec))
    record = Record(store, plan.model, _name(plan, body))
    try:
        head = record.head()
    except RolloutNotFound:
        weights = HttpRouteSplit(cluster, plan.model).weights()
        actor = f"rollout/{body.metadata.name}"
        return start(store, plan, weights, actor=actor, name=record.name)
    if head.plan != plan:
        kopf.warn(body, reason="PlanChanged", message="The plan was edited; this rollout goes on as it began.")
    return record


def _name(plan: Plan, body: kopf.Body) -> str:
    """A name that the same resource always has, and that sorts by time."""
    made = datetime.fromisoformat(str(body.metadata["creationTimestamp"])).astimezone(UTC)
    return f"{made:%Y%m%dT%H%M%SZ}-{plan.stable}-to-{'_'.join(plan.canaries)}-{str(body.metadata.uid)[:8]}"


def _show(cluster: Cluster, name: str, found: Document) -> None:
    try:
        cluster.patch_rollout(name, {"status": found}, status=True)
    except RolloutError as error:
        # The record has it; the next look shows it again.
        logger.warning("the status of %s was not written: %s", name, error)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def register(cluster: Cluster, open_store: Callable[[], Store], prometheus: str | None = None) -> kopf.OperatorRegistry:
    """The handlers of one namespace; counters are read from the pods, or from a Prometheus."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: object) -> None:
        # The namespace is fixed, and so are its permissions: nothing cluster-wide is watched.
        settings.scanning.disabled = True
        settings.posting.level = logging.WARNING
        settings.execution.max_workers = 200
        settings.persistence.finalizer = f"{resources.GROUP}/rollout"

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**kwargs)

    @kopf.daemon(
        resources.GROUP,
        resources.API,
        resources.PLURAL,
        registry=registry,
        cancellation_timeout=20.0,
        initial_delay=0.5,
    )
    def rollout(body: kopf.Body, stopped: kopf.DaemonStopped, **_: object) -> None:
        carry_out(cluster, open_store(), body, stopped, prometheus)

    @kopf.on.delete(resources.GROUP, resources.API, resources.PLURAL, registry=registry, backoff=_RETRY)
    def deleted(body: kopf.Body, **_: object) -> None:
        take_back(cluster, open_store(), body, prometheus)

    return registry
