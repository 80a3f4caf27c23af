"""`Rollout` resources: the plan is their `spec`, what the engine has found is their `status`."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from sabia.contract.names import API_GROUP, API_VERSION
from sabia.kubernetes.cluster import Cluster
from sabia.rollout import plan as plans
from sabia.rollout.errors import RolloutEnded, RolloutNotFound
from sabia.rollout.plan import Plan
from sabia.rollout.state import ENDED, Verb

Document = dict[str, Any]

GROUP, API, PLURAL, KIND = API_GROUP, API_VERSION, "rollouts", "Rollout"
# Of a spec, what is no part of the plan and may change while it runs: what somebody decided last.
DECISION = "decision"


@dataclass(frozen=True, slots=True)
class Resource:
    """One `Rollout`, as it was read."""

    name: str
    plan: Plan
    phase: str
    weights: dict[str, int]
    says: str
    why: list[str]
    eta: float | None
    at: str

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.phase in ENDED or self.phase == "refused"


def plan_of(spec: Document) -> Plan:
    """The plan of a spec.

    Raises:
        InvalidPlan: it cannot be carried out.
    """
    return plans.of({key: value for key, value in spec.items() if key != DECISION})


def create(cluster: Cluster, plan: Plan, name: str | None = None) -> str:
    """Apply a `Rollout` and return its name, which is made of its versions unless one is given."""
    made = name or f"{plan.model}-{plan.stable}-to-{'-'.join(plan.canaries)}".replace(".", "-")
    metadata = {"name": made, "namespace": cluster.namespace}
    spec = msgspec.to_builtins(plan)
    cluster.apply([{"apiVersion": f"{GROUP}/{API}", "kind": KIND, "metadata": metadata, "spec": spec}])
    return made


def get(cluster: Cluster, model: str | None, name: str | None) -> Resource:
    """The `Rollout` that was meant: see `meant`.

    Raises:
        RolloutNotFound: there is none.
    """
    return _resource(meant(cluster.rollouts(), model, name))


def meant(documents: Iterable[Document], model: str | None, name: str | None) -> Document:
    """One of some `Rollout` documents: by its name or that of its record, else the newest of a model or of all.

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


def decide(
    cluster: Cluster, model: str | None, name: str | None, verb: Verb, *, actor: str, version: str | None
) -> str:
    """Write somebody's decision into the spec; the operator takes it from there.

    Raises:
        RolloutNotFound: there is no such rollout.
        RolloutEnded: it is over.
    """
    found = get(cluster, model, name)
    if found.ended:
        raise RolloutEnded(found.name, found.phase)
    # The id tells a decision from the same one made again.
    decision = {"verb": verb, "by": actor, "id": secrets.token_hex(4), "version": version}
    cluster.patch_rollout(found.name, {"spec": {DECISION: decision}})
    return found.name


def _resource(document: Document) -> Resource:
    status = document.get("status") or {}
    return Resource(
        name=document["metadata"]["name"],
        plan=plan_of(document["spec"]),
        phase=status.get("phase", "pending"),
        weights={item["version"]: item["weight"] for item in status.get("weights", [])},
        says=status.get("evidence", "The operator has not looked at it yet."),
        why=list(status.get("why", [])),
        eta=status.get("etaSeconds"),
        at=status.get("lastLook", "never"),
    )
