"""The documents of a version: what `kubectl apply -k` would send, and the digest that its pods carry."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sabia.contract import names
from sabia.contract.layout import Version, version_prefix
from sabia.contract.names import SPEC_ANNOTATION, VERSION_LABEL
from sabia.kubernetes import manifests
from sabia.kubernetes.errors import ManifestProblem

Document = dict[str, Any]

# The bucket to which manifests/store/minio and manifests/training publish.
_BUCKET = "s3://sabia"


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
    """What `kubectl apply -k` would send for a version: its folder under `versions/`, generated where there is none.

    `replicas` replaces the manifests' number; `faults` are those of `sabia.serving.inference.faults`; `baseline` makes
    a second copy of the version, with a name of its own.

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
    """A folder like those under `versions/`, next to copies of what it refers to."""
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


@dataclass(frozen=True, slots=True)
class Desired:
    """The desired pods of a version: at least `replicas`, all with this digest of their spec."""

    model: str
    version: str
    digest: str
    replicas: int


def stamp(found: list[Document]) -> Desired:
    """Annotate the pods with the digest of their spec, in place. The number of replicas is not part of it."""
    predictor = _predictor(found)
    annotations = predictor.setdefault("annotations", {})
    annotations.pop(SPEC_ANNOTATION, None)
    spec = {key: value for key, value in predictor.items() if key != "minReplicas"}
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]
    annotations[SPEC_ANNOTATION] = digest
    version = manifests.predictor(found, where="the version")
    return Desired(version.model, version.version, digest, predictor.get("minReplicas", 1))
