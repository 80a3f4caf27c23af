"""V2 tensors: the Open Inference Protocol's JSON and binary inputs become float64 rows, and predictions a response.

Inputs are either one tensor called `features` of shape [rows, columns], or one tensor for each feature, called as the
feature is, of shape [rows] or [rows, 1]. Nothing is reinterpreted: booleans and strings are not numbers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from importlib import metadata as packages
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract.tensors import INPUT, OUTPUT
from sabia.serving.errors import InvalidInput, quote
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.model import Model
from sabia.serving.protocols import headers, pieces
from sabia.serving.protocols.jobs import Job, Row

Array = NDArray[np.float64]

DATATYPES = {
    "FP64": "<f8",
    "FP32": "<f4",
    "FP16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "<i1",
    "UINT64": "<u8",
    "UINT32": "<u4",
    "UINT16": "<u2",
    "UINT8": "<u1",
}
INTEGERS = {name: np.iinfo(dtype) for name, dtype in DATATYPES.items() if "INT" in name}
_OTHER = ("BOOL", "BYTES")


class Input(msgspec.Struct):
    """An input tensor as the protocol writes it."""

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


class RequestedOutput(msgspec.Struct):
    """An output that the client asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct):
    """The JSON part of an infer request."""

    inputs: list[Input]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


@dataclass(frozen=True, slots=True)
class Infer:
    """A checked infer request: its rows, shape (rows, columns), and the form of its response."""

    rows: Array
    id: str | None
    binary_output: bool


_DECODER = msgspec.json.Decoder(InferRequest)


