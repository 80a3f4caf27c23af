"""Requests of every protocol for a model of any signature."""

from __future__ import annotations

from typing import Any

import msgspec

from sabia.contract.signature import Input, Output
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.batch import Batch
from sabia.serving.inference.pool import check_deadline
from sabia.serving.inference.session import Outputs
from sabia.serving.inference.typed import TypedModel
from sabia.serving.protocols import cloudevents, explanations, headers, typedrows, typedtensors, v1, v2
from sabia.serving.protocols.jobs import Job
from sabia.serving.protocols.pieces import one_at_a_time

# How a client's codecs read a BYTES tensor of each dtype, by the names of MLServer.
CONTENT_TYPES = {"string": "str", "bytes": "base64", "timestamp": "datetime"}


def parse_predict(request: Request, model: TypedModel) -> Job[Batch, Outputs]:
    """Parse a `:predict` request.

    Raises:
        RequestError: says what is wrong with it.
    """
    batch, mode = _read(request, model)
    write_predictions = typedrows.writer(model.signature)

    def write(outputs: Outputs) -> Response:
        return cloudevents.wrap({"predictions": write_predictions(outputs)}, mode, model.name)

    return Job(batch, write)


def parse_explain(request: Request, model: TypedModel) -> Job[Batch, Outputs]:
    """Parse an `:explain` request.

    Raises:
        RequestError: says what is wrong with it, or why these methods cannot be explained.
    """
    model.explainer.check()
    batch, mode = _read(request, model)
    explanations.check_rows(len(batch))
    write_predictions = typedrows.writer(model.signature)

    def write(outputs: Outputs) -> Response:
        given = model.explainer.explain(batch, outputs, check_deadline)
        return cloudevents.wrap(explanations.document(model.names, write_predictions(outputs), given), mode, model.name)

    return Job(batch, write, is_slow=True)


def _read(request: Request, model: TypedModel) -> tuple[Batch, cloudevents.Mode]:
    with one_at_a_time(len(request.body)):
        document, mode = v1.decode(request)
        return typedrows.read(document, model.signature), mode


def parse_infer(request: Request, model: TypedModel) -> Job[Batch, Outputs]:
    """Parse a V2 request, JSON or with binary data.

    Raises:
        RequestError: says what is wrong with it.
    """
    headers.check(request)
    length = headers.json_length(request)
    with one_at_a_time(headers.json_bytes(request)):
        infer, tail = v2.decode(request.body, length)
        batch = typedtensors.read(infer.inputs, tail, model.signature, model.texts)
    binary = bool((infer.parameters or {}).get("binary_data_output", False))
    wanted = typedtensors.wanted(infer.outputs, model.signature, binary=binary)

    def write(outputs: Outputs) -> Response:
        return write_infer(infer.id, wanted, outputs, model)

    return Job(batch, write)


def write_infer(
    request_id: str | None, wanted: list[typedtensors.Wanted], outputs: Outputs, model: TypedModel
) -> Response:
    """The response to a V2 request: the outputs that it wants, as JSON or with binary data behind it."""
    tensors, parts = [], []
    for each in wanted:
        column = outputs[each.output.name]
        tensor: dict[str, Any] = {
            "name": each.name,
            "shape": list(column.shape),
            "datatype": typedtensors.DATATYPES[each.output.dtype],
        }
        parameters: dict[str, Any] = {}
        if each.binary:
            data = typedtensors.binary_data(each.output, column)
            parts.append(data)
            parameters["binary_data_size"] = len(data)
        else:
            tensor["data"] = typedtensors.json_data(each.output, column)
        if each.output.dtype in CONTENT_TYPES and not each.binary:
            parameters["content_type"] = CONTENT_TYPES[each.output.dtype]
        if parameters:
            tensor["parameters"] = parameters
        tensors.append(tensor)
    document: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request_id is not None:
        document["id"] = request_id
    head = msgspec.json.encode(document | {"outputs": tensors})
    if not parts:
        return Response(body=head)
    length = {"inference-header-content-length": str(len(head))}
    return Response(body=b"".join([head, *parts]), media_type=headers.BINARY, headers=length)


def metadata(model: TypedModel) -> dict[str, Any]:
    """The model's metadata: identity, inputs and outputs.

    Where every input is a float, the inputs are one tensor `features`, as for a scalar signature.
    """
    signature = model.signature
    matrix = typedtensors.matrix_input(signature)
    inputs = [_tensor(each, [-1, 1] if each.is_scalar else None) for each in signature.inputs]
    if matrix is not None:
        columns = {"inputs": [each["name"] for each in inputs]} | {
            key: [each["parameters"].get(key) for each in inputs] for key in ("unit", "minimum", "maximum", "nullable")
        }
        inputs = [_tensor(matrix) | {"parameters": columns}]
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": [_tensor(each) for each in signature.outputs],
        "parameters": {"version": model.version, "digest": model.content_digest, "primary": signature.primary},
    }


def _tensor(each: Input | Output, shape: list[int] | None = None) -> dict[str, Any]:
    known = msgspec.to_builtins(each)
    parameters = {key: value for key, value in known.items() if key not in ("name", "dtype", "shape", "log")}
    if each.dtype in CONTENT_TYPES:
        parameters["content_type"] = CONTENT_TYPES[each.dtype]
    return {
        "name": each.name,
        "datatype": typedtensors.DATATYPES[each.dtype],
        "shape": shape or [-1 if length is None else length for length in each.shape],
        "parameters": parameters | {"dtype": each.dtype},
    }
