"""state.json: the parameters and hyper-parameters of a version, as JSON can hold them.

Parameters are those that the methods report. Linear methods report all that their score is made of, so that a server
can explain a prediction and compute it without ONNX Runtime: see `LinearParams`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sabia.contract.errors import InvalidState


class State(msgspec.Struct, frozen=True):
    """What training determined (`params`), and what it was given (`hyper_params`)."""

    params: dict[str, Any]
    hyper_params: dict[str, Any] = {}


class LinearParams(msgspec.Struct, frozen=True):
    """The parameters of linear methods: one number for each column, and an intercept.

    The score is `intercept + sum((value - mean) / scale * coefficient)`.
    """

    means: list[float]
    scales: list[float]
    coefficients: list[float]
    intercept: float


def encode(state: State) -> bytes:
    """The bytes of state.json; the same for the same state."""
    return msgspec.json.format(msgspec.json.encode(state, order="sorted"), indent=1) + b"\n"


def decode(data: bytes) -> State:
    """Read state.json.

    Raises:
        InvalidState: it does not hold params.
    """
    try:
        return msgspec.json.decode(data, type=State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidState("it does not hold the model's params") from error


def linear_params(state: State, columns: int) -> LinearParams | None:
    """The parameters of linear methods; None when there are no coefficients.

    Raises:
        InvalidState: there are, and they are incomplete or not of that many columns.
    """
    if "coefficients" not in state.params:
        return None
    try:
        params = msgspec.convert(state.params, LinearParams)
    except msgspec.ValidationError as error:
        raise InvalidState("it has coefficients without the other linear params") from error
    if not len(params.means) == len(params.scales) == len(params.coefficients) == columns:
        raise InvalidState(f"it must have one mean, scale and coefficient for each of {columns} features")
    return params
