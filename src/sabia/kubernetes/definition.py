"""The definition of the `Rollout` resource, generated from the types of the plan, the actions and the phases.

A `spec` is a plan in Kubernetes' style: camelCase fields, a list of `canaries` where a plan file may name just one, and
durations as strings. Structural schemas allow one type for each field, and no references.
"""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

from sabia.contract.names import API_GROUP, API_VERSION
from sabia.contract.schema import DRAFT
from sabia.rollout.events import Action
from sabia.rollout.plan import Plan
from sabia.rollout.state import Phase

Document = dict[str, Any]

KIND, PLURAL = "Rollout", "rollouts"
# The field of a spec that is not part of the plan, and may change while it runs: the last action.
ACTION = "action"

_FROZEN = "the plan of a rollout cannot change; create another Rollout"
_COLUMNS = (
    ("Model", "string", ".spec.model", "the model"),
    ("Stable", "string", ".spec.stable", "the version that is compared with"),
    ("Canaries", "string", ".spec.canaries", "the versions that are rolled out"),
    ("Phase", "string", ".status.phase", "where the rollout stands"),
    ("Weight", "integer", ".status.canaryWeight", "percent of the requests that the canaries get"),
    ("Left", "string", ".status.timeLeft", "time until this step can end"),
    ("Summary", "string", ".status.summary", "the evidence in one line"),
    ("Age", "date", ".metadata.creationTimestamp", "time since the Rollout was created"),
)


def camel_case(name: str) -> str:
    """`minimum_dwell` as `minimumDwell`."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def snake_case(name: str) -> str:
    """`minimumDwell` as `minimum_dwell`."""
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name)


def definition() -> Document:
    """The CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{API_GROUP}"},
        "spec": {
            "group": API_GROUP,
            "scope": "Namespaced",
            "names": {"kind": KIND, "listKind": f"{KIND}List", "plural": PLURAL, "singular": KIND.lower()},
            "versions": [
                {
                    "name": API_VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path, "description": description}
                        for name, kind, path, description in _COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": schema()},
                }
            ],
        },
    }


def schema() -> Document:
    """The structural schema of a `Rollout`."""
    return {
        "type": "object",
        "description": "A rollout of a model version by evidence.",
        "required": ["spec"],
        "properties": {"spec": spec_schema(), "status": _status_schema()},
    }


def resource_json_schema() -> Document:
    """The schema of a whole `Rollout` document as JSON Schema (draft 2020-12), which editors understand."""
    found: Document = _json_schema(schema())
    constants = {"apiVersion": {"const": f"{API_GROUP}/{API_VERSION}"}, "kind": {"const": KIND}}
    return found | {
        "$schema": DRAFT,
        "title": "Sabiá Rollout",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": constants | {"metadata": {"type": "object"}} | found["properties"],
    }


def _json_schema(schema: Any) -> Any:
    """A structural schema as JSON Schema: bounds that exclude are numbers, and null is a type."""
    if isinstance(schema, list):
        return [_json_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _json_schema(value) for key, value in schema.items() if not key.startswith("x-kubernetes-")}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if found.get(exclusive) is True:
            found[exclusive] = found.pop(bound)
    if found.pop("nullable", False) is True:
        return {"anyOf": [found, {"type": "null"}]}
    return found


def spec_schema() -> Document:
    """The schema of a `spec`: the plan, frozen, and the last action."""
    (_, components) = msgspec.json.schema_components([Plan])
    spec = _structural({"$ref": "#/$defs/Plan"}, components)
    canaries = next(option for option in components["Plan"]["properties"]["canary"]["anyOf"] if "items" in option)
    properties = {
        "canaries" if name == "canary" else name: _structural(canaries, components) if name == "canary" else field
        for name, field in spec["properties"].items()
    }
    required = ["canaries" if name == "canary" else name for name in spec["required"]]
    rules = [{"rule": _unchanged(name, optional=name not in required), "message": _FROZEN} for name in properties]
    return spec | {
        "required": required,
        "properties": properties | {ACTION: _ACTION_SCHEMA},
        "x-kubernetes-validations": rules,
    }


