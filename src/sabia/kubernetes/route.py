"""An HTTPRoute as a document: read and rewritten here, without a cluster.

One rule is the split, which every request without a pin meets; each other one pins a version by a header. A rule keeps
its place when a version is added: Envoy Gateway names the backends of a rule by the rule's place, and when another rule
takes it, calls are for a moment without backends, or with those of the other rule. So the split comes first, and new
pins last. Which rule is meant does not depend on their order, since a match with a header goes before one without.
Every function returns a new document and leaves its argument as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sabia.contract import names
from sabia.contract.names import PIN_HEADER, SPLIT

Document = dict[str, Any]

_PORT = 80
_MIRROR = "RequestMirror"


@dataclass(frozen=True, slots=True)
class Backend:
    """The Service of a version of a model."""

    model: str
    version: str
    service: str


def new(template: Document, backend: Backend, *, namespace: str, host: str) -> Document:
    """A route of one version, which gets everything, attached to the gateway that `template` is attached to."""
    split = {
        "name": SPLIT,
        "matches": _paths(backend.model),
        "backendRefs": [_reference(backend.service) | {"weight": 100}],
    }
    rules = [split, _pin(backend)]
    return {
        "apiVersion": template["apiVersion"],
        "kind": template["kind"],
        "metadata": {"name": backend.model, "namespace": namespace},
        "spec": {"parentRefs": copy.deepcopy(template["spec"]["parentRefs"]), "hostnames": [host], "rules": rules},
    }


def with_version(route: Document, backend: Backend) -> Document:
    """The route with a version that a header can pin and that gets nothing else yet; unchanged where it is there."""
    found = copy.deepcopy(route)
    rules = found["spec"]["rules"]
    if backend.service not in weights(found):
        _split(found).setdefault("backendRefs", []).append(_reference(backend.service) | {"weight": 0})
    if not any(_pins(rule) == backend.version for rule in rules):
        rules.append(_pin(backend))
    return found


def without_version(route: Document, backend: Backend) -> Document:
    """The route without a version: no pin, no backend, no mirror."""
    found = copy.deepcopy(route)
    split = _split(found)
    split["backendRefs"] = [item for item in split["backendRefs"] if item["name"] != backend.service]
    found["spec"]["rules"] = [rule for rule in found["spec"]["rules"] if _pins(rule) != backend.version]
    return with_mirror(found, None) if mirror(found) == backend.service else found


def weights(route: Document) -> dict[str, int]:
    """The weights of the split, by Service name."""
    return {item["name"]: item.get("weight", 1) for item in _split(route).get("backendRefs") or []}


def with_weights(route: Document, by_service: Mapping[str, int]) -> Document:
    """The route with other weights in its split; Services that are not named keep theirs."""
    found = copy.deepcopy(route)
    for item in _split(found)["backendRefs"]:
        item["weight"] = by_service.get(item["name"], item.get("weight", 1))
    return found


def mirror(route: Document) -> str | None:
    """The Service that the requests of the split are mirrored to, or None."""
    filters = _split(route).get("filters") or []
    return next((item["requestMirror"]["backendRef"]["name"] for item in filters if item["type"] == _MIRROR), None)


def with_mirror(route: Document, service: str | None) -> Document:
    """The route whose split mirrors requests to a Service, or to none."""
    found = copy.deepcopy(route)
    split = _split(found)
    filters = [item for item in split.pop("filters", None) or [] if item["type"] != _MIRROR]
    if service is not None:
        filters.append({"type": _MIRROR, "requestMirror": {"backendRef": _reference(service)}})
    if filters:
        split["filters"] = filters
    return found


def _split(route: Document) -> Document:
    rule: Document = next(rule for rule in route["spec"]["rules"] if _pins(rule) is None)
    return rule


def _pins(rule: Document) -> str | None:
    headers = [header for match in rule.get("matches", []) for header in match.get("headers", [])]
    return next((header["value"] for header in headers if header["name"].lower() == PIN_HEADER), None)


def _pin(backend: Backend) -> Document:
    header = {"name": PIN_HEADER, "value": backend.version}
    matches = [match | {"headers": [header]} for match in _paths(backend.model)]
    # A V2 path that names the version is a pin too; a longer prefix goes before the split's.
    versioned = f"{names.v2_model(backend.model)}/versions/{names.published(backend.version)}"
    if not names.is_baseline(backend.version):
        matches.append({"path": {"type": "PathPrefix", "value": versioned}})
    name = "pin-" + backend.version.replace(".", "-")
    return {"name": name, "matches": matches, "backendRefs": [_reference(backend.service)]}


def _paths(model: str) -> list[Document]:
    # Written out: a PathPrefix of /v1/models/<m> compares whole elements and misses /v1/models/<m>:predict.
    exact = [names.v1_model(model), names.v1_predict(model), names.v1_explain(model)]
    found = [{"path": {"type": "Exact", "value": path}} for path in exact]
    return [*found, {"path": {"type": "PathPrefix", "value": names.v2_model(model)}}]


def _reference(service: str) -> Document:
    return {"name": service, "port": _PORT}
