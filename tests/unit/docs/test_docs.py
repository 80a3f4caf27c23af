"""What users can type, call, set or read is documented, and what is documented exists."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from sabia.cli import rollouts
from sabia.cli.commands import COMMANDS
from sabia.rollout.plan import Plan, from_mapping, parse

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
COMMAND_PAGE = (ROOT / "docs" / "commands.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
ROLLOUTS = (ROOT / "docs" / "rollouts.md").read_text()
VERBS = re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE)
IGNORED = {line.strip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
FOLDERS = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in IGNORED | {".git", ".ci"})


def test_the_makefile_has_at_most_twelve_verbs_each_with_its_help() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert sorted(phony[1].split()) == sorted(VERBS)
    assert len(VERBS) <= 12


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_every_make_verb_that_is_mentioned_exists() -> None:
    texts = [README, (ROOT / "CONTRIBUTING.md").read_text()]
    mentioned = {verb for text in texts for verb in re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)}
    assert {"demo", "test"} <= mentioned <= set(VERBS)


@pytest.mark.parametrize("command", [name for name, command in COMMANDS.items() if command.summary])
def test_every_command_is_documented(command: str) -> None:
    assert f"`sabia {command}" in COMMAND_PAGE


@pytest.mark.parametrize(
    "verb",
    [command.name or command.callback.__name__ for command in rollouts.app.registered_commands if command.callback],
)
def test_every_command_on_a_rollout_is_documented(verb: str) -> None:
    assert f"`sabia rollout {verb}" in COMMAND_PAGE


@pytest.mark.parametrize("name", [field.name for field in msgspec.structs.fields(Plan)])
def test_every_field_of_a_plan_is_documented(name: str) -> None:
    assert re.search(rf"^{name}:", ROLLOUTS, re.MULTILINE)


def test_the_plan_that_is_documented_is_the_default() -> None:
    text = re.search(r"```yaml\n(model: .*?)```", ROLLOUTS, re.DOTALL)
    assert text is not None
    assert parse(text[1]) == from_mapping({"model": "breast-cancer", "stable": "1.2", "canary": "2.0"})


def test_the_example_is_a_plan() -> None:
    for path in (ROOT / "examples").glob("*.yaml"):
        assert parse(path.read_text()).model == "breast-cancer"


@pytest.mark.parametrize(
    "document", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name
)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_readme_names_every_folder(folder: str) -> None:
    assert f"`{folder}/`" in README
