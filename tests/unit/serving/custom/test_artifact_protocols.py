"""A class around a version that changes nothing: it answers every protocol as the version does alone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.contract import manifest as manifests
from sabia.registry.verification import Artifact
from sabia.serving import ArtifactModel
from sabia.serving.custom import frames
from sabia.serving.custom.frames import Call, Reply
from sabia.serving.custom.handler import Handler
from sabia.serving.protocols import grpctensors, messages
from tests.unit.serving.clients import Client
from tests.unit.serving.graphs import KINDS
from tests.unit.serving.test_grpc import infer
from tests.unit.serving.test_typed import ROWS, complete, raw, tensors

BINARY = {b"content-type": b"application/octet-stream"}


def _placed(artifact: Artifact, folder: Path) -> str:
    """The version in a folder, as a pod finds it."""
    for file in artifact.manifest.files:
        target = folder / file.path
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(artifact.files[file.name])
    (folder / "manifest.json").write_bytes(manifests.encode(artifact.manifest))
    return str(folder)


def _handler(artifact: Artifact, folder: Path) -> Handler:
    model = ArtifactModel(source=_placed(artifact, folder))
    model.load()
    return Handler(model, model.name, model.version, 2**20, signature=model.signature)


def _reply(handler: Handler, kind: int, body: bytes, headers: dict[bytes, bytes] | None = None) -> Reply:
    reply = asyncio.run(handler.reply(Call(1, kind, headers or {}, body, keep=True)))
    assert reply.status == 200, reply.body
    return reply


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of signature."""
    return str(request.param)


def test_v1_and_v2_json_are_answered_as_by_the_version_alone(kind: str, tmp_path: Path) -> None:
    artifact = KINDS[kind]()
    handler, client = _handler(artifact, tmp_path), Client(artifact)
    for call, path, document in (
        (frames.V1, "/v1/models/toy:predict", {"instances": ROWS[kind][0]}),
        (frames.V2, "/v2/models/toy/infer", {"id": "7", "inputs": tensors(kind, artifact.manifest.inputs)}),
    ):
        body = json.dumps(document).encode()
        alone = client("POST", path, body, {"content-type": "application/json"})
        reply = _reply(handler, call, body)
        assert json.loads(reply.body) == alone.json()
        assert reply.observed is not None
        assert reply.observed.rows == len(ROWS[kind][0])
        assert sum(reply.observed.counts[0]) == len(ROWS[kind][0]), "every row is in a bin"


@pytest.mark.parametrize("binary", [True, False], ids=["answered-binary", "answered-json"])
def test_v2_binary_is_answered_as_by_the_version_alone(kind: str, binary: bool, tmp_path: Path) -> None:
    if not complete(kind):
        kind = "text"  # binary data has no null but NaN
    artifact = KINDS[kind]()
    parts, inputs = [], []
    for each, tensor in zip(artifact.manifest.inputs, tensors(kind, artifact.manifest.inputs), strict=True):
        parts.append(raw(each, tensor["data"] if each.dtype != "bytes" else ROWS[kind][0]))
        size = {"binary_data_size": len(parts[-1])}
        inputs.append({key: value for key, value in tensor.items() if key != "data"} | {"parameters": size})
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": binary}}).encode()
    headers = BINARY | {b"inference-header-content-length": b"%d" % len(head)}
    body = b"".join([head, *parts])
    text = {name.decode(): value.decode() for name, value in headers.items()}
    alone = Client(artifact)("POST", "/v2/models/toy/infer", body, text)
    assert alone.status_code == 200, alone.text
    reply = _reply(_handler(artifact, tmp_path), frames.V2, body, headers)
    if not binary:
        assert json.loads(reply.body) == alone.json()
        return
    ours, theirs = (int(each["inference-header-content-length"]) for each in (reply.headers, alone.headers))
    assert json.loads(reply.body[:ours]) == json.loads(alone.content[:theirs])
    assert reply.body[ours:] == alone.content[theirs:]


@pytest.mark.parametrize("binary", [True, False], ids=["raw", "contents"])
def test_grpc_is_answered_as_by_the_version_alone(kind: str, binary: bool, tmp_path: Path) -> None:
    if not complete(kind):
        kind = "text"  # protobuf has no null
    artifact = KINDS[kind]()
    request = messages.ModelInferRequest(model_name="toy", id="7")
    for each, tensor in zip(artifact.manifest.inputs, tensors(kind, artifact.manifest.inputs), strict=True):
        values: Any = ROWS[kind][0] if each.dtype == "bytes" else tensor["data"]
        added = request.inputs.add(name=each.name, datatype=tensor["datatype"], shape=tensor["shape"])
        flat = np.ravel(np.array(values, dtype=object)).tolist()
        if binary:
            request.raw_input_contents.append(raw(each, values))
        elif tensor["datatype"] == "BYTES":
            added.contents.bytes_contents.extend(_texts(each.dtype, flat))
        else:
            numbers = [float("nan") if value is None else value for value in flat]
            getattr(added.contents, grpctensors.CONTENTS[tensor["datatype"]]).extend(numbers)
    reply = _reply(_handler(artifact, tmp_path), frames.GRPC, request.SerializeToString())
    assert messages.ModelInferResponse.FromString(reply.body) == infer(artifact, request)


def _texts(dtype: str, values: list[Any]) -> list[bytes]:
    return [msgspec.convert(each["b64"], bytes) if dtype == "bytes" else each.encode() for each in values]


def test_a_scalar_version_is_answered_in_binary_and_by_grpc_too(
    logistic: Artifact, folder: Path, rows: NDArray[np.float64]
) -> None:
    model = ArtifactModel(source=str(folder))
    model.load()
    handler = Handler(model, model.name, model.version, 2**20, signature=model.signature)
    data = rows[:3].astype("<f8").tobytes()
    tensor = {"name": "features", "shape": [3, 30], "datatype": "FP64", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    reply = _reply(handler, frames.V2, head + data, BINARY | {b"inference-header-content-length": b"%d" % len(head)})
    request = messages.ModelInferRequest(model_name=model.name)
    request.inputs.add(name="features", datatype="FP64", shape=[3, 30])
    request.raw_input_contents.append(data)
    theirs = infer(logistic, request).raw_output_contents[0]
    assert reply.body.endswith(theirs)
    by_grpc = messages.ModelInferResponse.FromString(_reply(handler, frames.GRPC, request.SerializeToString()).body)
    assert by_grpc.raw_output_contents[0] == theirs


@pytest.mark.parametrize(
    ("changed", "status"), [({"model_name": "other"}, 404), ({"model_version": "9.9"}, 404), ({"inputs": []}, 400)]
)
def test_what_a_grpc_client_does_wrong_is_its_fault(changed: dict[str, Any], status: int, tmp_path: Path) -> None:
    handler = _handler(KINDS["tokens"](), tmp_path)
    tensor = messages.ModelInferRequest.InferInputTensor(name="tokens", datatype="INT64", shape=[1, 1])
    request = messages.ModelInferRequest(**{"model_name": "toy", "inputs": [tensor]} | changed)
    reply = asyncio.run(handler.reply(Call(1, frames.GRPC, {}, request.SerializeToString())))
    assert reply.status == status
