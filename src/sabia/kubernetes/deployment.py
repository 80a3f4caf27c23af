"""Deploying a version to a cluster, and removing it: two lists of steps, in the order that no client notices."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sabia.kubernetes import manifests
from sabia.kubernetes import route as routes
from sabia.kubernetes.cluster import Cluster, Deployed
from sabia.kubernetes.documents import Desired, stamp
from sabia.kubernetes.errors import DeploymentFailed, StillServing
from sabia.kubernetes.httproute import HttpRouteSplit
from sabia.rollout.weights import check_version

Document = dict[str, Any]
Log = Callable[[str], None]

_POLL = 1.0
# Every object that has the name of the version; the server first.
_OBJECTS = (
    ("serving.kserve.io/v1beta1", "InferenceService"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "ServiceAccount"),
)


@dataclass(slots=True)
class Addition:
    """A version that is being deployed.

    Attributes:
        documents: what is applied, see `sabia.kubernetes.documents`.
        desired: the pods that the documents describe.
        seconds: the longest wait for them.
        host: host name of the route, if this version makes it.
        deployed: the version on the cluster, once it is ready.
    """

    cluster: Cluster
    documents: list[Document]
    desired: Desired
    seconds: float
    host: str
    log: Log
    deployed: Deployed | None = None


def apply(addition: Addition) -> None:
    """Apply its documents; no request reaches it yet."""
    addition.cluster.apply(addition.documents)


def wait_until_ready(addition: Addition) -> None:
    """Wait until every pod is of the desired spec, and ready.

    Raises:
        DeploymentFailed: they are not in time.
    """
    cluster, desired = addition.cluster, addition.desired
    addition.log(f"waiting for {desired.model} {desired.version}")
    deadline, reported = time.monotonic() + addition.seconds, ""
    while True:
        deployed = _find(cluster, desired.model, desired.version)
        if deployed.ready and cluster.has_rolled_out(deployed, desired.digest, at_least=desired.replicas):
            addition.deployed = deployed
            return
        trouble = cluster.trouble(deployed)
        if trouble and trouble != reported:
            addition.log(trouble)
            reported = trouble
        if time.monotonic() > deadline:
            reason = "not all of its pods are replaced yet" if deployed.ready else deployed.reason
            raise DeploymentFailed(deployed.version, addition.seconds, (trouble or reason).rstrip("."))
        time.sleep(_POLL)


def join_route(addition: Addition) -> None:
    """Add it to the route: it can be pinned, and its weight is 0. The first version of a model makes the route, and
    gets every request.

    Raises:
        NotConfirmed, MovedConcurrently: the route was not changed.
    """
    deployed, cluster = addition.deployed, addition.cluster
    assert deployed is not None, "wait_until_ready() comes before join_route()"
    split, backend = HttpRouteSplit(cluster, deployed.model), _backend(deployed)
    current = cluster.route(deployed.model)
    if current is None:
        template = manifests.only(manifests.render(manifests.ROOT / "traffic"), "HTTPRoute", "traffic")
        cluster.apply([routes.new(template, backend, namespace=cluster.namespace, host=addition.host)])
        current = split.read()
    split.change(current, lambda route: routes.with_version(route, backend))


DEPLOY = (apply, wait_until_ready, join_route)


def deploy(
    cluster: Cluster, documents: list[Document], *, seconds: float, log: Log, host: str | None = None
) -> Deployed:
    """Deploy a version by the steps of `DEPLOY`. Its first host name is `<model>.example.com` unless one is given.

    Raises:
        DeploymentFailed: it was not ready in time; the route was not touched.
        NotConfirmed, MovedConcurrently: the route was not changed.
    """
    desired = stamp(documents)
    addition = Addition(cluster, documents, desired, seconds, host or f"{desired.model}.example.com", log)
    for step in DEPLOY:
        step(addition)
    assert addition.deployed is not None
    return addition.deployed


@dataclass(frozen=True, slots=True)
class Silence:
    """No request for `quiet` seconds, waited for at most `seconds`."""

    quiet: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Removal:
    """A version that is being removed.

    Attributes:
        route: the route as it was read first, or None; it is changed only if it is still the same.
        silence: what must be observed before anything is deleted.
    """

    cluster: Cluster
    deployed: Deployed
    route: Document | None
    silence: Silence
    log: Log


def require_no_weight(removal: Removal) -> None:
    """Refuse to remove a version that gets requests by its weight.

    Raises:
        StillServing: it has a weight.
    """
    weight = routes.weights(removal.route).get(removal.deployed.service, 0) if removal.route else 0
    if weight > 0:
        raise StillServing(removal.deployed.version, f"its weight is {weight}; move it to another version first")


def leave_route(removal: Removal) -> None:
    """Take it out of the route: it can no longer be pinned or mirrored.

    Raises:
        NotConfirmed, MovedConcurrently: the route was not changed.
    """
    if removal.route is not None:
        removal.log(f"taking {removal.deployed.version} out of the route")
        split, backend = HttpRouteSplit(removal.cluster, removal.deployed.model), _backend(removal.deployed)
        split.change(removal.route, lambda route: routes.without_version(route, backend))


def wait_for_silence(removal: Removal) -> None:
    """Wait until its pods have counted no request for a while.

    Raises:
        StillServing: requests still arrive.
        NotCounted: they cannot be counted.
    """
    cluster, deployed, silence = removal.cluster, removal.deployed, removal.silence
    removal.log(f"waiting until {deployed.version} has got no request for {silence.quiet:g} s")
    deadline = time.monotonic() + silence.seconds
    count, since = cluster.requests_of(deployed), time.monotonic()
    while time.monotonic() - since < silence.quiet:
        if time.monotonic() > deadline:
            raise StillServing(deployed.version, f"requests still arrive after {silence.seconds:g} s")
        time.sleep(min(_POLL, silence.quiet))
        now = cluster.requests_of(deployed)
        if now != count:
            count, since = now, time.monotonic()


def delete(removal: Removal) -> None:
    """Delete its objects, the server first. Its artifact stays in the store."""
    for api_version, kind in _OBJECTS:
        removal.cluster.delete(api_version, kind, removal.deployed.name)


UNDEPLOY = (require_no_weight, leave_route, wait_for_silence, delete)


def undeploy(cluster: Cluster, model: str, version: str, silence: Silence, *, log: Log) -> None:
    """Remove a version by the steps of `UNDEPLOY`.

    Raises:
        UnknownVersion: it is not deployed.
        StillServing: it has a weight, or requests still arrive.
        NotCounted: its requests cannot be counted.
        NotConfirmed, MovedConcurrently: the route was not changed.
    """
    removal = Removal(cluster, _find(cluster, model, version), cluster.route(model), silence, log)
    for step in UNDEPLOY:
        step(removal)


def _find(cluster: Cluster, model: str, version: str) -> Deployed:
    versions = {item.version: item for item in cluster.versions(model)}
    check_version(version, versions)
    return versions[version]


def _backend(deployed: Deployed) -> routes.Backend:
    return routes.Backend(deployed.model, deployed.version, deployed.service)
