"""The wheel, and new virtual environments that hold it and nothing of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = str(Path(sys.executable).parent / "uv")
# What uv reports when no index answers, as opposed to an index that lacks a package.
_UNREACHABLE = ("error sending request", "dns error", "network connectivity is disabled", "operation timed out")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder installs packages and starts processes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.local)


def uv(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run uv; the caller checks the exit code."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    command = [UV, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)


@dataclass(frozen=True)
class Installed:
    """A virtual environment with the wheel in it, a home and a folder to work in, all of them new.

    Attributes:
        folder: the current folder of every command.
        home: the user's home, which commands must leave empty.
    """

    environment: Path
    folder: Path
    home: Path

    def command(self, *arguments: str) -> list[str]:
        """The command line of `sabia` with these arguments."""
        return [str(self.environment / "bin" / "sabia"), *arguments]

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a user who has set none of ours. No bytecode: the installation must not change."""
        return {
            "PATH": f"{self.environment / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def sabia(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return self.run(self.command(*arguments))

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python to its end, without the current folder in its path."""
        return self.run([str(self.environment / "bin" / "python"), "-P", *arguments])

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end."""
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=240, cwd=self.folder, env=self.variables
        )


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`sdist`, and the `wheel` built from it, made of a copy of the sources: the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, source)
    for name in ("src", "manifests", "docs", "examples"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("*.egg-info"))
    built = uv(
        "build", "--offline", "--no-build-isolation", "--python", sys.executable, "--out-dir", source / "dist", source
    )
    assert built.returncode == 0, built.stderr
    (sdist,) = (source / "dist").glob("*.tar.gz")
    (wheel,) = (source / "dist").glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


def _install(folder: Path, requirement: str) -> Installed:
    """A new environment with a requirement, at the versions of the lock, from the index that the lock came from."""
    environment = folder / "environment"
    made = uv("venv", "--quiet", "--python", sys.executable, environment)
    assert made.returncode == 0, made.stderr
    done = uv(
        *("pip", "install", "--quiet", "--python", environment / "bin" / "python", "--only-binary", ":all:"),
        *("--constraint", ROOT / "requirements.lock", requirement),
    )
    if done.returncode != 0 and any(reason in done.stderr for reason in _UNREACHABLE):
        pytest.skip(f"the package index is unreachable: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    (folder / "work").mkdir()
    (folder / "home").mkdir()
    return Installed(environment, folder / "work", folder / "home")


@pytest.fixture(scope="module")
def base(archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """`pip install sabia`."""
    return _install(tmp_path_factory.mktemp("base"), str(archives["wheel"]))


@pytest.fixture
def local(archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """`pip install 'sabia[local]'`."""
    found = _install(tmp_path_factory.mktemp("local"), f"{archives['wheel']}[local]")
    yield found
    found.sabia("down")
