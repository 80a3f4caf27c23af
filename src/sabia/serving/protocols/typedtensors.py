"""V2 tensors for any signature: one tensor for each input becomes a batch, and outputs become tensors.

A tensor is called as its input, and has shape [rows] or [rows, 1] where a row has one value, else the input's shape.
`features` stands for all inputs where they are floats, as one tensor of shape [rows, inputs], and for the input where
there is only one; `prediction` for the primary output. A nullable input may be absent, and in JSON null.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from sabia.contract.signature import DType, Input, Output, Signature
from sabia.contract.tensors import INPUT, OUTPUT
from sabia.serving.errors import InvalidInput, quote
from sabia.serving.inference.batch import NUMPY, Batch, Column, Mask, from_matrix
from sabia.serving.inference.texts import Texts
from sabia.serving.protocols import bytestensors, v2
from sabia.serving.protocols.typedrows import absent
from sabia.serving.protocols.values import (
    NEEDED,
    fill_of,
    from_base64,
    parse_timestamp,
    read_cells,
    write_timestamp,
)

# The protocol's datatype of each dtype. Timestamps are text of RFC 3339; INT64 microseconds are read as well.
DATATYPES = {
    "float64": "FP64",
    "float32": "FP32",
    "int64": "INT64",
    "bool": "BOOL",
    "string": "BYTES",
    "bytes": "BYTES",
    "timestamp": "BYTES",
}
_ACCEPTED: dict[str, frozenset[str]] = {
    "float64": frozenset(v2.DATATYPES),
    "float32": frozenset(v2.DATATYPES),
    "int64": frozenset(v2.INTEGERS),
    "bool": frozenset({"BOOL"}),
    "string": frozenset({"BYTES"}),
    "bytes": frozenset({"BYTES"}),
    "timestamp": frozenset({"BYTES", "INT64"}),
}
_NOTHING: Mapping[str, Texts] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output of the response: the name that the client asked for, and whether its data is binary."""

    name: str
    output: Output
    binary: bool


def read(
    inputs: list[v2.Input], tail: memoryview, signature: Signature, known: Mapping[str, Texts] = _NOTHING
) -> Batch:
    """A batch from tensors and the binary data behind them; `known` are texts by the name of their input.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    by_name = {each.name: each for each in signature.inputs}
    matrix = matrix_input(signature)
    alone = signature.inputs[0] if len(by_name) == 1 and INPUT not in by_name else None
    columns: dict[str, Column] = {}
    nulls: dict[str, Mask] = {}
    whole: Column | None = None
    for at, tensor in enumerate(inputs):
        field = f"inputs[{at}]"
        each = by_name.get(tensor.name) or (tensor.name == INPUT and (matrix or alone)) or None
        if each is None:
            raise InvalidInput(f"{field}.name", f"is {quote(tensor.name)}; {_names(signature)} is needed")
        if each.name in columns or (each is matrix and whole is not None):
            raise InvalidInput(f"{field}.name", f"{quote(tensor.name)} is given twice")
        column, mask, tail = _column(field, tensor, each, tail, known.get(each.name))
        if each is matrix:
            whole = column
        else:
            columns[each.name] = column
            if mask is not None:
                nulls[each.name] = mask
    if tail:
        raise InvalidInput("The body", f"has {len(tail)} bytes that no input claims")
    if whole is not None:
        if columns:
            raise InvalidInput('"inputs"', f'must be "{INPUT}" alone or the single inputs, not both')
        return from_matrix(signature.inputs, whole)
    return _joined(columns, nulls, signature)


def matrix_input(signature: Signature) -> Input | None:
    """What `features` means where every input is one float: a tensor of all of them; None elsewhere."""
    inputs = signature.inputs
    if not all(each.is_float and each.is_scalar for each in inputs) or any(each.name == INPUT for each in inputs):
        return None
    dtype: DType = "float64" if any(each.dtype == "float64" for each in inputs) else "float32"
    nullable = any(each.nullable for each in inputs)
    return Input(name=INPUT, dtype=dtype, shape=[None, len(inputs)], nullable=nullable)


def wanted(
    requested: Iterable[v2.RequestedOutput] | None, signature: Signature, *, binary: bool = False
) -> list[Wanted]:
    """The outputs of the response; all of the signature's where the client names none.

    Raises:
        InvalidInput: names an output that the model does not have.
    """
    by_name = {each.name: each for each in signature.outputs}
    chosen = []
    for at, each in enumerate(requested or ()):
        output = by_name.get(each.name) or (signature.primary_output if each.name == OUTPUT else None)
        if output is None:
            known = ", ".join(f'"{name}"' for name in by_name)
            raise InvalidInput(f"outputs[{at}].name", f"is {quote(each.name)}; the model has {known}")
        chosen.append(Wanted(each.name, output, bool((each.parameters or {}).get("binary_data", binary))))
    return chosen or [Wanted(each.name, each, binary) for each in signature.outputs]


def binary_data(output: Output, column: Column) -> bytes:
    """An output's values as the protocol's binary data."""
    if DATATYPES[output.dtype] == "BYTES":
        return bytestensors.join(encoded(output, column))
    dtype = NUMPY[output.dtype].newbyteorder("<")
    return column.astype(dtype, copy=False).tobytes()


def encoded(output: Output, column: Column) -> list[bytes]:
    """The values of a BYTES tensor, flat."""
    flat = column.ravel().tolist()
    if output.dtype == "timestamp":
        return [write_timestamp(value).encode() for value in flat]
    return flat if output.dtype == "bytes" else [value.encode() for value in flat]


def json_data(output: Output, column: Column) -> list[Any]:
    """An output's values as JSON, flat; bytes in base64."""
    flat: list[Any] = column.ravel().tolist()
    if output.dtype == "timestamp":
        return [write_timestamp(value) for value in flat]
    return [b64encode(value).decode() for value in flat] if output.dtype == "bytes" else flat


