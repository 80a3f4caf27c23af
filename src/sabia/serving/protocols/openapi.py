"""The HTTP interface as OpenAPI 3.1 documents: one for each protocol, made for the version that is served.

The paths, the number of features, their names and the range that the model's precision allows are the version's own, so
a document is true as it stands. What a schema cannot say (that a tensor's data must fit its shape) is in descriptions.
"""

from __future__ import annotations

from importlib import metadata as packages
from typing import Any

from sabia.contract.names import PIN_HEADER, v1_explain, v1_model, v1_predict, v2_infer, v2_model
from sabia.contract.tensors import INPUT, OUTPUT
from sabia.serving.explanations.explainer import SCALES
from sabia.serving.inference.model import Model
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.protocols import schemas
from sabia.serving.protocols.v2 import DATATYPES

Document = dict[str, Any]

_ERROR = {"$ref": "#/components/schemas/Error"}
_SCHEMAS: Document = {
    "Error": {
        "type": "object",
        "properties": {"error": {"type": "string"}},
        "required": ["error"],
        "additionalProperties": False,
    },
    "Ready": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
        "required": ["name", "ready"],
    },
    "Models": {
        "type": "object",
        "properties": {"models": {"type": "array", "items": {"type": "string"}}},
        "required": ["models"],
    },
}
STATUSES = {
    400: "The request is not one that the model takes; the sentence names the field.",
    404: "No such model, version or path.",
    405: "The path has no such method, or these methods cannot be explained.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    415: "The body is in a form that is not read.",
    417: "The expectation is not 100-continue.",
    431: "The head is too large.",
    500: "The model failed.",
    501: "The transfer coding is not chunked.",
    503: "Not ready, or too many calls wait; with Retry-After in the second case.",
    504: "The call took longer than it may.",
}
# The errors of any request, and those of a request with a body beside them.
_ANY = (400, 404, 405, 408, 417, 431, 501, 503)
_BODY = (413, 415, 500, 504)


def v1(model: Served) -> Document:
    """The document of the V1 protocol, and of the platforms' names for it."""
    path = v1_model(model.name)
    predict = _post("Predict", _rows(), _ref("Predictions"), *_BODY)
    return _document(
        model,
        "V1",
        {
            "/v1/models": _get("List the models", "Models"),
            path: _get("Whether the model is ready", "Ready", ready=True),
            v1_predict(model.name): predict,
            v1_explain(model.name): _post("Explain", _rows(), _ref("Explanations"), *_BODY),
            "/invocations": _post("Predict, as SageMaker calls it", _rows(), _ref("Predictions"), *_BODY),
            "/ping": _get("Whether the model is ready, as SageMaker asks", "Ready", ready=True),
        },
        {
            "Row": _row(model),
            "Predictions": _object(predictions={"type": "array", "items": _prediction(model)}),
            "Explanations": _object(explanations={"type": "array", "items": _explanation(model)}),
        },
    )


def v2(model: Served) -> Document:
    """The document of the Open Inference Protocol."""
    path = v2_model(model.name)
    version = f"{path}/versions/{model.version}"
    infer = _post("Infer", _ref("InferRequest"), _ref("InferResponse"), *_BODY, binary=True)
    live = {"type": "object", "properties": {"live": {"type": "boolean"}}, "required": ["live"]}
    ready = {"type": "object", "properties": {"ready": {"type": "boolean"}}, "required": ["ready"]}
    return _document(
        model,
        "Open Inference Protocol",
        {
            "/v2": _get("What this server is", "Server"),
            "/v2/health/live": _get("Whether the server lives", "Live"),
            "/v2/health/ready": _get("Whether every model is ready", "ServerReady", ready=True),
            "/v2/models": _get("List the models", "Models"),
            path: _get("What the model takes and answers", "Model"),
            version: _get("What the model takes and answers", "Model"),
            f"{path}/ready": _get("Whether the model is ready", "Ready", ready=True),
            f"{version}/ready": _get("Whether the model is ready", "Ready", ready=True),
            v2_infer(model.name): infer,
            f"{version}/infer": infer,
        },
        {
            "Server": _object(
                name={"type": "string"},
                version={"type": "string"},
                extensions={"type": "array", "items": {"type": "string"}},
            ),
            "Live": live,
            "ServerReady": ready,
            "Model": _object(
                name={"type": "string"},
                versions={"type": "array", "items": {"type": "string"}},
                platform={"type": "string"},
                inputs={"type": "array", "items": {"type": "object"}},
                outputs={"type": "array", "items": {"type": "object"}},
            ),
            "InferRequest": _infer_request(model),
            "InferResponse": _infer_response(model),
        },
    )


