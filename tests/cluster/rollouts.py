"""`Rollout` resources of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sabia.contract.names import API_GROUP, API_VERSION
from tests.cluster import tools
from tests.cluster.tools import MODEL, NAMESPACE
from tests.waiting import eventually

Document = dict[str, Any]

PLAN = {
    "model": MODEL,
    "steps": [5, 25, 50],
    "minimumDwell": "8s",
    "lookEvery": "2s",
    "warmUp": "6s",
    # A pod's limits let it wait for its processor; what a person notices is what counts here.
    "watch": {"errors": {}, "latency": {"slack": "20ms"}, "predictions": {"budget": 0.6}},
}


def start(name: str, **changed: object) -> None:
    """Apply a Rollout."""
    spec = PLAN | changed
    metadata = {"name": name, "namespace": NAMESPACE}
    tools.apply({"apiVersion": f"{API_GROUP}/{API_VERSION}", "kind": "Rollout", "metadata": metadata, "spec": spec})


def status(name: str) -> Document:
    """Its status; empty before the operator has started it."""
    found: Document = tools.get("rollout", name).get("status", {})
    return found


def until(name: str, holds: Callable[[Document], bool], *, seconds: float = 120) -> Document:
    """The status once the condition holds."""
    return eventually(lambda: status(name), holds=lambda found: found and holds(found), seconds=seconds)


def condition(found: Document, kind: str) -> Document:
    """One condition of a status; empty when it has none of this type."""
    return next((item for item in found.get("conditions", []) if item["type"] == kind), {})
