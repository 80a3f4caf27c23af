"""The model under KServe's own server: it is a `kserve.Model` like any other, and predicts the same."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import kserve
import pytest
from fastapi import FastAPI
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer

from predictor.model import Predictor
from sabia.registry.verification import Artifact
from sabia.serving.errors import LoadFailed, NotReady
from sabia.serving.settings import Settings
from tests.unit.serving.clients import INFER, JSON, PREDICT, Client
from tests.unit.serving.test_v2 import ONES, request, tensor


@pytest.fixture
def model(folder: Path) -> Predictor:
    """A loaded model."""
    found = Predictor(Settings(source=str(folder)))
    assert found.load()
    return found


def kserve_application(model: kserve.Model) -> FastAPI:
    """KServe's own application, serving one model."""
    registry = ModelRepository()
    registry.update(model)
    server = RESTServer("unused:app", DataPlane(registry), ModelRepositoryExtension(registry), http_port=0)
    app = FastAPI()
    server._register_endpoints(app)  # noqa: SLF001  what KServe does when it starts, without a socket
    server._add_exception_handlers(app)  # noqa: SLF001
    return app


def call(app: Any, path: str, body: bytes) -> httpx.Response:
    """One POST."""

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, content=body, headers=JSON)

    return asyncio.run(post())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, json.dumps({"instances": [ONES, ONES]}).encode()),
        (INFER, request(tensor(ONES), id="x")),
        (INFER, request(tensor(ONES))),
    ],
)
def test_kserves_server_gives_the_responses_that_ours_gives(
    model: Predictor, logistic: Artifact, path: str, body: bytes
) -> None:
    theirs, ours = call(kserve_application(model), path, body), Client(logistic)("POST", path, body, JSON)
    assert theirs.status_code == ours.status_code == 200
    numbers = [
        document.get("predictions") or document["outputs"][0]["data"] for document in (theirs.json(), ours.json())
    ]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PREDICT, b'{"instances": [[1]]}'),
        (PREDICT, b'{"instances": []}'),
        (PREDICT, b"{}"),
        (INFER, request(tensor(ONES, name="input-0"))),
        (INFER, request(tensor([1.0] * 29, shape=[1, 29]))),
        (INFER, request(tensor(ONES, shape=[2, 30]))),
    ],
)
def test_bad_input_that_reaches_the_model_there_is_a_400_too(model: Predictor, path: str, body: bytes) -> None:
    assert call(kserve_application(model), path, body).status_code == 400


def test_the_model_describes_itself(model: Predictor) -> None:
    assert model.get_input_types() == [{"name": "features", "datatype": "FP64", "shape": [-1, 30]}]
    assert model.get_output_types() == [{"name": "prediction", "datatype": "FP64", "shape": [-1]}]


def test_a_model_is_ready_only_after_it_was_loaded(folder: Path) -> None:
    model = Predictor(Settings(source=str(folder)))
    model.start()
    assert model.ready is False
    with pytest.raises(NotReady):
        _ = model.loaded
    assert model.load() is True
    assert model.name == "breast-cancer"


def test_a_model_that_cannot_be_loaded_is_never_ready(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    model = Predictor(Settings(source=str(folder)))
    with pytest.raises(LoadFailed):
        model.load()
    assert model.ready is False