def _document(model: Served, protocol: str, paths: Document, schemas: Document) -> Document:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{model.name} {model.version}: {protocol}",
            "version": packages.version("sabia"),
            "description": f"Every answer carries `{PIN_HEADER}`. A refusal is one sentence that names the field.",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS | schemas},
    }


def _responses(schema: Document, statuses: tuple[int, ...], *, binary: bool = False) -> Document:
    content: Document = {"application/json": {"schema": schema}}
    if binary:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    responses: Document = {"200": {"description": "The answer.", "content": content}}
    for status in sorted(statuses):
        responses[str(status)] = {"description": STATUSES[status], "content": {"application/json": {"schema": _ERROR}}}
    return responses


def _get(summary: str, schema: str, *, ready: bool = False) -> Document:
    responses = _responses(_ref(schema), _ANY)
    if ready:
        either = {"oneOf": [_ref(schema), _ERROR]}
        responses["503"] = {"description": "Not ready.", "content": {"application/json": {"schema": either}}}
    return {"get": {"summary": summary, "responses": responses}}


def _post(summary: str, body: Document, response: Document, *statuses: int, binary: bool = False) -> Document:
    content: Document = {"application/json": {"schema": body}}
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": _responses(response, (*_ANY, *statuses), binary=binary),
        }
    }


def _ref(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: Document) -> Document:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _rows() -> Document:
    """`instances`, or `inputs`, which means the same."""
    rows = {"type": "array", "items": _ref("Row"), "minItems": 1}
    return {
        "oneOf": [
            {"type": "object", "properties": {field: rows, other: False}, "required": [field]}
            for field, other in (("instances", "inputs"), ("inputs", "instances"))
        ]
    }


def _number(model: Model) -> Document:
    return {"type": "number", "minimum": -model.largest, "maximum": model.largest}


def _prediction(model: Served) -> Document:
    return schemas.prediction(model.signature) if isinstance(model, TypedModel) else {"type": "number"}


def _row(model: Served) -> Document:
    if isinstance(model, TypedModel):
        return schemas.row(model.signature)
    number = _number(model)
    return {
        "oneOf": [
            {"type": "array", "items": number, "minItems": model.width, "maxItems": model.width},
            {
                "type": "object",
                "properties": dict.fromkeys(model.names, number),
                "required": list(model.names),
                "additionalProperties": False,
            },
        ]
    }


def _explanation(model: Served) -> Document:
    number = {"type": "number"}
    explanation = _object(
        prediction=_prediction(model),
        score=number,
        scale={"enum": list(SCALES)},
        intercept=number,
        contributions={
            "type": "object",
            "properties": dict.fromkeys(model.names, number),
            "required": list(model.names),
            "additionalProperties": False,
        },
    )
    explanation["description"] = "The intercept and the contributions add up to the score."
    explanation["properties"]["class"] = {"type": ["string", "integer"]}
    return explanation


def _infer_request(model: Served) -> Document:
    parameters = {"type": ["object", "null"]}
    tensor = schemas.tensor(model.signature) if isinstance(model, TypedModel) else _features(model)
    name = schemas.output_names(model.signature) if isinstance(model, TypedModel) else {"const": OUTPUT}
    output = {
        "type": "object",
        "properties": {"name": name, "parameters": parameters},
        "required": ["name"],
    }
    return {
        "type": "object",
        "properties": {
            "id": {"type": ["string", "null"]},
            "parameters": parameters,
            "inputs": {"type": "array", "items": tensor, "minItems": 1},
            "outputs": {"type": ["array", "null"], "items": output},
        },
        "required": ["inputs"],
    }


def _features(model: Model) -> Document:
    return {
        "type": "object",
        "description": (
            f'One tensor "{INPUT}" of shape [rows, {model.width}], or one for each feature of shape [rows]; the '
            "data fits the shape."
        ),
        "properties": {
            "name": {"enum": [INPUT, *model.names]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": -1, "maximum": 2**31}, "maxItems": 2},
            "datatype": {"enum": [name for name in DATATYPES if name != "FP16"]},
            "data": {"type": "array", "minItems": 1},
            "parameters": {"type": ["object", "null"]},
        },
        "required": ["name", "shape", "datatype", "data"],
    }


def _infer_response(model: Served) -> Document:
    if isinstance(model, TypedModel):
        output = schemas.output_tensor(model.signature)
    else:
        output = _object(
            name={"const": OUTPUT},
            shape={"type": "array", "items": {"type": "integer"}},
            datatype={"const": "FP64"},
            data={"type": "array", "items": {"type": "number"}},
        )
    response = _object(
        model_name={"type": "string"}, model_version={"type": "string"}, outputs={"type": "array", "items": output}
    )
    response["properties"]["id"] = {"type": "string"}
    return response
