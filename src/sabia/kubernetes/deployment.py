"""Putting a version on a cluster and taking it off again, in the order that no client notices."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sabia.contract import names
from sabia.contract.layout import Version, version_prefix
from sabia.contract.names import SPEC_ANNOTATION, VERSION_LABEL
from sabia.kubernetes import manifests
from sabia.kubernetes import route as routes
from sabia.kubernetes.cluster import Cluster, Deployed
from sabia.kubernetes.errors import DeploymentFailed, ManifestProblem, StillServing
from sabia.kubernetes.httproute import HttpRouteSplit
from sabia.rollout.weights import check_version

Document = dict[str, Any]
Log = Callable[[str], None]

# Where manifests/store/minio and manifests/training put the versions.
_BUCKET = "s3://sabia"
_POLL = 1.0
# Everything of a version that bears its name, the server first.
_OBJECTS = (
    ("serving.kserve.io/v1beta1", "InferenceService"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
)


def documents(
    model: str,
    version: Version,
    *,
    namespace: str,
    replicas: int | None = None,
    faults: str | None = None,
    baseline: bool = False,
    root: Path = manifests.ROOT,
) -> list[Document]:
    """What `kubectl apply -k` would send for a version: its folder under `versions/` or, without one, made as one.

    `replicas` takes the place of the number that the manifests give; `faults` are those of
    `sabia.serving.inference.faults`; with `baseline` it is a second copy of the version, under a name of its own.

    Raises:
        ManifestProblem: it does not build, or the folder is of another version.
    """
    name = names.inference_service(model, version, baseline=baseline)
    folder = root / "versions" / name
    if folder.is_dir():
        found = manifests.render(folder)
    else:
        with tempfile.TemporaryDirectory() as place:
            data = {"name": name, "model": model, "version": str(version)}
            data["storageUri"] = f"{_BUCKET}/{version_prefix(model, version)}"
            found = manifests.render(_folder(Path(place), data, root))
    spec = manifests.predictor(found, where=name)
    if (spec.name, spec.model, spec.version) != (name, model, str(version)):
        raise ManifestProblem(name, f"it is of {spec.model} {spec.version}")
    for document in found:
        document["metadata"]["namespace"] = namespace
    if baseline:
        service = manifests.only(found, "InferenceService", name)
        service["metadata"]["labels"][VERSION_LABEL] = names.baseline(str(version))
    if replicas is not None:
        _predictor(found)["minReplicas"] = replicas
    if faults:
        (container,) = _predictor(found)["containers"]
        container["env"].append({"name": "SABIA_FAULTS", "value": faults})
    return found


def _predictor(found: list[Document]) -> Document:
    predictor: Document = manifests.only(found, "InferenceService", "the version")["spec"]["predictor"]
    return predictor


def _folder(place: Path, data: dict[str, str], root: Path) -> Path:
    """A folder as those under `versions/` are, beside copies of what it refers to."""
    for part in ("base", "components"):
        shutil.copytree(root / part, place / part)
    folder = place / "versions" / data["name"]
    folder.mkdir(parents=True)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base", "version.yaml"],
        "components": ["../../components/version", "../../components/log"],
    }
    metadata = {"name": "version", "annotations": {"config.kubernetes.io/local-config": "true"}}
    source = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    (folder / "version.yaml").write_text(yaml.safe_dump(source))
    return folder


def deploy(cluster: Cluster, found: list[Document], *, seconds: float, log: Log, host: str | None = None) -> Deployed:
    """Apply a version, wait until it answers, and only then let the route know of it: a pin, and no weight.

    The first version of a model makes the route, for the host name that is given or `<model>.example.com`, and gets
    everything, as there is nobody else.

    Raises:
        DeploymentFailed: it was not ready in time; the route was not touched.
        NotConfirmed, Overtaken: the route was not changed.
    """
    desired = stamp(found)
    cluster.apply(found)
    log(f"waiting for {desired.model} {desired.version}")
    deployed = _wait(cluster, desired, seconds=seconds, log=log)
    _let_the_route_know(cluster, deployed, host or f"{deployed.model}.example.com")
    return deployed


@dataclass(frozen=True, slots=True)
class Desired:
    """What has to be there: pods of a version that bear this digest of their spec, at least so many."""

    model: str
    version: str
    digest: str
    replicas: int


def stamp(found: list[Document]) -> Desired:
    """Let the pods bear the digest of the spec that they are made from. Their number is no part of it."""
    predictor = _predictor(found)
    annotations = predictor.setdefault("annotations", {})
    annotations.pop(SPEC_ANNOTATION, None)
    spec = {key: value for key, value in predictor.items() if key != "minReplicas"}
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    annotations[SPEC_ANNOTATION] = digest
    version = manifests.predictor(found, where="the version")
    return Desired(version.model, version.version, digest, predictor.get("minReplicas", 1))


def _wait(cluster: Cluster, desired: Desired, *, seconds: float, log: Log) -> Deployed:
    deadline, said = time.monotonic() + seconds, ""
    while True:
        deployed = _find(cluster, desired.model, desired.version)
        if deployed.ready and cluster.has_rolled_out(deployed, desired.digest, at_least=desired.replicas):
            return deployed
        trouble = cluster.trouble(deployed)
        if trouble and trouble != said:
            log(trouble)
            said = trouble
        if time.monotonic() > deadline:
            reason = "its pods are not all there yet" if deployed.ready else deployed.reason
            raise DeploymentFailed(deployed.version, seconds, (trouble or reason).rstrip("."))
        time.sleep(_POLL)


def _find(cluster: Cluster, model: str, version: str) -> Deployed:
    versions = {item.version: item for item in cluster.versions(model)}
    check_version(version, versions)
    return versions[version]


def _let_the_route_know(cluster: Cluster, deployed: Deployed, host: str) -> None:
    split, backend = HttpRouteSplit(cluster, deployed.model), _backend(deployed)
    current = cluster.route(deployed.model)
    if current is None:
        template = manifests.only(manifests.render(manifests.ROOT / "traffic"), "HTTPRoute", "traffic")
        cluster.apply([routes.new(template, backend, namespace=cluster.namespace, host=host)])
        current = split.read()
    split.change(current, lambda route: routes.with_version(route, backend))


def _backend(deployed: Deployed) -> routes.Backend:
    return routes.Backend(deployed.model, deployed.version, deployed.service)


@dataclass(frozen=True, slots=True)
class Silence:
    """No request for `quiet` seconds, waited for at most `seconds`."""

    quiet: float
    seconds: float


def undeploy(cluster: Cluster, model: str, version: str, silence: Silence, *, log: Log) -> None:
    """Take a version off: out of the route, confirmed, seen to get no request for a while, and then away.

    Raises:
        UnknownVersion: it is not deployed.
        StillServing: it has a weight, or requests go on arriving.
        NotCounted: whether they do cannot be seen.
        NotConfirmed, Overtaken: the route was not changed.
    """
    deployed = _find(cluster, model, version)
    route = cluster.route(model)
    if route is not None:
        weight = routes.weights(route).get(deployed.service, 0)
        if weight > 0:
            raise StillServing(version, f"its weight is {weight}; move it to another version first")
        log(f"taking {version} out of the route")
        HttpRouteSplit(cluster, model).change(route, lambda found: routes.without_version(found, _backend(deployed)))
    _wait_for(silence, cluster, deployed, log=log)
    for api_version, kind in _OBJECTS:
        cluster.delete(api_version, kind, deployed.name)


def _wait_for(silence: Silence, cluster: Cluster, deployed: Deployed, *, log: Log) -> None:
    log(f"waiting until {deployed.version} has got no request for {silence.quiet:g} s")
    deadline = time.monotonic() + silence.seconds
    seen, since = cluster.requests_of(deployed), time.monotonic()
    while time.monotonic() - since < silence.quiet:
        if time.monotonic() > deadline:
            raise StillServing(deployed.version, f"requests still arrive after {silence.seconds:g} s")
        time.sleep(min(_POLL, silence.quiet))
        now = cluster.requests_of(deployed)
        if now != seen:
            seen, since = now, time.monotonic()
