"""What is installed, locked and shipped agrees with itself."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import sabia

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = sorted(ROOT.glob("requirements*.lock"))


def pins(lock: Path) -> dict[str, frozenset[str]]:
    """The hashes of every `name==version ; marker` of a lock."""
    blocks = re.findall(r"^(\S+==[^\\\n]+?) ?\\\n((?:    --hash=\S+(?: \\)?\n)+)", lock.read_text(), re.MULTILINE)
    return {name.strip(): frozenset(re.findall(r"sha256:[0-9a-f]{64}", hashes)) for name, hashes in blocks}


def test_there_is_a_lock_for_contributors_one_for_each_image_and_one_for_building() -> None:
    assert {path.name for path in LOCKS} == {
        "requirements.lock",
        "requirements.predictor.lock",
        "requirements.full.lock",
        "requirements.build.lock",
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_names_versions_and_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert len(pins(lock)) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE))
    assert all(pins(lock).values())


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_lock_is_a_part_of_one_resolution(lock: Path) -> None:
    everything = {name.split(" ;")[0]: hashes for name, hashes in pins(ROOT / "requirements.lock").items()}
    assert {name.split(" ;")[0]: hashes for name, hashes in pins(lock).items()}.items() <= everything.items()


def test_the_version_is_written_once() -> None:
    assert sabia.__version__ == metadata.version("sabia") == PROJECT["project"]["version"]
    assert "version" not in PROJECT["tool"]["setuptools"]


def test_every_extra_and_group_that_is_included_exists() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    included = {name for extra in extras.values() for text in extra for name in re.findall(r"sabia\[(.*)\]", text)}
    assert {name for names in included for name in names.split(",")} <= extras.keys()
    groups = PROJECT["dependency-groups"]
    assert {entry["include-group"] for entry in groups["dev"]} == groups.keys() - {"dev"}


def test_the_manifests_of_the_package_are_those_of_the_repository() -> None:
    assert (ROOT / "src" / "sabia" / "manifests").resolve() == ROOT / "manifests"


def test_the_manifests_hold_nothing_else() -> None:
    kinds = {
        path.suffix for path in (ROOT / "manifests").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    assert kinds == {".yaml", ".json", ".md", ".py", ""}
    assert [path.name for path in (ROOT / "manifests").rglob("*.py")] == ["setup.py"]
    assert [path.name for path in (ROOT / "manifests").rglob("*") if path.is_file() and not path.suffix] == ["up"]
