"""The same class and the same requests, here and under KServe's own server: the same responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import kserve
import numpy as np
import pytest
from fastapi import FastAPI

from tests.unit.serving.custom.clients import Served, served
from tests.unit.serving.custom.models import Sums, Troubles
from tests.unit.serving.test_kserve_model import kserve_application

JSON = {"content-type": "application/json", "x-tenant": "birds"}


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """This server."""
    with served(Sums(), Troubles()) as running:
        yield running


@pytest.fixture(scope="module")
def applications() -> dict[str, FastAPI]:
    """KServe's, by the name of the model."""
    applications = {}
    for model in (Sums(), Troubles()):
        model.load()
        applications[model.name] = kserve_application(model)
    return applications


def _theirs(app: FastAPI, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, content=body, headers=headers)

    return asyncio.run(post())


def _tensor(data: list[float], **more: Any) -> bytes:
    return json.dumps(
        {"id": "7", "inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": data}], **more}
    ).encode()


def _binary(*, output: bool) -> tuple[bytes, dict[str, str]]:
    tensor = kserve.InferInput("x", [2, 2], "FP64")
    tensor.set_data_from_numpy(np.array([[1.0, 2.0], [3.0, 4.0]]), binary_data=True)
    request = kserve.InferRequest("sums", [tensor], "7", parameters={"binary_data_output": output})
    body, length = request.to_rest()
    return body, {"content-type": "application/octet-stream", "inference-header-content-length": str(length)}


def _without_nulls(document: Any) -> Any:
    """KServe's server writes null for what is absent, and does not know versions."""
    if isinstance(document, dict):
        return {
            name: _without_nulls(value)
            for name, value in document.items()
            if value is not None and name != "model_version"
        }
    return [_without_nulls(each) for each in document] if isinstance(document, list) else document


def _event(data: Any) -> bytes:
    event = {"specversion": "1.0", "id": "1", "source": "x", "type": "y", "time": "2026-01-01T00:00:00Z", "data": data}
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/models/sums:predict", b'{"instances": [[1, 2], [3, 4.5]]}', JSON),
        ("/v1/models/sums:predict", b'{"rows": [[1, 2]]}', JSON),
        ("/v1/models/sums:predict", b'{"instances": [[]]}', JSON),
        ("/v1/models/sums:predict", b"{", JSON),
        ("/v1/models/sums:predict", b"12345", {"content-type": "image/png"}),
        ("/v1/models/sums:explain", b'{"instances": [[1, 5]]}', JSON),
        ("/v2/models/sums/infer", _tensor([1, 2, 3, 4]), JSON),
        ("/v2/models/sums/infer", _tensor([1, 2, 3, 4], outputs=[{"name": "prediction"}]), JSON),
        ("/v2/models/sums/infer", *_binary(output=False)),
        ("/v2/models/sums/infer", *_binary(output=True)),
        ("/v1/models/other:predict", b"{}", JSON),
        *(
            ("/v1/models/troubles:predict", json.dumps({"instances": [word]}).encode(), JSON)
            for word in ("answer", "raise", "refuse", "teapot", "unready", "unimplemented", "array", "text", "stream")
        ),
    ],
)
def test_the_response_is_the_one_of_kserves_server(
    server: Served, applications: dict[str, FastAPI], path: str, body: bytes, headers: dict[str, str]
) -> None:
    ours = server.http.post(path, content=body, headers=headers)
    theirs = _theirs(applications["troubles" if "troubles" in path else "sums"], path, body, headers)
    assert ours.status_code == theirs.status_code
    if ours.is_success:
        length = theirs.headers.get("inference-header-content-length")
        if length is None:
            try:
                assert _without_nulls(ours.json()) == _without_nulls(theirs.json())
            except json.JSONDecodeError:
                assert ours.content == theirs.content
        else:
            ours_length = int(ours.headers["inference-header-content-length"])
            assert ours.content[ours_length:] == theirs.content[int(length) :]
        if not path.endswith(":explain"):  # KServe's server sends the request's headers back, all of them
            assert ours.headers.get("x-tenant") == theirs.headers.get("x-tenant")


def test_a_cloudevent_is_answered_by_one(server: Served, applications: dict[str, FastAPI]) -> None:
    headers = {"content-type": "application/cloudevents+json"}
    path, body = "/v1/models/sums:predict", _event({"instances": [[1, 2]]})
    ours, theirs = (
        server.http.post(path, content=body, headers=headers),
        _theirs(applications["sums"], path, body, headers),
    )
    assert ours.status_code == theirs.status_code == 200
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ours.json()["data"] == theirs.json()["data"]
