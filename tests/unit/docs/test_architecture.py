"""The page about the architecture leads to what exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
# | question | [`dotted.name`](../path) … |
RULES = re.findall(r"\[`(sabia[\w.]*)`\]\(\.\./(src/[\w/.]+)\)", PAGE)
QUESTIONS = [
    "status of a ragged row",
    "what is a MINOR",
    "when may a rollout promote",
    "when is drift reported",
    "order of removing a version",
    "where log rows wait",
    "whose request id counts",
    "exit code of a missing alias",
    "two operators",
    "largest body",
    "name of an InferenceService",
    "form of `reference.json`",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_an_answer(question: str) -> None:
    answers = re.findall(rf"^\| {re.escape(question)} \| (.+) \|$", PAGE, re.MULTILINE)
    assert len(answers) == 1
    assert "](../" in answers[0]


@pytest.mark.parametrize(("name", "path"), RULES, ids=[name for name, _ in RULES])
def test_every_name_exists_in_the_file_it_is_linked_to(name: str, path: str) -> None:
    module = importlib.import_module(path.removeprefix("src/").removesuffix(".py").replace("/", "."))
    assert name == module.__name__ or name.startswith(f"{module.__name__}.")
    rest = name.removeprefix(module.__name__).strip(".").split(".")
    value: object = module
    for part in filter(None, rest):
        value = getattr(value, part)
    if rest != [""]:
        assert getattr(vars(module)[rest[0]], "__module__", module.__name__) == module.__name__


def test_every_package_has_its_line() -> None:
    packages = {path.parent.name for path in (ROOT / "src" / "sabia").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^\| `sabia\.(\w+)` \|", PAGE, re.MULTILINE))
