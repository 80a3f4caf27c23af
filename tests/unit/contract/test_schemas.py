"""The schemas in docs/schemas/, against the types that they are made from and against published files."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sabia.registry.verification import Artifact

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "schemas"
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "write_schema.py"))
SCHEMAS: dict[str, dict[str, Any]] = SCRIPT["SCHEMAS"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_published_schema_is_current(name: str) -> None:
    """Else run `python scripts/write_schema.py`."""
    assert (FOLDER / name).read_text() == SCRIPT["text"](SCHEMAS[name])


def test_the_folder_holds_no_schema_of_a_format_that_is_gone() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(SCHEMAS)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_published_schema_is_a_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_a_published_reference_follows_its_schema(linear: Artifact) -> None:
    document = json.loads(linear.files["reference.json"])
    jsonschema.validate(document, SCHEMAS["reference.schema.json"])
    others: list[dict[str, Any]] = [{"schema_version": 3}, {"rows": -1}, {"prediction": {"edges": []}}]
    for changed in others:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | changed, SCHEMAS["reference.schema.json"])
