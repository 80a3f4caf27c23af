"""The Open Inference Protocol over gRPC: a real server on loopback, asked by KServe's client and by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from sabia.registry.verification import Artifact
from sabia.serving.protocols import messages
from sabia.serving.protocols.grpc import start
from sabia.serving.protocols.messages import SERVICE
from sabia.serving.settings import Settings
from tests.unit.serving.clients import MODEL, Client
from tests.unit.serving.test_v1 import instances

Result = TypeVar("Result")
ONES = [1.0] * 30


def served(
    artifact: Artifact, call: Callable[[grpc.aio.Channel], Awaitable[Result]], client: Client | None = None
) -> Result:
    """The result of a function of a channel to a server of this version."""
    client = client or Client(artifact)

    async def run() -> Result:
        settings = replace(client.settings, host="127.0.0.1", grpc_port=0)
        server = await start(client.app, settings)
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
                return await call(channel)
        finally:
            await server.stop(0)

    return asyncio.run(run())


def infer(artifact: Artifact, request: Any, client: Client | None = None, timeout: float = 10) -> Any:
    """The response to an infer request, or the error that it raised."""

    async def call(channel: grpc.aio.Channel) -> Any:
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        try:
            response = await channel.unary_unary(f"/{SERVICE}/ModelInfer")(raw, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return error
        return messages.ModelInferResponse.FromString(response)

    return served(artifact, call, client)


def tensor(values: Any = ONES, /, field: str = "fp64_contents", **changed: Any) -> Any:
    """The input `features` of one row of ones, changed."""
    found = {"name": "features", "shape": [1, 30], "datatype": "FP64"} | changed
    contents = {} if values is None else {"contents": messages.InferTensorContents(**{field: values})}
    return messages.ModelInferRequest.InferInputTensor(**found, **contents)


def request(*inputs: Any, **changed: Any) -> Any:
    """A request."""
    return messages.ModelInferRequest(**({"model_name": MODEL, "inputs": inputs or [tensor()]} | changed))


@pytest.fixture
def expected(client: Client) -> list[float]:
    """The prediction for a row of ones, by V1."""
    found: list[float] = client.predict(instances("1")).json()["predictions"]
    return found


@pytest.mark.parametrize(
    "asked",
    [
        request(),
        request(model_version="2.0"),
        request(tensor(datatype="FP32", field="fp32_contents")),
        request(tensor([1] * 30, datatype="INT8", field="int_contents")),
        request(tensor([1] * 30, datatype="UINT64", field="uint64_contents")),
        request(tensor(shape=[-1, 30])),
    ],
    ids=str,
)
def test_a_prediction_over_grpc_is_that_of_v1(logistic: Artifact, expected: list[float], asked: Any) -> None:
    asked.id = "my call"
    response = infer(logistic, asked)
    assert (response.model_name, response.model_version, response.id) == (MODEL, "2.0", "my call")
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("prediction", "FP64", [1])
    assert list(output.contents.fp64_contents) == expected


@pytest.mark.parametrize(("datatype", "dtype"), [("FP64", "<f8"), ("FP16", "<f2"), ("INT16", "<i2")])
def test_raw_input_gets_raw_output(logistic: Artifact, expected: list[float], datatype: str, dtype: str) -> None:
    raw = np.ones(30, dtype=dtype).tobytes()
    response = infer(logistic, request(tensor(None, datatype=datatype), raw_input_contents=[raw]))
    assert np.frombuffer(response.raw_output_contents[0], dtype="<f8").tolist() == expected


RAW = np.ones(30).tobytes()
NO_NUMBER = [float("nan")] * 30


@pytest.mark.parametrize(
    ("asked", "code", "named"),
    [
        (b"\xff\xff", "INVALID_ARGUMENT", "not a ModelInferRequest"),
        (request(model_name="other"), "NOT_FOUND", "other"),
        (request(model_version="1.0"), "NOT_FOUND", "2.0 is"),
        (messages.ModelInferRequest(model_name=MODEL), "INVALID_ARGUMENT", '"inputs" is empty'),
        (request(tensor(name="input-0")), "INVALID_ARGUMENT", "inputs[0].name"),
        (request(tensor(), tensor()), "INVALID_ARGUMENT", "given twice"),
        (request(tensor(shape=[2, 30])), "INVALID_ARGUMENT", "inputs[0].shape"),
        (request(tensor([1.0] * 29, shape=[1, 29])), "INVALID_ARGUMENT", "inputs[0].shape"),
        (request(tensor(None)), "INVALID_ARGUMENT", "inputs[0]"),
        (request(tensor(NO_NUMBER)), "INVALID_ARGUMENT", "not a finite number"),
        (request(tensor([300] * 30, datatype="INT8", field="int_contents")), "INVALID_ARGUMENT", "range of INT8"),
        (request(tensor(datatype="FP32")), "INVALID_ARGUMENT", "fp32_contents"),
        (request(tensor(datatype="FP16")), "INVALID_ARGUMENT", "FP16"),
        (request(tensor([True] * 30, datatype="BOOL", field="bool_contents")), "INVALID_ARGUMENT", "BOOL"),
        (request(tensor([b"1"] * 30, datatype="BYTES", field="bytes_contents")), "INVALID_ARGUMENT", "BYTES"),
        (request(tensor(datatype="FP128")), "INVALID_ARGUMENT", "not a datatype"),
        (request(tensor(), raw_input_contents=[RAW]), "INVALID_ARGUMENT", "must be empty"),
        (request(tensor(None), raw_input_contents=[RAW[:-1]]), "INVALID_ARGUMENT", "whole number"),
        (request(tensor(None), raw_input_contents=[RAW[:-8]]), "INVALID_ARGUMENT", "shape"),
        (request(tensor(None), raw_input_contents=[RAW, RAW]), "INVALID_ARGUMENT", "2 entries for 1 inputs"),
        (
            request(outputs=[messages.ModelInferRequest.InferRequestedOutputTensor(name="other")]),
            "INVALID_ARGUMENT",
            "outputs[0].name",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_bad_input_gets_the_code_of_a_clients_error(logistic: Artifact, asked: Any, code: str, named: str) -> None:
    error = infer(logistic, asked)
    assert isinstance(error, grpc.aio.AioRpcError)
    assert error.code().name == code
    assert named in str(error.details())
    assert len(str(error.details())) < 2048


@pytest.mark.slow
@given(st.binary(max_size=300))
def test_no_bytes_make_a_server_error(logistic: Artifact, body: bytes) -> None:
    error = infer(logistic, body)
    assert error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


def test_a_model_that_is_not_ready_is_unavailable(logistic: Artifact) -> None:
    client = Client(logistic)
    client.app.readiness.model_ready = False
    assert infer(logistic, request(), client).code() is grpc.StatusCode.UNAVAILABLE


def test_a_message_that_is_too_large_is_refused(logistic: Artifact) -> None:
    client = Client(logistic, replace(Settings(), max_body_bytes=1000))
    error = infer(logistic, request(tensor([1.0] * 3000, shape=[100, 30])), client)
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_grpc_requests_are_counted_with_the_others(logistic: Artifact) -> None:
    client = Client(logistic)
    infer(logistic, request(), client)
    infer(logistic, request(tensor(NO_NUMBER)), client)
    assert client.value("sabia_requests_total", status_class="2xx") == 1
    assert client.value("sabia_requests_total", status_class="4xx") == 1


def test_a_clients_deadline_is_kept(logistic: Artifact) -> None:
    client = Client(logistic, replace(Settings(), faults="delay=2s"))
    assert infer(logistic, request(), client, timeout=0.1).code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("call", ["RepositoryModelLoad", "RepositoryModelUnload"])
def test_loading_and_unloading_is_unimplemented(logistic: Artifact, call: str) -> None:
    async def ask(channel: grpc.aio.Channel) -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/{SERVICE}/{call}")(b"")
        return caught.value.code()

    assert served(logistic, ask) is grpc.StatusCode.UNIMPLEMENTED


def test_health_and_reflection_are_the_standard_ones(logistic: Artifact) -> None:
    async def ask(channel: grpc.aio.Channel) -> tuple[Any, list[str]]:
        stub = health_pb2_grpc.HealthStub(channel)
        healths = [
            (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status for name in ("", SERVICE, MODEL)
        ]
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        async for response in reflection.ServerReflectionInfo(iter([asked])):
            return healths, [service.name for service in response.list_services_response.service]
        raise AssertionError

    healths, services = served(logistic, ask)
    assert healths == [health_pb2.HealthCheckResponse.SERVING] * 3
    assert {SERVICE, "grpc.health.v1.Health"} <= set(services)


@pytest.mark.parametrize(
    ("symbol", "file"),
    [
        (SERVICE, messages.FILE),
        ("inference.ModelInferRequest.InferInputTensor", messages.FILE),
        ("grpc.health.v1.Health", "grpc_health/v1/health.proto"),
    ],
)
def test_reflection_describes_each_service(logistic: Artifact, symbol: str, file: str) -> None:
    async def ask(channel: grpc.aio.Channel) -> list[str]:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        async for response in reflection.ServerReflectionInfo(iter([asked])):
            found = response.file_descriptor_response.file_descriptor_proto
            return [FileDescriptorProto.FromString(each).name for each in found]
        raise AssertionError

    assert file in served(logistic, ask)


def test_the_server_and_the_model_describe_themselves(logistic: Artifact) -> None:
    async def ask(channel: grpc.aio.Channel) -> list[Any]:
        async def one(call: str, body: bytes, kind: Any) -> Any:
            return kind.FromString(await channel.unary_unary(f"/{SERVICE}/{call}")(body))

        named = messages.ModelReadyRequest(name=MODEL).SerializeToString()
        return [
            (await one("ServerLive", b"", messages.ServerLiveResponse)).live,
            (await one("ServerReady", b"", messages.ServerReadyResponse)).ready,
            (await one("ModelReady", named, messages.ModelReadyResponse)).ready,
            (await one("ServerMetadata", b"", messages.ServerMetadataResponse)).name,
            list((await one("ModelMetadata", named, messages.ModelMetadataResponse)).inputs[0].shape),
        ]

    assert served(logistic, ask) == [True, True, True, "sabia", [-1, 30]]


def test_kserves_own_client_gets_a_prediction(logistic: Artifact, expected: list[float]) -> None:
    import kserve
    from kserve.inference_client import InferenceGRPCClient

    client = Client(logistic)

    async def run() -> tuple[bool, Any]:
        server = await start(client.app, replace(client.settings, host="127.0.0.1", grpc_port=0))
        try:
            asked = kserve.InferInput("features", [1, 30], "FP64", data=ONES)
            theirs = InferenceGRPCClient(f"127.0.0.1:{server.port}")
            ready = await theirs.is_model_ready(MODEL)
            response = await theirs.infer(kserve.InferRequest(MODEL, [asked], request_id="x"))
            await theirs.close()
            return ready, response
        finally:
            await server.stop(0)

    ready, response = asyncio.run(run())
    assert ready
    assert response.outputs[0].data == expected
