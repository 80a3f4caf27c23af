"""The schemas of a real cluster (see scripts/take_schemas.py), and a check of documents against them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

FOLDER = Path(__file__).parent / "schemas"


class UnknownKind(Exception):
    """No schema was taken for this kind."""


def problems(document: dict[str, Any]) -> list[str]:
    """What a cluster would not accept of a document, or would drop from it in silence; empty when it is good."""
    found = sorted(_validator(document["apiVersion"], document["kind"]).iter_errors(document), key=str)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


@cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    group, _, version = api_version.rpartition("/")
    path = FOLDER / f"{group or 'api'}_{version}.json"
    if not path.exists():
        raise UnknownKind(f"{api_version} {kind}")
    document = json.loads(path.read_text())
    if kind not in document["kinds"]:
        raise UnknownKind(f"{api_version} {kind}")
    closed = {name: _closed(schema) for name, schema in document["components"]["schemas"].items()}
    root = {"$ref": f"#/components/schemas/{document['kinds'][kind]}", "components": {"schemas": closed}}
    return jsonschema.Draft202012Validator(root)


def _closed(schema: Any) -> Any:
    """OpenAPI's schema as JSON Schema, refusing fields that it does not know: a cluster would drop them in silence."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    found = dict(_entries(schema))
    if "properties" in found and "additionalProperties" not in found:
        found["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return found


def _entries(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if key == "properties":
            yield key, {name: _closed(item) for name, item in value.items()}
        elif key == "format" and value == "int-or-string":
            yield "type", ["integer", "string"]
        elif key not in ("default", "description"):
            yield key, _closed(value)
