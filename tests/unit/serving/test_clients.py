"""What real clients send: KServe's own classes make the requests and read the responses, and KServe's server serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kserve
import msgspec
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2

from predictor.model import Predictor
from sabia.contract.manifest import encode
from sabia.registry.verification import Artifact
from sabia.serving.settings import Settings
from tests.unit.serving import graphs
from tests.unit.serving.clients import JSON, Client
from tests.unit.serving.test_grpc import infer as grpc_infer
from tests.unit.serving.test_kserve_model import call, kserve_application
from tests.unit.serving.test_typed import INFER, PENGUIN, PREDICT, ROWS, predictions

PENGUINS = {
    "species": ("BYTES", np.array([["Gentoo"], ["Adelie"]], dtype=object)),
    "island": ("BYTES", np.array([["Dream"], [""]], dtype=object)),
    "bill length": ("FP64", np.array([[40.5], [np.nan]])),
    "year": ("INT64", np.array([[2008], [2008]])),
    "tagged": ("BOOL", np.array([[True], [False]])),
    "seen": ("BYTES", np.array([["1970-01-01T00:00:20Z"]] * 2, dtype=object)),
}
EXPECTED = [3 + 10 + 40.5 + 1000 + 8 + 20, 1 + 8 + 20]


@pytest.fixture(scope="module")
def mixed() -> Artifact:
    """The version with mixed inputs."""
    return graphs.mixed()


def requested(columns: dict[str, tuple[str, Any]], *, binary: bool) -> kserve.InferRequest:
    """KServe's request of columns."""
    inputs = []
    for name, (datatype, values) in columns.items():
        tensor = kserve.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return kserve.InferRequest("toy", inputs)


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "JSON"])
def test_kserves_request_is_read_and_its_response_is_ours(mixed: Artifact, binary: bool) -> None:
    columns = PENGUINS if binary else PENGUINS | {"bill length": ("FP64", np.array([[40.5], [0.0]]))}
    body, length = requested(columns, binary=binary).to_rest()
    headers = JSON
    if length is not None:
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(length)}
    response = Client(mixed)("POST", INFER, body if isinstance(body, bytes) else msgspec.json.encode(body), headers)
    assert response.status_code == 200, response.text
    size = response.headers.get("inference-header-content-length")
    read = kserve.InferResponse.from_bytes(response.content, int(size)) if size else None
    found = read or kserve.InferResponse.from_rest(response.json())
    assert found.outputs[0].as_numpy().tolist() == EXPECTED


def test_kserves_grpc_request_is_read_and_its_response_is_ours(mixed: Artifact) -> None:
    response = grpc_infer(mixed, requested(PENGUINS, binary=True).to_grpc().SerializeToString())
    theirs = grpc_predict_v2_pb2.ModelInferResponse.FromString(response.SerializeToString())
    assert kserve.InferResponse.from_grpc(theirs).outputs[0].as_numpy().tolist() == EXPECTED


@pytest.mark.parametrize("kind", ["mixed", "labelled", "image", "text", "several"])
def test_kserves_server_answers_what_ours_answers(kind: str, tmp_path: Path) -> None:
    made = graphs.KINDS[kind]()
    model = Predictor(Settings(source=str(folder(made, tmp_path))))
    assert model.load()
    application, client = kserve_application(model), Client(made)
    instances = ROWS[kind][0]
    theirs = call(application, PREDICT, msgspec.json.encode({"instances": instances}))
    assert theirs.status_code == 200, theirs.text
    assert theirs.json()["predictions"] == predictions(client, instances)
    assert call(application, PREDICT, msgspec.json.encode({"instances": [{"wings": 2}]})).status_code == 400


def test_kserves_server_reads_the_tensors_of_kserves_client(mixed: Artifact, tmp_path: Path) -> None:
    model = Predictor(Settings(source=str(folder(mixed, tmp_path))))
    assert model.load()
    found = model.predict(requested(PENGUINS, binary=True))
    assert isinstance(found, kserve.InferResponse)
    assert found.outputs[0].as_numpy().tolist() == EXPECTED
    assert [each["name"] for each in model.get_input_types()] == list(PENGUIN)


def folder(made: Artifact, path: Path) -> Path:
    """A folder with a version as a pod finds it at /mnt/models."""
    (path / "manifest.json").write_bytes(encode(made.manifest))
    for entry in made.manifest.files:
        target = path / entry.path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(made.files[entry.name])
    return path