def _names(signature: Signature) -> str:
    names = [f'"{each.name}"' for each in signature.inputs]
    if len(names) > 5:
        return "the name of an input"
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


def _joined(columns: dict[str, Column], nulls: dict[str, Mask], signature: Signature) -> Batch:
    if not columns:
        raise InvalidInput('"inputs"', f'lacks input "{signature.inputs[0].name}"')
    rows = {len(column) for column in columns.values()}
    if len(rows) != 1:
        raise InvalidInput('"inputs"', "must all have the same number of rows")
    count = rows.pop()
    for each in signature.inputs:
        if each.name in columns:
            continue
        if not each.nullable:
            raise InvalidInput('"inputs"', f'lacks input "{each.name}"')
        columns[each.name], mask = absent(each, count)
        if mask is not None:
            nulls[each.name] = mask
    return Batch(count, columns, nulls)


def _column(
    field: str, tensor: v2.Input, each: Input, tail: memoryview, known: Texts | None
) -> tuple[Column, Mask | None, memoryview]:
    kind = tensor.datatype.upper()
    if kind not in v2.DATATYPES and kind not in ("BOOL", "BYTES"):
        raise InvalidInput(f"{field}.datatype", f"{quote(tensor.datatype)} is not a datatype of the protocol")
    if kind not in _ACCEPTED[each.dtype]:
        raise InvalidInput(f"{field}.datatype", f'is {kind}; input "{each.name}" is {DATATYPES[each.dtype]}')
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is None:
        column, mask = _from_json(field, tensor, each, kind)
    else:
        if tensor.data is not None:
            raise InvalidInput(f"{field}.data", "must be absent when binary_data_size is given")
        if type(size) is not int or not 0 <= size <= len(tail):
            raise InvalidInput(f"{field}.parameters.binary_data_size", "does not fit the body")
        column, mask = _from_binary(field, tail[:size], each, kind, known), None
        tail = tail[size:]
    shape = _resolved(field, tensor.shape, column.size, each)
    return column.reshape(shape), None if mask is None else mask.reshape(shape), tail


def _from_json(field: str, tensor: v2.Input, each: Input, kind: str) -> tuple[Column, Mask | None]:
    if kind == "FP16":
        raise InvalidInput(f"{field}.datatype", "FP16 has no JSON form; send it as binary data")
    if not isinstance(tensor.data, list):
        raise InvalidInput(f"{field}.data", "is missing; a list of values is needed")
    cells = v2.flat(f"{field}.data", tensor.data, depth=max(len(tensor.shape), len(each.shape)))

    def field_at(at: int) -> str:
        return f"{field}.data[{at}]"

    if kind in v2.INTEGERS:
        given = [cell for cell in cells if cell is not None] if each.nullable else cells
        v2.check_integers(f"{field}.data", given, kind)
        if each.dtype == "timestamp":
            return _integers(cells, each)
    if kind == "BYTES" and each.dtype != "timestamp":
        return _from_text(cells, each, field_at, base64=(tensor.parameters or {}).get("content_type") == "base64")
    column, mask = read_cells(each, [_text(cell) for cell in cells] if kind == "BYTES" else cells, field_at)
    if kind in ("FP32", "FP64"):
        with np.errstate(over="ignore"):
            column = column.astype(v2.DATATYPES[kind]).astype(NUMPY[each.dtype])
    return column, mask


def _integers(cells: list[Any], each: Input) -> tuple[Column, Mask | None]:
    """Microseconds since 1970."""
    mask = np.array([cell is None for cell in cells], dtype=np.bool_)
    column = np.array([fill_of(each) if cell is None else cell for cell in cells], dtype=np.int64)
    return column, mask if mask.any() else None


