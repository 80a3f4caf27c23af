"""`python scripts/write_schema.py`: write docs/schemas/ from the types that read each format.

To publish another format, add a line to `SCHEMAS`; a test compares every file with its type. The definition of the
`Rollout` resource is written by `scripts/write_definition.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sabia.contract import manifest, reference
from sabia.contract.schema import json_schema
from sabia.kubernetes.definition import resource_json_schema
from sabia.rollout.plan import Plan

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"

SCHEMAS: dict[str, dict[str, Any]] = {
    "manifest.schema.json": json_schema(
        manifest.Manifest, "Sabiá manifest.json", schema_versions=[manifest.SCHEMA_VERSION]
    ),
    "reference.schema.json": json_schema(
        reference.Reference, "Sabiá reference.json", schema_versions=reference.READABLE
    ),
    "plan.schema.json": json_schema(Plan, "Sabiá rollout plan"),
    "rollout.schema.json": resource_json_schema(),
}


def text(schema: dict[str, Any]) -> str:
    """The content of a schema's file."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write every schema."""
    FOLDER.mkdir(exist_ok=True)
    for name, schema in SCHEMAS.items():
        (FOLDER / name).write_text(text(schema))


if __name__ == "__main__":
    main()
