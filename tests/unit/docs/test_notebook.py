"""The notebook runs, and the exported one is current."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"


@pytest.mark.local
def test_the_notebook_trains_publishes_serves_predicts_and_monitors() -> None:
    spec = importlib.util.spec_from_file_location("walkthrough", NOTEBOOKS / "walkthrough.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _, found = module.app.run()
    assert found["exit_code"] == 0
    assert len(found["predictions"]) == 143
    assert found["added"].labels == 143
    assert found["report"].requests == 144  # the explanation is one
    assert found["report"].quality.accuracy.value == pytest.approx(0.979, abs=0.001)
    assert found["report"].drifted == []


@pytest.mark.slow
def test_the_exported_notebook_is_the_same(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "marimo", "export", "ipynb", str(NOTEBOOKS / "walkthrough.py")),
            *("--output", str(tmp_path / "walkthrough.ipynb"), "--sort", "top-down", "--no-sandbox"),
        ],
        check=True,
        capture_output=True,
    )

    def cells(path: Path) -> list[tuple[str, str]]:
        notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(notebook)
        return [(cell["cell_type"], cell["source"]) for cell in notebook["cells"]]

    assert cells(tmp_path / "walkthrough.ipynb") == cells(NOTEBOOKS / "walkthrough.ipynb")
    assert not any(cell.get("outputs") for cell in json.loads((NOTEBOOKS / "walkthrough.ipynb").read_text())["cells"])
