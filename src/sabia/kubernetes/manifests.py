"""The manifests, parsed from the documents that kustomize renders: a cluster gets the same ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import yaml

from sabia.contract.durations import parse_duration
from sabia.contract.names import MODEL_LABEL, VERSION_LABEL
from sabia.kubernetes.errors import ManifestProblem
from sabia.kubernetes.programs import installed
from sabia.kubernetes.specs import Match, PredictorSpec, Probe, RouteSpec, Rule

ROOT = Path(str(resources.files("sabia").joinpath("manifests")))
_CONTAINER = "kserve-container"

Document = dict[str, Any]


def render(folder: Path) -> list[Document]:
    """The documents that `kubectl kustomize` makes of a folder.

    Raises:
        ManifestProblem: it does not build; with kustomize's reason.
    """
    command = [installed("kubectl"), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    if done.returncode != 0:
        raise ManifestProblem(folder.name, (done.stderr.strip().splitlines() or ["it does not build"])[-1].rstrip("."))
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def predictors(root: Path = ROOT) -> Iterator[PredictorSpec]:
    """The predictor of every folder under `versions/`.

    Raises:
        ManifestProblem: there is no such folder, or one of them is not of a predictor.
    """
    folders = sorted(folder for folder in (root / "versions").glob("*") if folder.is_dir())
    if not folders:
        raise ManifestProblem(root.name, "there is no folder under versions/")
    for folder in folders:
        yield predictor(render(folder), where=folder.name)


def predictor(documents: list[Document], *, where: str) -> PredictorSpec:
    """The predictor among rendered documents.

    Raises:
        ManifestProblem: there is not exactly one InferenceService, or it lacks what a server needs.
    """
    service = only(documents, "InferenceService", where)
    try:
        return _predictor(service)
    except _NoArtifact as error:
        raise ManifestProblem(where, "it serves no artifact; an image of your own runs on a cluster alone") from error
    except (KeyError, TypeError, StopIteration, msgspec.ValidationError) as error:
        raise ManifestProblem(where, f"the InferenceService lacks what a predictor needs ({error!r})") from error


@dataclass(frozen=True, slots=True)
class Identity:
    """Which version an InferenceService serves, and its name."""

    name: str
    model: str
    version: str


def identity(documents: list[Document], *, where: str) -> Identity:
    """What the one InferenceService among rendered documents serves.

    Raises:
        ManifestProblem: there is not exactly one InferenceService, or it does not say what it serves.
    """
    metadata = only(documents, "InferenceService", where)["metadata"]
    try:
        return Identity(metadata["name"], metadata["labels"][MODEL_LABEL], metadata["labels"][VERSION_LABEL])
    except KeyError as error:
        raise ManifestProblem(where, f"the InferenceService has no {error}") from error


def routes(documents: list[Document], *, where: str) -> list[RouteSpec]:
    """The routes among rendered documents, one for each model.

    Raises:
        ManifestProblem: there is none, or one uses what this platform does not do.
    """
    found = [document for document in documents if document.get("kind") == "HTTPRoute"]
    if not found:
        raise ManifestProblem(where, "there is no HTTPRoute")
    return [route([document], where=where) for document in found]


def route(documents: list[Document], *, where: str) -> RouteSpec:
    """The route among rendered documents.

    Raises:
        ManifestProblem: there is not exactly one HTTPRoute, or it uses what this platform does not do.
    """
    document = only(documents, "HTTPRoute", where)
    try:
        return _route(document)
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ManifestProblem(
            where, f"the HTTPRoute uses what the one-machine gateway does not do ({error})"
        ) from error


def only(documents: list[Document], kind: str, where: str) -> Document:
    """The one document of a kind.

    Raises:
        ManifestProblem: there is none, or more than one.
    """
    found = [document for document in documents if document.get("kind") == kind]
    if len(found) != 1:
        raise ManifestProblem(where, f"there are {len(found)} {kind} documents, one is needed")
    return found[0]


class _NoArtifact(Exception):
    """A container without the URL of an artifact."""


def _predictor(service: Document) -> PredictorSpec:
    containers = service["spec"]["predictor"]["containers"]
    container = next(item for item in containers if item["name"] == _CONTAINER)
    env = {item["name"]: item["value"] for item in container.get("env", [])}
    if "STORAGE_URI" not in env:
        raise _NoArtifact
    labels = service["metadata"]["labels"]
    return PredictorSpec(
        name=service["metadata"]["name"],
        model=labels[MODEL_LABEL],
        version=labels[VERSION_LABEL],
        args=list(container.get("args", [])),
        storage_uri=env.pop("STORAGE_URI"),
        env=env,
        startup=_probe(container["startupProbe"]),
        readiness=_probe(container["readinessProbe"]),
    )


def _probe(document: Document) -> Probe:
    # The defaults are Kubernetes' own (core/v1 Probe).
    return Probe(
        path=document["httpGet"]["path"],
        period=float(document.get("periodSeconds", 10)),
        timeout=float(document.get("timeoutSeconds", 1)),
        failures=int(document.get("failureThreshold", 3)),
    )


# The HTTPRoute is read strictly: a field that the one-machine gateway would not honour is refused, not dropped.


class _Path(msgspec.Struct, forbid_unknown_fields=True):
    value: str
    type: str = "PathPrefix"


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: str
    type: str = "Exact"


class _Match(msgspec.Struct, forbid_unknown_fields=True):
    path: _Path
    headers: list[_Header] = []


class _Backend(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    port: int
    weight: int = 1


class _MirrorTarget(msgspec.Struct, forbid_unknown_fields=True):
    backendRef: _Backend  # noqa: N815  the Gateway API's own spelling


class _Filter(msgspec.Struct, forbid_unknown_fields=True):
    type: str
    requestMirror: _MirrorTarget  # noqa: N815


class _Timeouts(msgspec.Struct, forbid_unknown_fields=True):
    request: str


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    matches: list[_Match]
    backendRefs: list[_Backend]  # noqa: N815
    name: str = ""
    filters: list[_Filter] = []
    timeouts: _Timeouts | None = None


class _RouteBody(msgspec.Struct, forbid_unknown_fields=True):
    rules: list[_Rule]
    parentRefs: list[dict[str, Any]] = []  # noqa: N815
    hostnames: list[str] = []


def _route(document: Document) -> RouteSpec:
    body = msgspec.convert(document["spec"], _RouteBody)
    rules = [_rule(rule) for rule in body.rules]
    splits = [rule for rule in rules if not rule.pinned]
    if len(splits) != 1:
        raise TypeError(f"{len(splits)} rules without a header; the split is the one that has none")
    return RouteSpec(document["metadata"]["name"], body.hostnames, splits[0], [rule for rule in rules if rule.pinned])


def _rule(rule: _Rule) -> Rule:
    for match in rule.matches:
        if match.path.type not in ("Exact", "PathPrefix") or any(header.type != "Exact" for header in match.headers):
            raise TypeError("a match by regular expression")
    return Rule(
        matches=[
            Match(
                path=match.path.value,
                exact=match.path.type == "Exact",
                headers={header.name: header.value for header in match.headers},
            )
            for match in rule.matches
        ],
        weights={backend.name: backend.weight for backend in rule.backendRefs},
        mirrors=[item.requestMirror.backendRef.name for item in rule.filters],
        timeout=parse_duration(rule.timeouts.request) if rule.timeouts else None,
    )
