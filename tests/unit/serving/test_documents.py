"""The OpenAPI documents of typed signatures: what they allow is answered, and what is answered they allow."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.unit.serving.clients import JSON, Client
from tests.unit.serving.graphs import KINDS
from tests.unit.serving.test_typed import INFER, PENGUIN, PREDICT, ROWS, tensors


def errors(document: Any, schema: str, value: Any) -> list[str]:
    """What a document's schema has against a value."""
    whole = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    return [error.message for error in jsonschema.Draft202012Validator(whole).iter_errors(value)]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_predictions_fit_the_document(kind: str) -> None:
    client = Client(KINDS[kind]())
    document = client("GET", "/v1/openapi.json").json()
    body = {"instances": ROWS[kind][0]}
    (request,) = [
        each["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path, each in document["paths"].items()
        if path == PREDICT
    ]
    validator = jsonschema.Draft202012Validator(request | {"components": document["components"]})
    assert [error.message for error in validator.iter_errors(body)] == []
    assert [error.message for error in validator.iter_errors({"instances": [{"wings": 2}]})]
    response = client("POST", PREDICT, json.dumps(body).encode(), JSON).json()
    assert errors(document, "Predictions", response) == []


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_fit_the_document(kind: str) -> None:
    client = Client(KINDS[kind]())
    document = client("GET", "/v2/openapi.json").json()
    body = {"inputs": tensors(kind, client.model.signature.inputs)}
    assert errors(document, "InferRequest", body) == []
    response = client("POST", INFER, json.dumps(body).encode(), JSON).json()
    assert errors(document, "InferResponse", response) == []
    assert errors(document, "InferRequest", {"inputs": [body["inputs"][0] | {"name": "wings"}]})


def test_an_absent_nullable_input_fits_the_document_and_another_does_not() -> None:
    document = Client(KINDS["mixed"]())("GET", "/v1/openapi.json").json()
    assert errors(document, "Row", {name: value for name, value in PENGUIN.items() if name != "island"}) == []
    assert errors(document, "Row", {name: value for name, value in PENGUIN.items() if name != "species"})
