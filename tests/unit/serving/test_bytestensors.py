"""A binary BYTES tensor is split into the values that were joined, whatever they are and whichever are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.serving.inference.texts import Texts
from sabia.serving.protocols import bytestensors

# Short and long, of one length and of many, in ASCII and not, with zeros at either end.
codes = st.integers(0, 9).flatmap(lambda size: st.lists(st.text(max_size=size, min_size=size), max_size=30))
texts = (
    codes | st.lists(st.text(max_size=12), max_size=30) | st.lists(st.sampled_from(["JFK", "LGA", "Köln", "", "\0"]))
)


@given(values=st.lists(st.binary(max_size=12), max_size=30) | st.lists(st.binary(min_size=3, max_size=3), max_size=30))
def test_bytes_are_those_that_were_joined(values: list[bytes]) -> None:
    assert bytestensors.split(memoryview(bytestensors.join(values))).tolist() == values


@given(values=texts, data=st.data())
def test_texts_are_those_that_were_joined_whichever_are_known(values: list[str], data: st.DataObject) -> None:
    known = data.draw(st.lists(st.text(max_size=9) | st.sampled_from(values or [""]), unique=True))
    joined = memoryview(bytestensors.join([value.encode() for value in values]))
    assert bytestensors.split_text(joined).tolist() == values
    assert bytestensors.split_text(joined, Texts(known)).tolist() == values


@pytest.mark.parametrize("values", [["JFK"] * 3, ["a category longer than a key"] * 3, ["JFK", "Köln", "JFK", "JFK"]])
def test_equal_texts_that_are_known_are_one_object(values: list[str]) -> None:
    joined = memoryview(bytestensors.join([value.encode() for value in values]))
    found = bytestensors.split_text(joined, Texts(values))
    assert len({id(each) for each in found}) == len(set(values))


@pytest.mark.parametrize("known", [None, Texts(["JFK", "LGA"])], ids=["unknown", "known"])
@given(values=st.lists(st.sampled_from(["JFK", "LGA", "Köln"]), min_size=1, max_size=9), cut=st.integers(1, 6))
def test_data_that_end_within_a_value_are_refused(known: Texts | None, values: list[str], cut: int) -> None:
    whole = bytestensors.join([value.encode() for value in values])
    with pytest.raises(ValueError, match=r"length|longer"):
        bytestensors.split_text(memoryview(whole[: -min(cut, 3)]), known)


def test_a_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        bytestensors.split_text(memoryview(bytestensors.join([b"\xff", b"a"])), Texts(["a"]))
