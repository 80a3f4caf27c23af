"""`Rollout` resources of the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.cluster import tools
from tests.cluster.tools import MODEL, NAMESPACE
from tests.waiting import eventually

Document = dict[str, Any]

PLAN = {
    "model": MODEL,
    "steps": [5, 25, 50],
    "minimum_dwell": "8s",
    "look_every": "2s",
    "warm_up": "6s",
    # A pod's limits let it wait for its processor; what a person notices is what counts here.
    "watch": {"errors": {}, "latency": {"slack": "20ms"}, "predictions": {"budget": 0.6}},
}


def begin(name: str, **changed: object) -> None:
    """Apply a Rollout."""
    spec = PLAN | changed
    metadata = {"name": name, "namespace": NAMESPACE}
    tools.apply({"apiVersion": "sabia.dev/v1alpha1", "kind": "Rollout", "metadata": metadata, "spec": spec})


def status(name: str) -> Document:
    """Its status; empty before the operator has looked."""
    found: Document = tools.get("rollout", name).get("status", {})
    return found


def until(name: str, holds: Callable[[Document], bool], *, seconds: float = 120) -> Document:
    """The status once it is as wanted."""
    return eventually(lambda: status(name), holds=lambda found: found and holds(found), seconds=seconds)
