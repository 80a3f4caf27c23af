"""V1 rows: a JSON value of unknown shape becomes float64 rows, or a sentence that names the field."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.serving.errors import InvalidInput, quote
from sabia.serving.inference.model import Model
from sabia.serving.protocols import pieces
from sabia.serving.protocols.values import KINDS

Array = NDArray[np.float64]

_NUMBERS = frozenset({int, float})


class _Lists(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The shape of nearly every good request; the decoder refuses anything else, and numbers past a float64."""

    instances: list[list[float]]


_PLAIN_DECODER = msgspec.json.Decoder(_Lists)


def parse_lists(body: bytes, width: int) -> list[float] | Array | None:
    """The rows of exactly `{"instances": [[number, …], …]}`: one row, or rows of shape (rows, columns).

    None is not an error: the caller parses the body again, slowly, and finds out what it is.
    """
    if len(body) > pieces.PIECE_BYTES:
        return pieces.parse_rows(body, width)
    try:
        lists = _PLAIN_DECODER.decode(body).instances
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if len(lists) == 1:
        return lists[0] if len(lists[0]) == width else None
    # Twice as fast as making an array of lists, and it refuses rows of another width.
    pack = struct.Struct(f"{width}d").pack
    try:
        packed = b"".join([pack(*row) for row in lists])
    except struct.error:
        return None
    return np.frombuffer(packed).reshape(-1, width) if lists else None


def parse_instances(document: object, model: Model) -> Array:
    """Rows of shape (rows, columns) from a decoded V1 body; a feature that is null or absent, and may be, is NaN.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    field, instances = instances_of(document)
    rows = [_row(f"{field}[{at}]", row, model) for at, row in enumerate(instances)]
    try:
        return np.array(rows, dtype=np.float64)
    except OverflowError as error:
        raise _too_large(rows, model) from error


def _too_large(rows: list[list[Any]], model: Model) -> InvalidInput:
    """The error of the first whole number past a float64; JSON's have any number of digits."""
    row, column = next(
        (row, column)
        for row, cells in enumerate(rows)
        for column, cell in enumerate(cells)
        if isinstance(cell, int) and abs(cell) > model.largest
    )
    return InvalidInput(f'row {row}, feature "{model.names[column]}"', f"is larger than {model.largest:.3g}")


def instances_of(document: object) -> tuple[str, list[Any]]:
    """The instances of a decoded V1 body, at least one, and the key that they came under.

    `inputs` stands for `instances`, as the protocol allows. Other keys beside them are left alone: V1 clients send
    `signature_name` and the like. Of a key given twice, the last one counts.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    if not isinstance(document, dict):
        raise InvalidInput("The body", f'is {_kind(document)}; an object with "instances" is needed')
    if "instances" in document and "inputs" in document:
        raise InvalidInput('"instances" and "inputs"', "mean the same; send one of them")
    field = "inputs" if "inputs" in document else "instances"
    if field not in document:
        raise InvalidInput('"instances"', "is missing")
    instances = document[field]
    if not isinstance(instances, list):
        raise InvalidInput(f'"{field}"', f"is {_kind(instances)}; a list of rows is needed")
    if not instances:
        raise InvalidInput(f'"{field}"', "is empty; send at least one row")
    return field, instances


def _row(field: str, row: object, model: Model) -> list[float | None]:
    if isinstance(row, dict):
        return _named_row(field, row, model)
    if not isinstance(row, list):
        raise InvalidInput(field, f"is {_kind(row)}; a list of {model.width} numbers or an object is needed")
    if len(row) != model.width:
        raise InvalidInput(field, f"has {len(row)} values; the model takes {model.width}")
    if not set(map(type, row)) <= _NUMBERS:
        for at, (name, cell) in enumerate(zip(model.names, row, strict=True)):
            if cell is not None or name not in model.nullable:
                _check_number(f"{field}[{at}]", cell)
    return row


def _named_row(field: str, row: dict[str, Any], model: Model) -> list[float | None]:
    for name, cell in row.items():
        if name not in model.column:
            raise InvalidInput(field, f"has an unknown feature {quote(name)}")
        if cell is not None or name not in model.nullable:
            _check_number(f'{field}["{name}"]', cell)
    for name in model.names:
        if name not in row and name not in model.nullable:
            raise InvalidInput(field, f'lacks feature "{name}"')
    return [row.get(name) for name in model.names]


def _check_number(field: str, cell: object) -> None:
    if type(cell) not in _NUMBERS:
        raise InvalidInput(field, f"is {_kind(cell)}; a number is needed")


def _kind(value: object) -> str:
    return KINDS[type(value)]
