"""reference.json, and the rule of its bins."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract import reference
from sabia.contract.bins import bins_of, counts_of
from sabia.contract.errors import InvalidReference
from sabia.contract.reference import Histogram, Reference

NUMBERS = st.floats(-1e9, 1e9)
EDGES = st.lists(NUMBERS, unique=True, max_size=20).map(sorted)


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    """A valid histogram."""
    edges = draw(EDGES)
    return Histogram(edges, draw(st.lists(st.integers(0, 1000), min_size=len(edges) + 1, max_size=len(edges) + 1)))


REFERENCES = st.builds(
    Reference,
    schema_version=st.just(reference.SCHEMA_VERSION),
    rows=st.integers(0, 10**6),
    features=st.dictionaries(st.text(max_size=5), histograms(), max_size=3),
    prediction=histograms(),
)


@given(EDGES, st.lists(NUMBERS, min_size=1, max_size=30))
def test_the_bin_of_a_value_is_the_number_of_edges_up_to_it(edges: list[float], values: list[float]) -> None:
    values += edges
    expected = [sum(edge <= value for edge in edges) for value in values]
    assert bins_of(edges, values).tolist() == expected
    assert counts_of(edges, values).tolist() == [expected.count(at) for at in range(len(edges) + 1)]


def test_a_value_on_an_edge_falls_into_the_bin_above_it() -> None:
    assert bins_of([0.5], [np.nextafter(0.5, 0), 0.5, np.nextafter(0.5, 1)]).tolist() == [0, 1, 1]


@given(REFERENCES)
def test_a_reference_is_decoded_as_it_was_encoded(value: Reference) -> None:
    assert reference.decode(reference.encode(value)) == value


def document(**changed: Any) -> bytes:
    """A small reference, some fields of which are replaced."""
    histogram = {"edges": [0.5], "counts": [1, 2]}
    fields = {"schema_version": 1, "rows": 3, "features": {"x": histogram}, "prediction": histogram}
    return json.dumps(fields | changed).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"{", "truncated"),
        (b"\xff", "reference.json is not valid"),
        (b"{}", "missing required field"),
        (document(schema_version=3), "it has schema_version 3; this release reads 1 and 2"),
        (document(rows=-1), "rows"),
        (document(prediction={"edges": [0.5], "counts": [1]}), "'prediction' has 1 edges and 1 counts"),
        (document(features={"x": {"edges": [], "counts": []}}), "features"),
        (document(features={"x": {"edges": [1, 1], "counts": [0, 0, 0]}}), "the edges of 'x' do not ascend"),
        (document(prediction={"edges": ["0"], "counts": [1, 2]}), "prediction"),
    ],
)
def test_another_document_is_not_a_reference(data: bytes, reason: str) -> None:
    assert reference.decode(document()).rows == 3
    with pytest.raises(InvalidReference, match=reason) as caught:
        reference.decode(data)
    assert caught.value.exit_code == 4
