"""JSON values of any dtype: lists of cells become arrays, and arrays become cells. V1 and V2 share them.

Nothing is reinterpreted: a boolean is not a number, a number is not a string, and a float is not a whole number.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from sabia.contract.signature import Input, Output
from sabia.serving.errors import InvalidInput, quote
from sabia.serving.inference.batch import NUMPY, Column, Mask

# The name of a cell by its place in a flat list of cells.
FieldAt = Callable[[int], str]

KINDS = {
    type(None): "null",
    bool: "a boolean",
    str: "a string",
    list: "a list",
    dict: "an object",
    int: "a number",
    float: "a number",
}
TYPES: dict[str, frozenset[type]] = {
    "float64": frozenset({int, float}),
    "float32": frozenset({int, float}),
    "int64": frozenset({int}),
    "bool": frozenset({bool}),
    "string": frozenset({str}),
    "bytes": frozenset({dict}),
    "timestamp": frozenset({str}),
}
NEEDED = {
    "float64": "a number is needed",
    "float32": "a number is needed",
    "int64": "a whole number is needed",
    "bool": "true or false is needed",
    "string": "a string is needed",
    "bytes": 'an object {"b64": "..."} is needed',
    "timestamp": "a time of RFC 3339 is needed",
}
_INT64 = np.iinfo(np.int64)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Python reads more than RFC 3339 has: weeks, days without a time, times without an offset.
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d{1,6})?\d*([Zz]|[+-]\d\d:\d\d)",
    re.ASCII,
)


def read_cells(each: Input, cells: list[Any], field_at: FieldAt) -> tuple[Column, Mask | None]:
    """A flat list of cells as an array of shape (cells,), and which of them are null: None if none is, or for floats.

    Raises:
        InvalidInput: names the first cell that is not of the input's dtype.
    """
    kinds = set(map(type, cells))
    mask: Mask | None = None
    if type(None) in kinds and each.nullable:
        kinds.discard(type(None))
        if each.is_float:
            cells = [np.nan if cell is None else cell for cell in cells]
        else:
            mask = np.array([cell is None for cell in cells], dtype=np.bool_)
    if not kinds <= TYPES[each.dtype]:
        at = next(at for at, cell in enumerate(cells) if not _fits(each, cell))
        raise InvalidInput(field_at(at), f"is {_described(cells[at])}; {NEEDED[each.dtype]}")
    if each.is_float:
        return _floats(each, cells, field_at), None
    parsed: list[Any] = cells
    if each.dtype in _PARSERS:
        parse = _PARSERS[each.dtype]
        parsed = [None if cell is None else parse(field_at, at, cell) for at, cell in enumerate(cells)]
    if mask is not None:
        fill = fill_of(each)
        parsed = [fill if cell is None else cell for cell in parsed]
    column = np.empty(len(parsed), dtype=NUMPY[each.dtype])
    column[:] = parsed
    return column, mask


def fill_of(each: Input) -> str | int | bytes | float:
    """What the model receives where the value is null."""
    if each.is_float:
        return float("nan")
    if each.dtype == "bytes":
        return str(each.fill or "").encode()
    default: str | int = "" if each.dtype == "string" else 0
    return default if each.fill is None else each.fill


def nested(field: str, value: object, each: Input) -> tuple[list[Any], tuple[int, ...]]:
    """The flat cells of one row's tensor, and the lengths of its dimensions without that of the rows.

    Raises:
        InvalidInput: it is not nested as the input's shape says.
    """
    declared = each.shape[1:]
    cells: list[Any] = [value]
    lengths: list[int] = []
    for depth, known in enumerate(declared):
        if not all(type(cell) is list for cell in cells):
            odd = next(cell for cell in cells if type(cell) is not list)
            raise InvalidInput(field, f"is {_described(odd)} at depth {depth}; lists of shape {declared} are needed")
        found = {len(cell) for cell in cells}
        if len(found) != 1:
            raise InvalidInput(field, f"is ragged; lists of shape {declared} are needed")
        length = found.pop()
        if known not in (None, length) or not length:
            raise InvalidInput(field, f"has {length} values at depth {depth}; lists of shape {declared} are needed")
        lengths.append(length)
        cells = [inner for cell in cells for inner in cell]
    return cells, tuple(lengths)


def parse_timestamp(text: str) -> int | None:
    """Microseconds since 1970, UTC, of a time of RFC 3339; None when it is not one. Finer digits are cut off."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    day, time, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{time}{fraction or ''}{offset.upper()}")
    except ValueError:
        return None
    return (moment - _EPOCH) // _MICROSECOND


def write_timestamp(microseconds: int) -> str:
    """A time of RFC 3339, in UTC."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")


def write_cells(output: Output | Input, column: Column) -> list[Any]:
    """An array as JSON, nested as its shape."""
    if output.dtype == "bytes":
        return _mapped(column.tolist(), lambda value: {"b64": base64.b64encode(value).decode()})
    if output.dtype == "timestamp":
        return _mapped(column.tolist(), write_timestamp)
    cells: list[Any] = column.tolist()
    return cells


def _mapped(cells: list[Any], write: Callable[[Any], Any]) -> list[Any]:
    return [_mapped(cell, write) if isinstance(cell, list) else write(cell) for cell in cells]


def _fits(each: Input, cell: object) -> bool:
    return type(cell) in TYPES[each.dtype] or (cell is None and each.nullable)


def _described(cell: object) -> str:
    return f"{cell!r}" if type(cell) is float else KINDS.get(type(cell), "a value")


def _floats(each: Input, cells: list[Any], field_at: FieldAt) -> Column:
    try:
        values = np.array(cells, dtype=np.float64)
    except OverflowError:
        at = next(at for at, cell in enumerate(cells) if type(cell) is int and abs(cell) > 2**1000)
        raise InvalidInput(field_at(at), "is too large for a float64") from None
    with np.errstate(over="ignore"):
        return values.astype(NUMPY[each.dtype], copy=False)


def _integer(field_at: FieldAt, at: int, cell: int) -> int:
    if not _INT64.min <= cell <= _INT64.max:
        raise InvalidInput(field_at(at), "is out of the range of int64")
    return cell


def _bytes(field_at: FieldAt, at: int, cell: dict[str, Any]) -> bytes:
    text = cell.get("b64")
    if len(cell) != 1 or not isinstance(text, str):
        raise InvalidInput(field_at(at), f"is an object of another form; {NEEDED['bytes']}")
    return from_base64(field_at(at), text)


def from_base64(field: str, text: str | bytes) -> bytes:
    """Bytes from base64.

    Raises:
        InvalidInput: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(field, "is not base64") from error


def _timestamp(field_at: FieldAt, at: int, cell: str) -> int:
    parsed = parse_timestamp(cell)
    if parsed is None:
        raise InvalidInput(field_at(at), f"is {quote(cell)}; {NEEDED['timestamp']}, with its offset from UTC")
    return parsed


_PARSERS: dict[str, Callable[[FieldAt, int, Any], Any]] = {
    "int64": _integer,
    "bytes": _bytes,
    "timestamp": _timestamp,
}