def _text(cell: object) -> object:
    """Text of a BYTES tensor; protobuf gives bytes."""
    return cell.decode(errors="replace") if isinstance(cell, bytes) else cell


def _from_text(cells: list[Any], each: Input, field_at: Any, *, base64: bool) -> tuple[Column, Mask | None]:
    """Strings or bytes: text, `{"b64": ...}`, base64 if the tensor's content type says so, or protobuf's bytes."""
    values: list[Any] = []
    for at, cell in enumerate(cells):
        value = cell
        if base64 and isinstance(value, str | bytes):
            value = from_base64(field_at(at), value)
        elif isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
            value = from_base64(field_at(at), value["b64"])
        if value is None and each.nullable:
            values.append(None)
        elif isinstance(value, str):
            values.append(value if each.dtype == "string" else value.encode())
        elif isinstance(value, bytes):
            values.append(_decoded(field_at(at), value) if each.dtype == "string" else value)
        else:
            raise InvalidInput(field_at(at), f"is not text; {NEEDED['string']}")
    return _objects(values, each)


def _objects(values: list[Any], each: Input) -> tuple[Column, Mask | None]:
    mask = np.array([value is None for value in values], dtype=np.bool_)
    fill = fill_of(each)
    column = np.empty(len(values), dtype=object)
    column[:] = [fill if value is None else value for value in values]
    return column, mask if mask.any() else None


def _decoded(field: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(field, "is not UTF-8") from error


def _from_binary(field: str, data: memoryview, each: Input, kind: str, known: Texts | None) -> Column:
    if kind == "BYTES":
        return _from_lengths(field, data, each, known)
    if kind == "BOOL":
        flags = np.frombuffer(data, dtype=np.uint8)
        if flags.size and flags.max() > 1:
            raise InvalidInput(field, "has a BOOL that is neither 0 nor 1")
        return flags.view(np.bool_)
    dtype = np.dtype(v2.DATATYPES[kind])
    if len(data) % dtype.itemsize:
        raise InvalidInput(f"{field}.parameters.binary_data_size", f"is not a whole number of {kind} values")
    values = np.frombuffer(data, dtype=dtype)
    if kind == "UINT64" and not each.is_float and values.size and values.max() > np.iinfo(np.int64).max:
        raise InvalidInput(field, "has values out of the range of int64")
    # The data follows JSON of any length, so it may begin anywhere.
    with np.errstate(over="ignore"):
        return np.require(values, dtype=NUMPY[each.dtype], requirements="A")


def _from_lengths(field: str, data: memoryview, each: Input, known: Texts | None) -> Column:
    """A BYTES tensor: each value behind its length."""
    try:
        values = bytestensors.split(data) if each.dtype == "bytes" else bytestensors.split_text(data, known)
    except UnicodeDecodeError as error:
        raise InvalidInput(field, "is not UTF-8") from error
    except ValueError as error:
        raise InvalidInput(field, "has a BYTES value that is longer than its data") from error
    if each.dtype == "timestamp":
        return _timestamps(field, values.tolist())
    return values


def _timestamps(field: str, texts: list[str]) -> Column:
    parsed = [parse_timestamp(text) for text in texts]
    if None in parsed:
        raise InvalidInput(field, f"has {quote(texts[parsed.index(None)])}; {NEEDED['timestamp']}")
    return np.array(parsed, dtype=np.int64)


def _resolved(field: str, shape: Sequence[int], size: int, each: Input) -> tuple[int, ...]:
    """The shape of a column of `size` values; one -1 is any length."""
    declared = each.shape
    lengths = shape[:1] if each.is_scalar and len(shape) == 2 and shape[1] in (1, -1) else shape
    needed = f"{['rows', *('any' if length is None else length for length in declared[1:])]}".replace("'", "")
    if len(lengths) != len(declared) or any(
        known not in (None, length) and length != -1 for known, length in zip(declared, lengths, strict=True)
    ):
        raise InvalidInput(f"{field}.shape", f"is {quote(list(shape))}; {needed} is needed")
    resolved = [known if length == -1 and known else length for known, length in zip(declared, lengths, strict=True)]
    if not size:
        raise InvalidInput(f"{field}.data", "is empty; send at least one row")
    if resolved.count(-1) == 1:
        rest = math.prod(length for length in resolved if length != -1)
        resolved[resolved.index(-1)] = size // rest if rest > 0 else 0
    if any(length < 1 for length in resolved) or math.prod(resolved) != size:
        raise InvalidInput(f"{field}.shape", f"is {quote(list(shape))}; the data has {size} values")
    return tuple(resolved)
