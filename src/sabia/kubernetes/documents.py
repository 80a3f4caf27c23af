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


@dataclass(frozen=True, slots=True)
class Code:
    """A class of a user's, in an image of theirs.

    Attributes:
        image: has the server, the class and what it imports.
        model_class: as `package.module:Class`.
        artifact: the class is given the version's files, as an `ArtifactModel` is.
    """

    image: str
    model_class: str
    artifact: bool = False


def documents(
    model: str,
    version: Version,
    *,
    namespace: str,
    replicas: int | None = None,
    faults: str | None = None,
    baseline: bool = False,
    code: Code | None = None,
    root: Path = manifests.ROOT,
) -> list[Document]:
    """What `kubectl apply -k` would send for a version: its folder under `versions/`, or a generated one.

    It is generated if there is none, and for `code`. `replicas` replaces the manifests' number; `faults` are those of
    `sabia.serving.inference.faults`; `baseline` makes a second copy of the version, with a name of its own.

    Raises:
        ManifestProblem: it does not build, or the folder is of another version.
    """
    name = names.inference_service(model, version, baseline=baseline)
    folder = root / "versions" / name
    if code is None and folder.is_dir():
        found = manifests.render(folder)
    else:
        with tempfile.TemporaryDirectory() as place:
            spec = {"model": model, "version": str(version)}
            if code is None or code.artifact:
                spec["storageUri"] = f"{_BUCKET}/{version_prefix(model, version)}"
            if code is not None:
                spec |= {"image": code.image, "modelClass": code.model_class}
            found = manifests.render(_folder(Path(place), name, spec, root))
    identity = manifests.identity(found, where=name)
    if identity != manifests.Identity(name, model, str(version)):
        raise ManifestProblem(name, f"it is of {identity.model} {identity.version}")
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


def _folder(place: Path, name: str, spec: dict[str, str], root: Path) -> Path:
    """A folder like those under `versions/`, next to copies of what it refers to."""
    for part in ("base", "components"):
        shutil.copytree(root / part, place / part)
    folder = place / "versions" / name
    folder.mkdir(parents=True)
    parts = [part for part, field in (("version", "storageUri"), ("code", "image")) if field in spec]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base", "version.yaml"],
        "components": [f"../../components/{part}" for part in (*parts, "log")],
    }
    metadata = {"name": name, "annotations": {"config.kubernetes.io/local-config": "true"}}
    source = {"apiVersion": f"{names.API_GROUP}/v1", "kind": "Version", "metadata": metadata, "spec": spec}
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
    version = manifests.identity(found, where="the version")
    return Desired(version.model, version.version, digest, predictor.get("minReplicas", 1))
