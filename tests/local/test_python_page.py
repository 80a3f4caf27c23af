"""docs/python.md: its examples are typed, and do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from sabia.local.process import free_ports
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text()
PUBLISH, IMPORT, PREDICT, SERVE, ASK = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(folder: Path, code: str) -> list[str]:
    """What a script prints, line by line."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, as a user's."""
    return tmp_path_factory.mktemp("python")


@pytest.fixture(scope="module")
def printed(folder: Path) -> list[str]:
    """What publishing and predicting print."""
    return run(folder, PUBLISH + PREDICT)


@pytest.fixture
def port(folder: Path, printed: list[str]) -> Iterator[int]:
    """The port of a server that the page's example runs."""
    assert printed
    (port,) = free_ports(1)
    code = SERVE.replace("8080", str(port))
    with subprocess.Popen([sys.executable, "-P", "-c", code], cwd=folder) as process:
        try:
            eventually(lambda: _is_ready(port), seconds=60)
            yield port
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/v1/models/tumours", timeout=2).ok
    except requests.ConnectionError:
        return False


def test_the_examples_are_typed(tmp_path: Path) -> None:
    scripts = {"one.py": PUBLISH + IMPORT + PREDICT + ASK, "two.py": SERVE}
    for name, code in scripts.items():
        (tmp_path / name).write_text(code)
    files = [str(tmp_path / name) for name in scripts]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout


def test_a_model_is_published_and_predicts_in_this_process(folder: Path, printed: list[str]) -> None:
    version, loaded = printed[-2:]
    assert version == f"1.0 first version {(folder / 'store').as_uri()}/models/tumours/1.0/"
    assert float(loaded.split()[0]) > 0.9
    assert "mean radius" in loaded


def test_publishing_again_finds_the_version(folder: Path, printed: list[str]) -> None:
    assert printed
    assert run(folder, PUBLISH)[-1].startswith("1.0 nothing changed ")


def test_a_file_is_imported(folder: Path, printed: list[str]) -> None:
    assert printed
    version, accuracy = run(folder, PUBLISH + IMPORT)[-1].split()
    assert version == "1.0"
    assert float(accuracy) > 0.9


def test_a_server_predicts_what_a_notebook_does(folder: Path, port: int) -> None:
    served, by_name, refused = run(folder, PUBLISH + PREDICT + ASK.replace("8080", str(port)))[-3:]
    version, distance = served.split()
    assert version == "1.0"
    assert float(distance) <= 1e-12
    assert re.fullmatch(r"\[[0-9.e-]+\]", by_name)
    assert refused == "400 instances[0] has 2 values; the model takes 30."
