"""JSON Schemas of the rows, predictions and tensors of any signature, for the OpenAPI documents."""

from __future__ import annotations

from typing import Any

import numpy as np

from sabia.contract.signature import Input, Output, Signature
from sabia.contract.tensors import INPUT, OUTPUT
from sabia.serving.inference.typed import largest_of
from sabia.serving.protocols.typedtensors import DATATYPES, matrix_input
from sabia.serving.protocols.v2 import DATATYPES as NUMERIC

Document = dict[str, Any]

_INT64 = np.iinfo(np.int64)
_BYTES: Document = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
    "additionalProperties": False,
}
_CELLS: dict[str, Document] = {
    "float64": {"type": "number"},
    "float32": {"type": "number"},
    "int64": {"type": "integer", "minimum": int(_INT64.min), "maximum": int(_INT64.max)},
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "bytes": _BYTES,
    "timestamp": {"type": "string", "format": "date-time"},
}


def row(signature: Signature) -> Document:
    """One instance of V1."""
    inputs = signature.inputs
    values = [value(each) for each in inputs]
    required = [each.name for each in inputs if not each.nullable]
    named: Document = {
        "type": "object",
        "properties": {each.name: schema for each, schema in zip(inputs, values, strict=True)},
        "required": required,
        "additionalProperties": False,
    }
    if len(inputs) == 1 and not inputs[0].is_scalar:
        return {"anyOf": [named, values[0]]}
    listed = {"type": "array", "prefixItems": values, "items": False, "minItems": len(inputs)}
    return {"anyOf": [named, listed, *(values if len(inputs) == 1 else [])]}


def value(each: Input) -> Document:
    """The value of one input in one row."""
    schema = _nullable(_cell(each), each)
    for length in reversed(each.shape[1:]):
        schema = {"type": "array", "items": schema, "minItems": length or 1}
        if length is not None:
            schema["maxItems"] = length
    return schema if each.is_scalar else _nullable(schema, each)


def prediction(signature: Signature) -> Document:
    """One prediction of V1."""
    primary = signature.primary_output
    probabilities = next(
        (each for each in signature.outputs if each.role == "class-probabilities" and each.classes == primary.classes),
        None,
    )
    values = [each for each in signature.outputs if each.role == "value"]
    if primary.role == "value" and len(values) > 1:
        return _object({each.name: _output(each) for each in values})
    if primary.role == "label" and probabilities is not None:
        return _object({"label": _output(primary), "probabilities": _by_class(probabilities)})
    if primary.role == "class-probabilities":
        return _object({"probabilities": _by_class(primary)})
    return _output(primary)


def tensor(signature: Signature) -> Document:
    """One input tensor of V2, in JSON."""
    matrix = matrix_input(signature)
    alias = matrix is not None or (len(signature.inputs) == 1 and signature.inputs[0].name != INPUT)
    ranks = [len(each.shape) if not each.is_scalar else 2 for each in signature.inputs]
    kinds = {kind for each in signature.inputs for kind in ([*NUMERIC] if each.is_float else [DATATYPES[each.dtype]])}
    if any(each.dtype in ("int64", "timestamp") for each in signature.inputs):
        kinds |= {kind for kind in NUMERIC if "INT" in kind}
    return {
        "type": "object",
        "description": "One for each input, of the input's shape; [rows] or [rows, 1] where a row has one value.",
        "properties": {
            "name": {"enum": [*([INPUT] if alias else []), *(each.name for each in signature.inputs)]},
            "shape": {
                "type": "array",
                "items": {"type": "integer", "minimum": -1, "maximum": 2**31},
                "maxItems": max(ranks),
            },
            "datatype": {"enum": sorted(kinds - {"FP16"})},
            "data": {"type": "array", "minItems": 1},
            "parameters": {"type": ["object", "null"]},
        },
        "required": ["name", "shape", "datatype", "data"],
    }


def output_names(signature: Signature) -> Document:
    """The names by which a client may ask for an output."""
    names = [each.name for each in signature.outputs]
    return {"enum": names if OUTPUT in names else [*names, OUTPUT]}


def output_tensor(signature: Signature) -> Document:
    """One output tensor of V2, in JSON."""
    return _object(
        {
            "name": output_names(signature),
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"enum": sorted({DATATYPES[each.dtype] for each in signature.outputs})},
            "data": {"type": "array"},
        }
    )


def _cell(each: Input) -> Document:
    schema = dict(_CELLS[each.dtype])
    if each.is_float:
        schema |= {"minimum": -largest_of(each), "maximum": largest_of(each)}
    if each.strict and each.categories:
        schema["enum"] = list(each.categories)
    return schema


def _nullable(schema: Document, each: Input) -> Document:
    return {"anyOf": [schema, {"type": "null"}]} if each.nullable else schema


def _output(output: Output) -> Document:
    schema = dict(_CELLS[output.dtype])
    for length in reversed(output.shape[1:]):
        schema = {"type": "array", "items": schema}
        if length is not None:
            schema |= {"minItems": length, "maxItems": length}
    return schema


def _by_class(output: Output) -> Document:
    return _object({str(each): {"type": "number"} for each in output.classes or ()})


def _object(properties: Document) -> Document:
    return {"type": "object", "properties": properties, "required": list(properties)}
