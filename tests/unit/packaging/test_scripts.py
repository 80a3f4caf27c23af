"""Scripts that cluster tests run in pods import what the package has: nothing else reads them before a cluster does."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parents[2] / "cluster"
IMPORT = re.compile(r"^(?:from ([\w.]+) )?import (\w[\w., ]*)$", re.MULTILINE)


def imports(path: Path) -> list[tuple[str, str]]:
    """Module and name of every import within the strings of a file; without a name where a module is imported."""
    strings = [
        node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)
    ]  # an f-string's parts are constants too
    return [
        (module, name.strip()) if module else (name.strip(), "")
        for text in strings
        if isinstance(text, str)
        for module, names in IMPORT.findall(text)
        for name in names.split(",")
    ]


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("test_*.py")), ids=lambda path: path.name)
def test_a_script_imports_what_exists(path: Path) -> None:
    for module, name in imports(path):
        found = import_module(module)
        if name and not hasattr(found, name):
            import_module(f"{module}.{name}")


def test_scripts_are_found() -> None:
    everything = {pair for path in CLUSTER.glob("test_*.py") for pair in imports(path)}
    assert {("sabia.store.objects", "Store"), ("sabia.monitoring.archive", "Archive")} <= everything
