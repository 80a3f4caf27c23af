"""The one entry point: what it lists, what it imports, and what it never takes for its own."""

from __future__ import annotations

import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sabia.cli.commands import COMMANDS

pytestmark = pytest.mark.slow  # starts processes

HOSTILE = "import pathlib, sys; pathlib.Path(__file__).with_suffix('.taken').touch(); sys.exit(0)\n"
LISTED = [name for name, command in COMMANDS.items() if command.summary]


def sabia(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command, run in a folder."""
    command = [sys.executable, "-P", "-m", "sabia", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=folder)


def imported_by(*arguments: str, before: str = "") -> tuple[int, set[str]]:
    """The exit code of a command, and every top-level package that its process has imported in the end."""
    code = (
        f"import json, sys\n{before}\nfrom sabia.__main__ import main\n"
        f"try:\n    code = main({list(arguments)!r})\nexcept SystemExit as end:\n    code = end.code\n"
        "print(); print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, timeout=60)
    code_, modules = json.loads(done.stdout.splitlines()[-1])
    return code_, set(modules)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with files that have the names of ours and of libraries, and leave a mark when one is imported."""
    for name in ("sabia", "predictor", "training", "cli", "numpy", "typer", "kserve_storage", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(HOSTILE)
    for name in ("sabia", "training", "rollout"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(HOSTILE)
    (tmp_path / "sabia.yaml").write_text("not: ours\n")
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["versions", "--store", "file:///nowhere/at/all"], 5),
        (["status", "--folder", "none"], 5),
        (["serve", "nothing", "--http_port", "0"], 1),
        (["fetch", "file:///nowhere", "target"], 1),
    ],
)
def test_nothing_in_the_current_folder_is_taken_for_ours(hostile: Path, arguments: list[str], code: int) -> None:
    assert sabia(*arguments, folder=hostile).returncode == code
    assert list(hostile.rglob("*.taken")) == []


def test_every_child_is_started_without_the_current_folder() -> None:
    """`-P` keeps it out of the import path; `-I` does too. A module started by `-m` alone would look there first."""
    source = Path(sys.modules["sabia"].__file__ or "").parent
    for path in source.rglob("*.py"):
        for options in re.findall(r"sys\.executable,([^\]]*)\]", path.read_text()):
            assert options.strip().startswith(('"-P", ', '"-I", ')), path


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = sabia("--help", folder=tmp_path)
    assert done.returncode == 0
    assert re.findall(r"^  (\w+) +[A-Z]", done.stdout, re.MULTILINE) == LISTED


@pytest.mark.parametrize("name", [name for name in LISTED if name != "serve"])
def test_the_line_of_a_command_is_the_first_sentence_of_its_help(name: str) -> None:
    command = COMMANDS[name]
    found = getattr(importlib.import_module(command.module), command.name)
    text = found.info.help if isinstance(found, typer.Typer) else inspect.getdoc(found)
    assert re.split(r"(?<=\.)\s", text or "")[0] == command.summary


def test_a_command_imports_what_it_needs() -> None:
    code, modules = imported_by("--help")
    assert (code, modules & {"typer", "rich", "numpy", "onnxruntime"}) == (0, set())
    code, modules = imported_by("serve", "/nowhere")
    assert (code, modules & {"typer", "rich", "requests", "kubernetes", "sklearn"}) == (1, set())
    code, modules = imported_by("versions", "--store", "file:///nowhere/at/all")
    assert (code, modules & {"kubernetes", "sklearn", "duckdb", "onnxruntime"}) == (5, set())


@pytest.mark.parametrize(
    ("name", "library", "extra"), [("operator", "kopf", "kubernetes"), ("dash", "starlette", "monitoring")]
)
def test_a_command_without_its_libraries_names_the_extra(name: str, library: str, extra: str) -> None:
    code = f"import sys; sys.modules[{library!r}] = None; from sabia.__main__ import main; sys.exit(main([{name!r}]))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"error: `sabia {name}` needs {library}, which pip install 'sabia[{extra}]' brings.\n"
