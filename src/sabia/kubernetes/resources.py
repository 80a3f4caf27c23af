"""`Rollout` resources: the plan is their `spec`, the state of the rollout is their `status`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from sabia.contract.durations import format_duration
from sabia.contract.errors import InvalidManifest, UnknownSchema
from sabia.contract.names import API_GROUP, API_VERSION
from sabia.kubernetes.cluster import Cluster
from sabia.kubernetes.definition import ACTION, KIND, camel_case, snake_case
from sabia.registry.errors import Incomparable
from sabia.rollout import plan as plans
from sabia.rollout.errors import InvalidPlan, RolloutEnded, RolloutNotFound
from sabia.rollout.events import Action
from sabia.rollout.plan import Plan
from sabia.rollout.state import ENDED

Document = dict[str, Any]

# The errors after which the operator does not try again: the plan, or what it compares, will not change.
_REJECTIONS = {kind.__name__ for kind in (InvalidPlan, Incomparable, InvalidManifest, UnknownSchema)}


@dataclass(frozen=True, slots=True)
class Resource:
    """One `Rollout`, as it was read.

    Attributes:
        conditions: the types of the conditions that are true.
        details: everything that the last decision is based on, a line each.
        eta: seconds until the step can end.
        at: time of the last look.
        rejected: whether its plan cannot be carried out, or its versions cannot be compared.
    """

    name: str
    plan: Plan
    phase: str
    weights: dict[str, int]
    conditions: list[str]
    summary: str
    details: list[str]
    eta: float | None
    at: str
    rejected: bool

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.phase in ENDED or self.rejected


def plan_from_spec(spec: Document) -> Plan:
    """The plan of a spec.

    Raises:
        InvalidPlan: it cannot be carried out; the field is named as in the spec.
    """
    # To JSON's schema, and so to the API server, 5.0 is an integer.
    whole = _whole({key: value for key, value in spec.items() if key != ACTION})
    document = _renamed(whole, snake_case)
    canaries = document.pop("canaries", None)
    if isinstance(canaries, list):
        document["canary"] = canaries[0] if len(canaries) == 1 else canaries
    try:
        return plans.from_mapping(document)
    except InvalidPlan as error:
        field = "canaries" if error.field == "canary" else camel_case(error.field)
        raise InvalidPlan(field, error.problem) from error


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def spec_from_plan(plan: Plan) -> Document:
    """The spec of a plan; durations are strings, and lines that are not compared are left out."""
    document = msgspec.to_builtins(plan)
    for name in ("minimum_dwell", "look_every", "warm_up", "deadline"):
        document[name] = _as_text(document[name])
    if document["watch"]["latency"] is not None:
        document["watch"]["latency"]["slack"] = _as_text(document["watch"]["latency"]["slack"])
    document["watch"] = {name: line for name, line in document["watch"].items() if line is not None}
    del document["canary"]
    spec: Document = _renamed(document | {"canaries": plan.canaries}, camel_case)
    return spec


def _as_text(duration: plans.Duration) -> str:
    return duration if isinstance(duration, str) else format_duration(duration)


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:
    """A document with every key renamed."""
    if isinstance(value, dict):
        return {rename(key): _renamed(item, rename) for key, item in value.items()}
    return value


def create(cluster: Cluster, plan: Plan, name: str | None = None) -> str:
    """Apply a `Rollout` and return its name, which is made of its versions unless one is given."""
    made = name or f"{plan.model}-{plan.stable}-to-{'-'.join(plan.canaries)}".replace(".", "-")
    metadata = {"name": made, "namespace": cluster.namespace}
    spec = spec_from_plan(plan)
    cluster.apply([{"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}])
    return made


def get(cluster: Cluster, model: str | None, name: str | None) -> Resource:
    """One `Rollout`: see `select`.

    Raises:
        RolloutNotFound: there is none.
    """
    return _resource(select(cluster.rollouts(), model, name))


def select(documents: Iterable[Document], model: str | None, name: str | None) -> Document:
    """One `Rollout` document: by its name or that of its record, else the newest of a model or of all.

    Raises:
        RolloutNotFound: there is none.
    """
    found = [item for item in documents if name is None or name in _names(item)]
    found = [item for item in found if model in (None, item["spec"].get("model"))]
    if not found:
        raise RolloutNotFound(model, name)
    return max(found, key=lambda item: str(item["metadata"]["creationTimestamp"]))


def _names(document: Document) -> tuple[str, str | None]:
    return document["metadata"]["name"], (document.get("status") or {}).get("record")


def act(
    cluster: Cluster, model: str | None, name: str | None, action: Action, *, actor: str, version: str | None
) -> str:
    """Write an action into the spec; the operator carries it out.

    Raises:
        RolloutNotFound: there is no such rollout.
        RolloutEnded: it is over.
    """
    found = get(cluster, model, name)
    if found.ended:
        raise RolloutEnded(found.name, found.phase)
    # The id distinguishes an action from an earlier one of the same type.
    document = {"type": action, "by": actor, "id": secrets.token_hex(4), "version": version}
    cluster.patch_rollout(found.name, {"spec": {ACTION: document}})
    return found.name


def _resource(document: Document) -> Resource:
    status = document.get("status") or {}
    conditions = {item["type"]: item for item in status.get("conditions", [])}
    return Resource(
        name=document["metadata"]["name"],
        plan=plan_from_spec(document["spec"]),
        phase=status.get("phase", "Pending"),
        weights={item["version"]: item["weight"] for item in status.get("weights", [])},
        conditions=[kind for kind, item in conditions.items() if item["status"] == "True"],
        summary=status.get("summary", "The operator has not started it yet."),
        details=list(status.get("details", [])),
        eta=status.get("etaSeconds"),
        at=status.get("lastLookTime", "never"),
        rejected=conditions.get("Accepted", {}).get("reason") in _REJECTIONS,
    )
