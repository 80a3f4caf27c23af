"""`python scripts/write_definition.py`: write the definition of the `Rollout` resource from the types of the plan.

Writes `manifests/operator/customresourcedefinition.yaml`, and the schema that tests check documents against.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from sabia.contract.names import API_GROUP, API_VERSION
from sabia.kubernetes.definition import KIND, definition, schema

ROOT = Path(__file__).parents[1]
DEFINITION = ROOT / "manifests" / "operator" / "customresourcedefinition.yaml"
SCHEMA = ROOT / "tests" / "unit" / "manifests" / "schemas" / f"{API_GROUP}_{API_VERSION}.json"

_HEADER = """\
# A rollout by evidence: `spec` is the plan (docs/rollouts.md), `status` is written by the operator.
# Generated from the plan's types by scripts/write_definition.py; a test checks that it is current.
"""


def definition_text() -> str:
    """The manifest."""
    return _HEADER + yaml.dump(definition(), Dumper=_Dumper, sort_keys=False, width=120)


def schema_text() -> str:
    """The schema in the form of those that `scripts/take_schemas.py` takes from a cluster."""
    name = f"dev.sabia.{API_VERSION}.{KIND}"
    strings = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
    rollout = schema() | {"properties": strings | schema()["properties"]}
    document = {"kinds": {KIND: name}, "components": {"schemas": {name: _without_prose(rollout)}}}
    return json.dumps(document, sort_keys=True, separators=(",", ":")) + "\n"


class _Dumper(yaml.SafeDumper):
    """YAML without anchors: kubectl prints what is applied, and people read it."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything out."""
        del data
        return True


def _without_prose(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_prose(item) for key, item in value.items() if not (key == "description" and isinstance(item, str))
    }


def main() -> None:
    """Write both files."""
    DEFINITION.write_text(definition_text())
    SCHEMA.write_text(schema_text())


if __name__ == "__main__":
    main()
