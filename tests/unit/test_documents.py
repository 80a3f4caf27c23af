"""YAML of people is read as it was written, or refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sabia.documents import UnreadableDocument, read_yaml

KEYS = st.sampled_from(["model", "stable", "canary", "1", "true", "a b", "ü"])
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["1.0", "2.0", "text", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(TREES)
def test_a_document_is_read_as_it_was_written(tree: object) -> None:
    assert read_yaml(yaml.safe_dump(tree, allow_unicode=True))[0] == tree


@given(outer=st.dictionaries(KEYS, TREES, min_size=1, max_size=4), data=st.data())
def test_a_key_that_is_there_twice_is_named_with_its_line(outer: dict[str, object], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(outer)))
    text = "".join(yaml.safe_dump({name: value}, allow_unicode=True) for name, value in outer.items())
    again = yaml.safe_dump({key: "other"}, allow_unicode=True)
    with pytest.raises(UnreadableDocument) as caught:
        read_yaml(text + again)
    assert (caught.value.field, caught.value.line) == (key, text.count("\n") + 1)


@pytest.mark.parametrize(
    ("text", "field", "line"),
    [
        ('canary: "2.0"\ncanary: "2.1"\n', "canary", 2),
        ("watch:\n  errors: {floor: 1, floor: 2}\n", "watch.errors.floor", 2),
        ("versions:\n- methods: linear\n  methods: logistic\n", "versions.methods", 3),
    ],
)
def test_the_second_of_two_is_never_taken(text: str, field: str, line: int) -> None:
    with pytest.raises(UnreadableDocument, match="appears twice") as caught:
        read_yaml(text)
    assert (caught.value.field, caught.value.line) == (field, line)


@given(st.binary(max_size=200) | st.text(alphabet="[]{}:-,&*!'\"\n a1.", max_size=60).map(str.encode))
def test_any_bytes_are_a_document_or_one_sentence(text: bytes) -> None:
    with suppress(UnreadableDocument):
        read_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 5000,
        "- " * 5000,
        "&a [*a]",
        "a: 2026-13-45",
        "a: " + "9" * 5000,
        b"\xff\xfe\x00",
        b"a: \x00",
        "x" * (2 << 20),
    ],
)
def test_what_breaks_parsers_is_one_sentence(text: str | bytes) -> None:
    with pytest.raises(UnreadableDocument):
        read_yaml(text)


def test_a_document_that_repeats_itself_a_billion_times_is_read_in_no_time() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    document, _ = read_yaml("\n".join(lines))
    assert isinstance(document, dict)
    assert len(document) == 12
