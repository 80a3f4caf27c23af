"""Prose and names use the words of `docs/glossary.md`: the worst patterns of unidiomatic English do not come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]


class Pattern(NamedTuple):
    """A pattern to keep out, and what to write."""

    regex: str
    instead: str


PATTERNS = [
    Pattern(r"\bwhoever\b", "name the actor: the client, the operator, another writer"),
    Pattern(r"\bnobody\b", "name the actor, in a negative sentence: no client, no other writer"),
    Pattern(r"\bsomebody\b", "name the actor: a person, another client, another writer"),
    Pattern(r"\banew\b", "again"),
    Pattern(r"\bfor ever\b", "say when it ends: never expires, until the deadline"),
    Pattern(r"\bso (?:many|long)\b", "a count or a duration: this many rows, `seconds`"),
    Pattern(r"\bby (?:itself|themselves)\b", "automatically, alone"),
    Pattern(r"\blies? in\b", "is stored in, is in"),
    Pattern(r"\b(?:lies|lay) (?:there|outside|between|elsewhere)\b", "is there, is outside, is between"),
    Pattern(r"\bbears?\b", "carries, has"),
    Pattern(r"\b(?:is|are|was|were) away\b", "is unavailable"),
    Pattern(
        r"(?<!there )\b(?:is|are) no (?:date|error|float|HTTP|JSON|label|list|model|name|number|one)\b", "is not a …"
    ),
    Pattern(r"\b(?:is|are|was|were|be|been) told\b(?! apart)", "notify, return, configure: name the effect"),
    Pattern(r"\bshort form\b", "linear fast path"),
    Pattern(r"\bsigns? of life\b", "heartbeat"),
    Pattern(r"\bby the dozen\b", "in batches"),
    Pattern(r"\bthe (?:house|money)\b", "the layout; the wealth"),
    Pattern(r"\botherwise than\b", "differently from"),
    Pattern(r"\bdef (?:after|begin|but|look|of|say|tell)\(", "name what it is or does"),
]
DOCUMENTS = ["*.md", "docs/**/*.md", "manifests/**/*.md"]
SOURCES = [
    *("*.toml", "Makefile", "Dockerfile", "kind-config.yaml"),
    *("benchmarks/**/*.py", "notebooks/*.py", "predictor/*.py", "scripts/*.py", "training/*.py"),
    *("src/**/*.py", "tests/**/*.py"),
    *("src/**/*.js", "src/**/*.css", "src/**/*.j2", "src/**/*.html", "src/**/recipes/*.yaml"),
    *("manifests/**/*.yaml", "manifests/**/*.py", "manifests/**/*.sh", "manifests/platform/up", "examples/*.yaml"),
]
# The rules themselves.
SKIPPED = {Path(__file__)}
# (file, text of the line) -> why it stays.
ALLOWED: dict[tuple[str, str], str] = {}


def _lines() -> Iterator[tuple[str, int, str]]:
    for pattern in [*DOCUMENTS, *SOURCES]:
        for path in sorted(ROOT.glob(pattern)):
            if path in SKIPPED or not path.is_file():
                continue
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                yield str(path.relative_to(ROOT)), number, line


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, int, str]]:
    return list(_lines())


@pytest.mark.parametrize("pattern", PATTERNS, ids=[pattern.regex for pattern in PATTERNS])
def test_no_line_has_the_pattern(pattern: Pattern, lines: list[tuple[str, int, str]]) -> None:
    regex = re.compile(pattern.regex, re.IGNORECASE)
    found = [
        f"{path}:{number}: {line.strip()}"
        for path, number, line in lines
        if regex.search(line) and (path, line.strip()) not in ALLOWED
    ]
    assert not found, f"write instead: {pattern.instead}\n" + "\n".join(found)


def test_every_exception_is_still_there(lines: list[tuple[str, int, str]]) -> None:
    assert set(ALLOWED) <= {(path, line.strip()) for path, _, line in lines}


def test_the_patterns_find_what_they_are_meant_to_find() -> None:
    bad = "Whoever reads it is told so by the server, whose page lies in the store for ever."
    assert sum(bool(re.search(pattern.regex, bad, re.IGNORECASE)) for pattern in PATTERNS) == 4
