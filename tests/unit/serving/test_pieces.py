"""Large bodies are read in pieces, and what comes of them is what comes of reading them whole."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.serving.protocols import pieces
from tests.unit.serving.clients import Client
from tests.unit.serving.test_v2 import request, tensor

rows = st.lists(st.lists(st.floats(-1e9, 1e9) | st.integers(-99, 99), min_size=3, max_size=3), min_size=1, max_size=40)
separators = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that a few rows are many of them."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 20)


@pytest.mark.slow
@given(values=rows, separators=separators)
def test_rows_are_those_of_the_whole(values: list[list[float]], separators: tuple[str, str]) -> None:
    body = json.dumps({"instances": values}, separators=separators).encode()
    found = pieces.parse_rows(body, 3)
    assert found is not None
    assert found.tolist() == values


@given(values=rows, separators=separators)
def test_data_are_those_of_the_whole(values: list[list[float]], separators: tuple[str, str]) -> None:
    data = [cell for row in values for cell in row]
    document = {"inputs": [{"name": "features", "data": data, "shape": [-1, 3]}], "id": "x"}
    found = pieces.take_data(json.dumps(document, separators=separators).encode())
    assert found is not None
    rest, numbers = found
    assert numbers.tolist() == data
    assert msgspec.json.decode(rest) == {"inputs": [{"name": "features", "data": [], "shape": [-1, 3]}], "id": "x"}


@given(values=rows, at=st.integers(0, 10_000), noise=st.sampled_from([b",", b"]", b"[", b"x", b"1", b"}", b'"', b"e"]))
def test_a_body_that_is_not_json_is_not_json_in_pieces(values: list[list[float]], at: int, noise: bytes) -> None:
    body = json.dumps({"instances": values}).encode()
    at %= len(body) + 1
    spoilt = body[:at] + noise + body[at:]
    found = pieces.parse_rows(spoilt, 3)
    if found is not None:
        assert msgspec.json.decode(spoilt) == {"instances": found.tolist()}


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": []}',
        b'{"instances": [[1,2]]}',
        b'{"instances": [[1,2,3],]}',
        b'{"instances": [[1,2,3],[4,5]]}',
        b'{"instances": [[1,2,3]], "x": 1}',
        b'{"inputs": [[1,2,3]]}',
        b'{"instances": [[1,2,null]]}',
        b'{"instances": [{"a": 1}]}',
        b"[]",
        b"",
    ],
)
def test_other_forms_are_left_to_the_whole_parser(body: bytes) -> None:
    assert pieces.parse_rows(body, 3) is None


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": [{"data": []}]},
        {"inputs": [{"data": [[1, 2]]}]},
        {"inputs": [{"data": [1, 2]}, {"data": [3]}]},
        {"inputs": [{"data": [1, "2"]}]},
        {"inputs": [{"data": 5}]},
        {},
    ],
)
def test_data_in_another_form_is_left_too(document: dict[str, Any]) -> None:
    assert pieces.take_data(json.dumps(document).encode()) is None


@pytest.mark.parametrize("shape", [[40, 30], [-1, 30], [40, -1]])
def test_a_large_v2_request_gets_the_predictions_of_many_small_ones(client: Client, shape: list[int]) -> None:
    values = np.linspace(0, 30, 1200)
    large = client.infer(request(tensor(values.tolist(), shape=shape), id="large")).json()
    small = client.infer(request(tensor(values.tolist(), shape=shape), id="large", parameters={})).json()
    assert large == small


@pytest.mark.parametrize("shape", [[41, 30], [1200], [40, 31]])
def test_a_large_v2_request_that_does_not_fit_is_refused_as_small_ones_are(client: Client, shape: list[int]) -> None:
    assert client.infer(request(tensor([1.0] * 1200, shape=shape))).status_code == 400
