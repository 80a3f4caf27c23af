"""What keeps a pod from being ready, read from statuses as a cluster writes them."""

from __future__ import annotations

from typing import Any

import pytest

from sabia.kubernetes.pods import Trouble, has_rolled_out, is_ready, is_running, trouble

Document = dict[str, Any]


def a_container(name: str, state: Document, last: Document | None = None, **more: Any) -> Document:
    """A container's status."""
    return {"name": name, "state": state, "lastState": last or {}, "ready": False, "restartCount": 0} | more


def a_pod(*containers: Document, init: list[Document] | None = None) -> Document:
    """A pod with these statuses."""
    return {"status": {"initContainerStatuses": init or [], "containerStatuses": list(containers)}}


RUNNING: Document = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
ENDED: Document = {"terminated": {"exitCode": 1, "reason": "Error"}}
WAITING: Document = {"waiting": {"reason": "PodInitializing"}}
BACK_OFF: Document = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}}


@pytest.mark.parametrize(
    ("pod", "found"),
    [
        ({}, None),
        (a_pod(a_container("server", WAITING)), None),
        (a_pod(a_container("server", RUNNING, ready=True)), None),
        (a_pod(a_container("server", RUNNING)), None),
        (
            a_pod(a_container("server", BACK_OFF, ENDED, restartCount=3)),
            Trouble("server ended with status 1, 3 restarts", "server", previous=True),
        ),
        (
            a_pod(a_container("server", RUNNING, ENDED, restartCount=1)),
            Trouble("server ended with status 1, 1 restarts", "server", previous=True),
        ),
        (a_pod(a_container("server", RUNNING, ENDED, restartCount=1, ready=True)), None),
        (a_pod(a_container("server", ENDED)), Trouble("server ended with status 1", "server")),
        (
            a_pod(
                a_container("server", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
            ),
            Trouble("server: ImagePullBackOff (no such image)"),
        ),
        (
            a_pod(
                a_container("server", WAITING),
                init=[a_container("storage-initializer", BACK_OFF, ENDED, restartCount=2)],
            ),
            Trouble("storage-initializer ended with status 1, 2 restarts", "storage-initializer", previous=True),
        ),
        (
            {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no CPU"}]}},
            Trouble("it is not placed on a node: no CPU"),
        ),
    ],
)
def test_the_first_thing_that_is_wrong_is_found(pod: Document, found: Trouble | None) -> None:
    assert trouble(pod) == found


def test_a_pod_runs_when_a_container_does() -> None:
    assert is_running(a_pod(a_container("server", RUNNING)))
    assert not is_running(a_pod(a_container("server", WAITING), init=[a_container("storage-initializer", RUNNING)]))


@pytest.mark.parametrize(
    ("ready", "metadata", "expected"),
    [("True", {}, True), ("False", {}, False), ("True", {"deletionTimestamp": "2026-01-01T00:00:00Z"}, False)],
)
def test_a_pod_that_leaves_is_not_ready(ready: str, metadata: Document, expected: bool) -> None:
    pod = {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}]}}
    assert is_ready(pod) == expected


def a_deployment(status: Document, *, carries: str = "new", generation: int = 4, replicas: int = 2) -> Document:
    """A Deployment of two pods with this status."""
    template = {"metadata": {"annotations": {"spec": carries}}}
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": replicas, "template": template},
        "status": {"observedGeneration": 4, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2} | status,
    }


@pytest.mark.parametrize(
    ("deployment", "done"),
    [
        (a_deployment({}), True),
        (a_deployment({}, carries="old"), False),
        (a_deployment({}, generation=5), False),
        (a_deployment({"updatedReplicas": 1}), False),
        (a_deployment({"replicas": 3}), False),
        (a_deployment({"availableReplicas": 1}), False),
        (a_deployment({}, replicas=3), False),
        ({"metadata": {"generation": 1}, "spec": {"template": {"metadata": {}}}}, False),
    ],
)
def test_a_change_has_rolled_out_when_every_pod_is_of_it_and_available(deployment: Document, done: bool) -> None:
    assert has_rolled_out(deployment, "spec", "new", at_least=2) == done


def test_a_deployment_that_is_not_yet_told_to_grow_has_not_rolled_out() -> None:
    assert not has_rolled_out(a_deployment({}), "spec", "new", at_least=3)
    assert has_rolled_out(a_deployment({}), "spec", "new", at_least=1)
