"""What the operator does for each `Rollout`: one engine, from the end of its record until it is over.

The record is the truth; the resource's status shows it. After an operator was killed, the next one continues from the
record.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import kopf

from sabia.contract.errors import InvalidManifest, UnknownSchema
from sabia.contract.names import API_GROUP, API_VERSION
from sabia.kubernetes import counters as cluster_metrics
from sabia.kubernetes import resources
from sabia.kubernetes.cluster import Cluster
from sabia.kubernetes.definition import ACTION, PLURAL
from sabia.kubernetes.errors import ClusterRefused, ClusterUnreachable, RouteNotFound
from sabia.kubernetes.httproute import HttpRouteSplit
from sabia.kubernetes.operator import status
from sabia.kubernetes.prometheus import Prometheus
from sabia.monitoring.labelbatches import with_labels
from sabia.registry.comparable import require_comparable
from sabia.registry.errors import Incomparable
from sabia.rollout.engine import Engine, start
from sabia.rollout.errors import AlreadyRollingOut, EntryTaken, InvalidPlan, RolloutError, RolloutNotFound
from sabia.rollout.events import Acted
from sabia.rollout.plan import Plan
from sabia.rollout.ports import Source
from sabia.rollout.record import Head, Record
from sabia.rollout.state import ENDED
from sabia.rollout.summary import Condition, conditions
from sabia.store.errors import StoreError
from sabia.store.objects import Store

Document = dict[str, Any]

logger = logging.getLogger("sabia.operator")

_RETRY = 5.0
# Time for a rollout whose resource is deleted to give the weights back, in addition to a few looks.
_TAKE_BACK_SECONDS = 60.0


@dataclass(slots=True)
class Carried:
    """One `Rollout` that is being carried out.

    Attributes:
        cluster: its namespace.
        body: the resource, as kopf keeps it up to date.
        record: its record.
        handled: the id of the last action that was carried out.
        shown: phase, conditions and step of the last Kubernetes event.
    """

    cluster: Cluster
    body: kopf.Body
    record: Record
    handled: str | None
    shown: tuple[str, list[Condition], int | None] | None = None
    last: Document = field(default_factory=dict)

    def show(self, head: Head) -> None:
        """Write the end of the record to the status, and a Kubernetes event when the phase or a condition changed."""
        generation = int(self.body.metadata.get("generation", 0))
        self.last = status.from_head(
            self.record.name, head, generation=generation, handled=self.handled, before=self.last
        )
        _patch_status(self.cluster, str(self.body.metadata.name), self.last)
        state = head.entry.state
        holding = conditions(state)
        now = (state.phase, holding, state.step)
        if now != self.shown:
            self.shown = now
            kind = "Warning" if holding or state.phase in ("RollingBack", "RolledBack") else "Normal"
            reason = holding[0] if holding else state.phase
            kopf.event(self.body, type=kind, reason=reason, message=head.entry.summary[:1000])

    def next_action(self) -> Acted | None:
        """The action of the spec, if it was not carried out yet: each id is carried out once."""
        action = self.body.spec.get(ACTION) or {}
        identity = str(action.get("id") or action.get("type") or "") or None
        if identity is None or identity == self.handled:
            return None
        self.handled = identity
        return Acted(action["type"], str(action.get("by") or "the spec"), action.get("version"))


def carry_out(
    cluster: Cluster, store: Store, body: kopf.Body, stopped: kopf.DaemonStopped, prometheus: str | None = None
) -> None:
    """Carry out the rollout of one resource, until it is over or the operator stops.

    Raises:
        kopf.TemporaryError: it cannot be started now; kopf tries again.
    """
    before = dict(body.status)
    if before.get("phase") in ENDED:
        return
    try:
        record = _record(cluster, store, body)
    except (InvalidPlan, Incomparable, InvalidManifest, UnknownSchema) as error:
        _reject(cluster, body, error)
        return
    except (AlreadyRollingOut, RouteNotFound, ClusterUnreachable, ClusterRefused, StoreError) as error:
        _reject(cluster, body, error)
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error
    carried = Carried(cluster, body, record, before.get("handledAction"), last=before)
    engine = _engine(cluster, store, record, prometheus, on_entry=carried.show, next_action=carried.next_action)
    carried.show(engine.head)
    try:
        engine.run(lambda: bool(stopped))
    except (EntryTaken, StoreError) as error:
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error


def take_back(cluster: Cluster, store: Store, body: kopf.Body, prometheus: str | None = None) -> None:
    """End the rollout of a resource that is being deleted: the stable version gets every request back.

    The resource exists until that is recorded, or cannot be done.

    Raises:
        kopf.TemporaryError: it cannot be done now; kopf tries again.
    """
    try:
        plan = resources.plan_from_spec(dict(body.spec))
        record = Record(store, plan.model, _name(plan, body))
        state = record.head().entry.state
    except (InvalidPlan, RolloutNotFound):
        return  # it was never started
    except StoreError as error:
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error
    if state.ended:
        return
    until = time.monotonic() + _TAKE_BACK_SECONDS + 4 * plan.look_seconds
    try:
        engine = _engine(cluster, store, record, prometheus)
        if state.phase != "RollingBack":
            engine.act(Acted("abort", "the deletion of its resource"))
        engine.run(lambda: time.monotonic() > until)
    except (EntryTaken, StoreError) as error:  # the engine that carried it out is about to stop
        raise kopf.TemporaryError(str(error), delay=_RETRY) from error
    if not engine.state.ended:
        logger.error("%s was deleted and could not be ended: %s", record.name, engine.head.entry.summary)


def _engine(cluster: Cluster, store: Store, record: Record, prometheus: str | None, **more: Any) -> Engine:
    source: Source = cluster_metrics.pages(cluster, record.model)
    if prometheus is not None:
        source = Prometheus(prometheus, record.model, record.plan().versions)
    source = with_labels(source, store, record, report=logger.warning)
    return Engine(record, HttpRouteSplit(cluster, record.model), source, report=logger.info, **more)


def _record(cluster: Cluster, store: Store, body: kopf.Body) -> Record:
    """The record of a resource, started if there is none.

    Raises:
        InvalidPlan: the plan cannot be carried out.
        Incomparable, InvalidManifest, UnknownSchema: its versions cannot be compared, or a manifest cannot be read.
        AlreadyRollingOut: another rollout of the model is under way.
        RolloutError, StoreError: the route or the store is unavailable.
    """
    plan = resources.plan_from_spec(dict(body.spec))
    record = Record(store, plan.model, _name(plan, body))
    try:
        head = record.head()
    except RolloutNotFound:
        weights = HttpRouteSplit(cluster, plan.model).weights()
        require_comparable(store, plan.model, plan.versions)
        actor = f"rollout/{body.metadata.name}"
        return start(store, plan, weights, actor=actor, name=record.name)
    if head.plan != plan:
        kopf.warn(body, reason="PlanChanged", message="The plan was edited; this rollout keeps its first plan.")
    return record


def _name(plan: Plan, body: kopf.Body) -> str:
    """A name that the same resource always has, and that sorts by time."""
    made = datetime.fromisoformat(str(body.metadata["creationTimestamp"])).astimezone(UTC)
    return f"{made:%Y%m%dT%H%M%SZ}-{plan.stable}-to-{'_'.join(plan.canaries)}-{str(body.metadata.uid)[:8]}"


def _reject(cluster: Cluster, body: kopf.Body, error: Exception) -> None:
    generation, at = int(body.metadata.get("generation", 0)), datetime.now(UTC).isoformat(timespec="milliseconds")
    document = status.rejected(type(error).__name__, str(error), at, generation=generation, before=dict(body.status))
    _patch_status(cluster, str(body.metadata.name), document)


def _patch_status(cluster: Cluster, name: str, document: Document) -> None:
    try:
        cluster.patch_rollout(name, {"status": document}, status=True)
    except RolloutError as error:
        # The record is written; the next look writes the status again.
        logger.warning("the status of %s was not written: %s", name, error)


def register(cluster: Cluster, open_store: Callable[[], Store], prometheus: str | None = None) -> kopf.OperatorRegistry:
    """The handlers of one namespace; counters are read from the pods, or from a Prometheus."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def configure(settings: kopf.OperatorSettings, **_: object) -> None:
        # Permissions are of one namespace: nothing cluster-wide is watched.
        settings.scanning.disabled = True
        settings.posting.level = logging.WARNING
        settings.execution.max_workers = 200
        settings.persistence.finalizer = f"{API_GROUP}/rollout"

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_via_client(**kwargs)

    @kopf.daemon(
        API_GROUP,
        API_VERSION,
        PLURAL,
        registry=registry,
        cancellation_timeout=20.0,
        initial_delay=0.5,
    )
    def rollout(body: kopf.Body, stopped: kopf.DaemonStopped, **_: object) -> None:
        carry_out(cluster, open_store(), body, stopped, prometheus)

    @kopf.on.delete(API_GROUP, API_VERSION, PLURAL, registry=registry, backoff=_RETRY)
    def deleted(body: kopf.Body, **_: object) -> None:
        take_back(cluster, open_store(), body, prometheus)

    return registry
