"""The published JSON Schema of a format, generated from the struct that reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: type[msgspec.Struct], title: str, *, schema_versions: Sequence[int] = ()) -> dict[str, Any]:
    """The schema (draft 2020-12) of a struct, titled; documents must have one of `schema_versions`, if it has any."""
    schema = {"$schema": DRAFT, "title": title, **msgspec.json.schema(kind)}
    definitions: dict[str, Any] = schema["$defs"]
    for definition in definitions.values():
        # Docstrings are indented for Python; a schema's description is one paragraph.
        if "description" in definition:
            definition["description"] = re.sub(r"\s+", " ", definition["description"])
    if schema_versions:
        definitions[kind.__name__]["properties"]["schema_version"] = {"enum": list(schema_versions)}
    return schema
