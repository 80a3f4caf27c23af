"""What the statuses of pods and Deployments mean: documents in, no cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]

# Reasons to wait that are normal.
_PATIENCE = {"ContainerCreating", "PodInitializing"}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod is not ready, and the container whose log may tell more."""

    what: str
    container: str | None = None
    previous: bool = False


def trouble(pod: Document) -> Trouble | None:
    """The first problem of a pod, in the order in which it starts: scheduled, fetched, running."""
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Trouble(f"it is not placed on a node: {condition.get('message', condition.get('reason', ''))}")
    for item in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        found = _of_container(item)
        if found is not None:
            return found
    return None


def is_running(pod: Document) -> bool:
    """Whether a container of it runs."""
    return any("running" in item.get("state", {}) for item in pod.get("status", {}).get("containerStatuses", []))


def is_ready(pod: Document) -> bool:
    """Whether it is ready, and not terminating."""
    conditions = {item["type"]: item["status"] for item in pod.get("status", {}).get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def restarts(pod: Document) -> int:
    """The number of restarts of its containers."""
    return sum(item.get("restartCount", 0) for item in pod.get("status", {}).get("containerStatuses", []))


def last_end(pod: Document) -> str:
    """How one of its containers ended last, as a sentence."""
    for item in pod.get("status", {}).get("containerStatuses", []):
        ended = item.get("lastState", {}).get("terminated")
        if ended is not None:
            return (
                f"a server of it ended with status {ended.get('exitCode')} ({ended.get('reason', 'no reason given')})"
            )
    return "a server of it was started again"


def has_rolled_out(deployment: Document, annotation: str, value: str, *, at_least: int) -> bool:
    """Whether every desired pod of a Deployment is available and has this value of an annotation."""
    spec, status = deployment["spec"], deployment.get("status", {})
    annotated = (spec["template"]["metadata"].get("annotations") or {}).get(annotation) == value
    observed = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    desired = spec.get("replicas", 1)
    return annotated and observed and desired >= at_least and counts == [desired] * 3


def _of_container(item: Document) -> Trouble | None:
    name, state, last = item["name"], item.get("state", {}), item.get("lastState", {})
    waiting, ended = state.get("waiting"), state.get("terminated")
    if ended is not None and ended.get("exitCode", 0) != 0:
        return Trouble(f"{name} ended with status {ended['exitCode']}", name)
    starting_again = waiting is not None or ("running" in state and not item.get("ready"))
    if "terminated" in last and starting_again:
        code = last["terminated"].get("exitCode")
        return Trouble(f"{name} ended with status {code}, {item.get('restartCount', 0)} restarts", name, previous=True)
    if waiting is not None and waiting.get("reason") not in _PATIENCE:
        return Trouble(f"{name}: {waiting.get('reason')} ({waiting.get('message', 'no message')})")
    return None
