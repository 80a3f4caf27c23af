"""state.json."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract import state
from sabia.contract.errors import InvalidState
from sabia.contract.state import LinearParams, State
from sabia.registry.verification import Artifact

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = st.dictionaries(st.text(), VALUES, max_size=3)
LINEAR: dict[str, Any] = {"means": [1.0, 2.0], "scales": [1.0, 1.0], "coefficients": [0.5, -0.5], "intercept": 0.25}


@given(DOCUMENTS, DOCUMENTS)
def test_a_state_is_decoded_as_it_was_encoded(params: dict[str, Any], hyper_params: dict[str, Any]) -> None:
    assert state.decode(state.encode(State(params, hyper_params))) == State(params, hyper_params)


@given(DOCUMENTS)
def test_the_order_of_the_params_does_not_change_the_bytes(params: dict[str, Any]) -> None:
    """Else the same state would be published as two versions."""
    turned = dict(reversed(params.items()))
    assert state.encode(State(params)) == state.encode(State(turned))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"params": 1}', b"\xff"])
def test_another_document_is_not_a_state(data: bytes) -> None:
    with pytest.raises(InvalidState, match="does not hold the model's params") as caught:
        state.decode(data)
    assert caught.value.exit_code == 4


def test_linear_params_are_complete() -> None:
    assert state.linear_params(State(LINEAR), 2) == LinearParams([1.0, 2.0], [1.0, 1.0], [0.5, -0.5], 0.25)


def test_other_methods_have_no_linear_params() -> None:
    assert state.linear_params(State({"trees": 100, "nodes": 1700}), 2) is None


@pytest.mark.parametrize("missing", ["means", "scales", "intercept"])
def test_coefficients_without_the_other_linear_params_are_refused(missing: str) -> None:
    params = {name: value for name, value in LINEAR.items() if name != missing}
    with pytest.raises(InvalidState, match="without the other linear params"):
        state.linear_params(State(params), 2)


@pytest.mark.parametrize("short", ["means", "scales", "coefficients"])
def test_linear_params_of_another_number_of_columns_are_refused(short: str) -> None:
    with pytest.raises(InvalidState, match="one mean, scale and coefficient for each of 2 features"):
        state.linear_params(State(LINEAR | {short: [1.0]}), 2)


def test_a_published_state_is_of_this_form(logistic: Artifact) -> None:
    found = state.decode(logistic.files["state.json"])
    params = state.linear_params(found, len(logistic.manifest.inputs))
    assert params is not None
    assert found.hyper_params == logistic.manifest.hyper_params
    assert json.loads(logistic.files["state.json"]).keys() == {"params", "hyper_params"}