def _unchanged(name: str, *, optional: bool) -> str:
    same = f"self.{name} == oldSelf.{name}"
    return f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {same})" if optional else same


def _structural(schema: Document, components: Document) -> Document:
    """A JSON schema as a structural schema of OpenAPI 3.0."""
    if "$ref" in schema:
        return _structural(components[schema["$ref"].rpartition("/")[2]], components)
    if "anyOf" in schema:
        return _single_type(schema, components)
    kept = {key: value for key, value in schema.items() if key not in ("title", "default", "additionalProperties")}
    if "description" in kept:
        kept["description"] = " ".join(kept["description"].split())
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in kept:
            kept |= {bound.lower(): kept[f"exclusive{bound}"], f"exclusive{bound}": True}
    if "items" in kept:
        kept["items"] = _structural(kept["items"], components)
    if "properties" in kept:
        kept["properties"] = {
            camel_case(name): _structural(field, components) for name, field in kept["properties"].items()
        }
        kept["required"] = [camel_case(name) for name in kept["required"]]
        kept = {key: value for key, value in kept.items() if value != []}
    if "enum" in kept:
        kept["type"] = "string"
    return kept


def _single_type(schema: Document, components: Document) -> Document:
    """A union as the one type that a field of a resource has: nullable, or a string where a number is allowed too."""
    options = [option for option in schema["anyOf"] if option.get("type") != "null"]
    if len(options) < len(schema["anyOf"]):
        (option,) = options
        return _structural(option, components) | {"nullable": True}
    common = {key: value for key, value in schema.items() if key not in ("anyOf", "default", "minimum")}
    text = next((option for option in options if option.get("type") == "string"), options[0])
    return _structural(text, components) | common


_ACTION_SCHEMA: Document = {
    "type": "object",
    "description": "The last action on the rollout; each id is carried out once.",
    "required": ["type"],
    "properties": {
        "type": {"type": "string", "enum": list(get_args(Action))},
        "version": {
            "type": "string",
            "maxLength": 20,
            "nullable": True,
            "description": "the canary to promote, if there are several",
        },
        "by": {"type": "string", "maxLength": 253, "description": "who acts"},
        "id": {"type": "string", "maxLength": 63, "description": "distinguishes this action from the one before"},
    },
}


def _status_schema() -> Document:
    text, count = {"type": "string"}, {"type": "integer", "format": "int64"}
    weight = {"type": "object", "properties": {"version": text, "weight": count}}
    properties = {
        "observedGeneration": count,
        "phase": {"type": "string", "enum": list(get_args(Phase))},
        "step": count | {"nullable": True, "description": "from 1"},
        "canaryWeight": count | {"description": "percent of the requests that the canaries get"},
        "weights": {"type": "array", "items": weight},
        "summary": text | {"description": "the evidence in one line"},
        "details": {"type": "array", "items": text, "description": "everything that the last decision is based on"},
        "timeLeft": text | {"nullable": True, "description": "until this step can end"},
        "etaSeconds": count | {"nullable": True},
        "lastLookTime": text | {"format": "date-time"},
        "record": text | {"description": "name of the record in the store"},
        "entry": count | {"description": "number of the record's last entry"},
        "handledAction": text | {"nullable": True, "description": "id of the last action that was carried out"},
        "conditions": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
            "items": _CONDITION_SCHEMA,
        },
    }
    return {"type": "object", "properties": properties}


_CONDITION_SCHEMA: Document = {
    "type": "object",
    "required": ["type", "status", "lastTransitionTime", "reason", "message"],
    "properties": {
        "type": {"type": "string", "maxLength": 316},
        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
        "lastTransitionTime": {"type": "string", "format": "date-time"},
        "reason": {"type": "string", "minLength": 1, "maxLength": 1024},
        "message": {"type": "string", "maxLength": 32768},
    },
}