class _Tensor(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class _Plain(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The shape of nearly every good JSON request."""

    inputs: list[_Tensor]
    id: str | None = None


_PLAIN_DECODER = msgspec.json.Decoder(_Plain)


def parse_plain(request: Request, model: Model) -> Row | Job[Array, Array] | None:
    """The request, if it is one plain row of FP64; None is not an error, and `parse` finds out what it is."""
    if not headers.is_plain(request) or b"inference-header-content-length" in request.headers:
        return None
    if len(request.body) > pieces.PIECE_BYTES:
        return _parse_plain_large(request.body, model)
    try:
        plain = _PLAIN_DECODER.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    tensor = plain.inputs[0] if len(plain.inputs) == 1 else None
    if tensor is None or (tensor.name, tensor.datatype, tensor.shape) != (INPUT, "FP64", [1, model.width]):
        return None
    if len(tensor.data) != model.width:
        return None
    named = b"" if plain.id is None else b',"id":%b' % msgspec.json.encode(plain.id)
    before = b'{"model_name":"%b","model_version":"%b"%b,"outputs":[{"name":"%b","shape":[1],"datatype":"FP64","data":['
    return Row(tensor.data, before % (model.name.encode(), model.version.encode(), named, OUTPUT.encode()), b"]}]}")


def _parse_plain_large(body: bytes, model: Model) -> Job[Array, Array] | None:
    """The request, if it is many plain rows of FP64 in one flat list."""
    taken = pieces.take_data(body)
    try:
        plain = None if taken is None else _PLAIN_DECODER.decode(taken[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if taken is None or plain is None or len(plain.inputs) != 1:
        return None
    tensor, data, width = plain.inputs[0], taken[1], model.width
    rows = len(data) // width
    fits = len(tensor.shape) == 2 and tensor.shape[0] in (rows, -1) and tensor.shape[1] in (width, -1)
    if not fits or (tensor.name, tensor.datatype) != (INPUT, "FP64") or len(data) != rows * width:
        return None
    infer = Infer(data.reshape(rows, width), plain.id, binary_output=False)
    return Job(infer.rows, partial(_write, infer, model))


def parse(request: Request, model: Model) -> Job[Array, Array]:
    """Parse an infer request.

    Raises:
        RequestError: says what is wrong with it.
    """
    headers.check(request)
    length = headers.json_length(request)
    with pieces.one_at_a_time(headers.json_bytes(request)):
        infer = parse_infer(request.body, length, model)
    return Job(infer.rows, partial(_write, infer, model))


def _write(infer: Infer, model: Model, prediction: Array) -> Response:
    body, json_length = write_response(infer, prediction, model)
    if json_length is None:
        return Response(body=body)
    length = {"inference-header-content-length": str(json_length)}
    return Response(body=body, media_type=headers.BINARY, headers=length)


def parse_infer(body: bytes, header_length: int | None, model: Model) -> Infer:
    """Parse an infer request; `header_length` is the length of the JSON part when binary data follows it.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    request, tail = decode(body, header_length)
    rows = parse_rows(request.inputs, tail, model)
    return Infer(rows, request.id, _wants_binary(request))


def decode(body: bytes, header_length: int | None) -> tuple[InferRequest, memoryview]:
    """The JSON part of a request, with at least one input, and the binary data behind it.

    Raises:
        InvalidInput: the body is not a request of the protocol.
    """
    head, tail = _split(body, header_length)
    try:
        request = _DECODER.decode(head)
    except msgspec.ValidationError as error:
        raise InvalidInput("The request", f"does not follow the protocol: {quote_reason(error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("The body", "is not JSON") from error
    if not request.inputs:
        raise InvalidInput('"inputs"', "is empty; send at least one tensor")
    return request, tail


def quote_reason(error: msgspec.ValidationError) -> str:
    """The decoder's reason, short, with the field that it names."""
    return str(error)[:300]


def _split(body: bytes, header_length: int | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not 0 < header_length <= len(body):
        raise InvalidInput("Header Inference-Header-Content-Length", "does not fit the body")
    return body[:header_length], memoryview(body)[header_length:]  # not copied


def parse_rows(inputs: list[Input], tail: memoryview, model: Model) -> Array:
    """Rows of shape (rows, columns) from tensors, and the binary data behind them.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    tensors: dict[str, Array] = {}
    for at, tensor in enumerate(inputs):
        field = f"inputs[{at}]"
        if tensor.name != INPUT and tensor.name not in model.column:
            raise InvalidInput(
                f"{field}.name", f'is {quote(tensor.name)}; "{INPUT}" or the name of a feature is needed'
            )
        if tensor.name in tensors:
            raise InvalidInput(f"{field}.name", f"{quote(tensor.name)} is given twice")
        nullable = bool(model.nullable) if tensor.name == INPUT else tensor.name in model.nullable
        values, tail = _values(field, tensor, tail, nullable=nullable)
        tensors[tensor.name] = _shaped(field, tensor, values, model)
    if tail:
        raise InvalidInput("The body", f"has {len(tail)} bytes that no input claims")
    return _joined(tensors, model)


def _joined(tensors: dict[str, Array], model: Model) -> Array:
    if INPUT in tensors:
        if len(tensors) > 1:
            raise InvalidInput('"inputs"', f'must be "{INPUT}" alone or the single features, not both')
        return tensors[INPUT]
    for name in model.names:
        if name not in tensors:
            if name not in model.nullable or not tensors:
                raise InvalidInput('"inputs"', f'lacks feature "{name}"')
            tensors[name] = np.full_like(next(iter(tensors.values())), np.nan)
    columns = [tensors[name] for name in model.names]
    if len({len(column) for column in columns}) != 1:
        raise InvalidInput('"inputs"', "must all have the same number of rows")
    return np.concatenate(columns, axis=1)


def _values(field: str, tensor: Input, tail: memoryview, *, nullable: bool) -> tuple[Array, memoryview]:
    """The tensor's values, flat, and what remains of the binary part."""
    kind = tensor.datatype.upper()
    if kind in _OTHER:
        raise InvalidInput(f"{field}.datatype", f"{kind} is not numeric; the model takes numbers")
    if kind not in DATATYPES:
        raise InvalidInput(f"{field}.datatype", f"{quote(tensor.datatype)} is not a datatype of the protocol")
    size = (tensor.parameters or {}).get("binary_data_size")
    if size is None:
        return _json_values(field, tensor, kind, nullable=nullable), tail
    if tensor.data is not None:
        raise InvalidInput(f"{field}.data", "must be absent when binary_data_size is given")
    if type(size) is not int or not 0 <= size <= len(tail):
        raise InvalidInput(f"{field}.parameters.binary_data_size", "does not fit the body")
    if size % np.dtype(DATATYPES[kind]).itemsize:
        raise InvalidInput(f"{field}.parameters.binary_data_size", f"is not a whole number of {kind} values")
    return np.frombuffer(tail[:size], dtype=DATATYPES[kind]).astype(np.float64), tail[size:]


def _json_values(field: str, tensor: Input, kind: str, *, nullable: bool) -> Array:
    if kind == "FP16":
        raise InvalidInput(f"{field}.datatype", "FP16 has no JSON form; send it as binary data")
    if not isinstance(tensor.data, list):
        raise InvalidInput(f"{field}.data", "is missing; a list of numbers is needed")
    cells = flat(f"{field}.data", tensor.data, depth=len(tensor.shape))
    if kind in INTEGERS:
        check_integers(f"{field}.data", [cell for cell in cells if cell is not None] if nullable else cells, kind)
    elif not set(map(type, cells)) <= ({int, float, type(None)} if nullable else {int, float}):
        raise InvalidInput(f"{field}.data", "has values that are not numbers")
    try:
        with np.errstate(over="ignore"):
            values = np.array(cells, dtype=np.float64)
            if kind in INTEGERS and nullable and np.isnan(values).any():
                return values  # whole numbers have no NaN
            return values.astype(DATATYPES[kind]).astype(np.float64)
    except OverflowError as error:
        raise InvalidInput(f"{field}.data", f"has values out of the range of {kind}") from error


def flat(field: str, data: list[Any], *, depth: int) -> list[Any]:
    """The cells of a flat list, or of lists nested as deep as the shape and equally long at each depth.

    Raises:
        InvalidInput: the lists are nested deeper, or unequal.
    """
    while any(isinstance(cell, list) for cell in data):
        if depth <= 1:
            raise InvalidInput(field, "is nested deeper than its shape")
        if not all(isinstance(cell, list) for cell in data) or len({len(cell) for cell in data}) != 1:
            raise InvalidInput(field, "is ragged")
        data = [cell for inner in data for cell in inner]
        depth -= 1
    return data


def check_integers(field: str, cells: list[Any], kind: str) -> None:
    """Refuse cells that are not whole numbers of this datatype.

    Raises:
        InvalidInput: names the field.
    """
    if not set(map(type, cells)) <= {int}:
        raise InvalidInput(field, f"has values that are not whole numbers, as {kind} needs")
    if cells and not (INTEGERS[kind].min <= min(cells) and max(cells) <= INTEGERS[kind].max):
        raise InvalidInput(field, f"has values out of the range of {kind}")


def _shaped(field: str, tensor: Input, values: Array, model: Model) -> Array:
    width = model.width if tensor.name == INPUT else 1
    shape = tensor.shape if tensor.name == INPUT or len(tensor.shape) == 2 else [*tensor.shape, 1]
    if len(shape) != 2 or shape[1] not in (width, -1) or len(values) % width:
        raise InvalidInput(f"{field}.shape", f"is {quote(tensor.shape)}; [rows, {width}] is needed")
    rows = len(values) // width
    if shape[0] not in (rows, -1):
        raise InvalidInput(f"{field}.shape", f"says {quote(shape[0])} rows; the data has {rows}")
    if not rows:
        raise InvalidInput(f"{field}.data", "is empty; send at least one row")
    return values.reshape(rows, width)


def _wants_binary(request: InferRequest) -> bool:
    outputs = request.outputs or []
    check_outputs(output.name for output in outputs)
    binary = bool((request.parameters or {}).get("binary_data_output", False))
    for output in outputs:
        binary = bool((output.parameters or {}).get("binary_data", binary))
    return binary


def check_outputs(names: Iterable[str]) -> None:
    """Refuse a request for an output that the model does not have.

    Raises:
        InvalidInput: names it.
    """
    for at, name in enumerate(names):
        if name != OUTPUT:
            raise InvalidInput(f"outputs[{at}].name", f'is {quote(name)}; the model has "{OUTPUT}"')


def write_response(infer: Infer, prediction: Array, model: Model) -> tuple[bytes, int | None]:
    """The response body, and the length of its JSON part when binary data follows it."""
    output: dict[str, Any] = {"name": OUTPUT, "shape": [len(prediction)], "datatype": "FP64"}
    document: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if infer.id is not None:
        document["id"] = infer.id
    if not infer.binary_output:
        return msgspec.json.encode(document | {"outputs": [output | {"data": prediction.tolist()}]}), None
    data = prediction.astype("<f8").tobytes()
    head = msgspec.json.encode(document | {"outputs": [output | {"parameters": {"binary_data_size": len(data)}}]})
    return head + data, len(head)


def server_metadata() -> dict[str, str | list[str]]:
    """What this server is."""
    return {"name": "sabia", "version": packages.version("sabia"), "extensions": ["binary_tensor_data"]}


def metadata(model: Model) -> dict[str, Any]:
    """The model's metadata: identity, inputs and outputs."""
    features = model.manifest.inputs
    names = {
        "features": [feature.name for feature in features],
        "units": [feature.unit for feature in features],
        "minimum": [feature.minimum for feature in features],
        "maximum": [feature.maximum for feature in features],
    }
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "FP64", "shape": [-1, model.width], "parameters": names}],
        "outputs": [{"name": OUTPUT, "datatype": "FP64", "shape": [-1]}],
        "parameters": {"version": model.version, "digest": model.manifest.digest},
    }
