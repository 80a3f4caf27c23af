"""docs/your-model.md: every block, in its order, in an empty folder with a table."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from palmerpenguins import load_penguins

PAGE = (Path(__file__).parents[2] / "docs" / "your-model.md").read_text()
BLOCKS: list[tuple[str, str]] = re.findall(r"```(sh|python|yaml)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder with the user's table; no stack is left in it."""
    load_penguins().sample(frac=1, random_state=1).to_csv(tmp_path / "penguins.csv", index=False)
    yield tmp_path
    subprocess.run(["sabia", "down"], cwd=tmp_path, env=_environment(), capture_output=True, check=False, timeout=60)


def _environment() -> dict[str, str]:
    """The commands `sabia` and `python` are those of this environment."""
    return os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def test_the_page_does_what_it_says(folder: Path) -> None:
    printed = []
    for language, text in BLOCKS:
        if language == "sh":
            for command in text.splitlines():
                done = subprocess.run(
                    command.split(),
                    cwd=folder,
                    env=_environment(),
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=120,
                )
                assert done.returncode == 0, f"{command}: {done.stderr}"
                printed.append(done.stdout + done.stderr)
        else:
            name = text.partition("\n")[0].removeprefix("# ")
            (folder / name).write_text(text)
    text = "\n".join(printed)
    assert "penguins 1.0: first version" in text
    assert "penguins 1.1: new state" in text
    assert re.search(r"^1\.[01] (Adelie|Chinstrap|Gentoo)$", text, re.MULTILINE)
    assert "penguins" in (folder / "report.html").read_text()
