"""The Open Inference Protocol over gRPC, with the standard health and reflection services.

A request is parsed into the same tensors as a V2 request and predicted by the same code; its errors carry the gRPC code
that means the same as their HTTP status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Any, NoReturn

import grpc
import numpy as np
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2
from numpy.typing import NDArray

from sabia.contract.names import PIN, PIN_HEADER, REQUEST_ID_HEADER
from sabia.contract.tensors import OUTPUT
from sabia.serving.app import Responder
from sabia.serving.errors import InvalidInput, LoadFailed, RequestError
from sabia.serving.http.messages import Request, Response
from sabia.serving.inference.model import Model
from sabia.serving.inference.session import Outputs
from sabia.serving.inference.typed import Served, TypedModel
from sabia.serving.protocols import grpctensors, messages, typedtensors, v2
from sabia.serving.protocols.jobs import Job
from sabia.serving.protocols.messages import SERVICE
from sabia.serving.settings import Settings, address

Array = NDArray[np.float64]
Context = Any  # grpc.aio.ServicerContext; the library publishes no types


_NOTHING: Mapping[str, str] = MappingProxyType({})


class Server:
    """The gRPC server of one process."""

    def __init__(self, server: grpc.aio.Server, checks: health.aio.HealthServicer, port: int) -> None:
        self._server, self._checks = server, checks
        self.port = port

    async def drain(self) -> None:
        """Report that this server is not ready any more."""
        await self._checks.enter_graceful_shutdown()

    async def stop(self, seconds: float) -> None:
        """Take no more requests, and wait this long for those in flight."""
        await self._server.stop(seconds)


async def start(app: Responder, settings: Settings) -> Server:
    """Serve on the configured port.

    Raises:
        LoadFailed: the port is taken, or privileged.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=settings.max_connections,
        options=[
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.max_metadata_size", settings.max_head_bytes),
            ("grpc.so_reuseport", int(settings.workers > 1)),
        ],
    )
    service = Service(app)
    handlers = {
        method: grpc.unary_unary_rpc_method_handler(getattr(service, _snake(method))) for method in messages.METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", SERVICE, *app.models):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    # Reflection describes every service from one pool, and two of them are defined in the default one.
    for file in (health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        messages.POOL.AddSerializedFile(file.serialized_pb)
    services = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(services, server, messages.POOL)
    try:
        port = server.add_insecure_port(address(settings.host, settings.grpc_port))
    except RuntimeError as error:
        raise LoadFailed(f"cannot listen on {address(settings.host, settings.grpc_port)} for gRPC.") from error
    await server.start()
    return Server(server, checks, port)


class Service:
    """The methods of `inference.GRPCInferenceService`; bytes in, bytes out."""

    def __init__(self, app: Responder) -> None:
        self._app = app

    async def server_live(self, body: bytes, context: Context) -> bytes:
        """Whether the server lives."""
        del body, context
        return _bytes(messages.ServerLiveResponse(live=True))

    async def server_ready(self, body: bytes, context: Context) -> bytes:
        """Whether every model is ready."""
        del body, context
        return _bytes(messages.ServerReadyResponse(ready=self._app.readiness.ready))

    async def model_ready(self, body: bytes, context: Context) -> bytes:
        """Whether a model is ready."""
        request = await _parsed(messages.ModelReadyRequest, body, context)
        await self._metadata(request.name, request.version, context)
        return _bytes(messages.ModelReadyResponse(ready=self._app.readiness.ready))

    async def server_metadata(self, body: bytes, context: Context) -> bytes:
        """What this server is."""
        del body, context
        return _bytes(messages.ServerMetadataResponse(**v2.server_metadata()))

    async def model_metadata(self, body: bytes, context: Context) -> bytes:
        """The model's inputs and outputs."""
        request = await _parsed(messages.ModelMetadataRequest, body, context)
        metadata = await self._metadata(request.name, request.version, context)
        tensors = {
            side: [
                messages.ModelMetadataResponse.TensorMetadata(
                    name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"]
                )
                for tensor in metadata[side]
            ]
            for side in ("inputs", "outputs")
        }
        return _bytes(
            messages.ModelMetadataResponse(
                name=metadata["name"], versions=metadata["versions"], platform=metadata["platform"], **tensors
            )
        )

    async def model_infer(self, body: bytes, context: Context) -> bytes:
        """Predict."""
        left = context.time_remaining()
        headers = {name.lower().encode(): _text(value) for name, value in context.invocation_metadata() or ()}
        if left is not None:
            headers[b"x-request-timeout-ms"] = b"%d" % max(1, min(left * 1000, 10**8))
        request = Request(b"POST", SERVICE.encode(), headers, body, perf_counter())
        response = self._app.recorded(request, self._infer)
        if not isinstance(response, Response):
            # A client that leaves does not take its request out of the counts.
            response = await asyncio.shield(response)
        # As the headers of HTTP: labels join by the id, and clients see which version answered.
        named = self._app.headers | response.headers
        metadata = {name: named[name] for name in (PIN_HEADER,) if name in named} | {
            REQUEST_ID_HEADER: request.id.decode()
        }
        if response.error is not None:
            await _abort(context, response.error, metadata)
        context.set_trailing_metadata(tuple(metadata.items()))
        return response.body

    def _infer(self, request: Request, captured: Mapping[str, str]) -> Response | asyncio.Future[Response]:
        del captured
        return self._app.infer(request, parse)

    async def repository_model_load(self, body: bytes, context: Context) -> bytes:
        """Refused: a deployment determines what is served."""
        del body
        return await _refuse_repository(context)

    async def repository_model_unload(self, body: bytes, context: Context) -> bytes:
        """Refused, as loading is."""
        del body
        return await _refuse_repository(context)

    async def _metadata(self, name: str, version: str, context: Context) -> dict[str, Any]:
        try:
            return self._app.metadata(name, version)
        except RequestError as error:
            await _abort(context, error)


def parse(request: Request, model: Served) -> Job[Any, Any]:
    """Parse an infer request from its bytes.

    Raises:
        RequestError: says what is wrong with it.
    """
    infer = messages.ModelInferRequest()
    try:
        infer.ParseFromString(request.body)
    except DecodeError as error:
        raise InvalidInput("The message", "is not a ModelInferRequest") from error
    if infer.model_version:
        request.route = PIN
    grpctensors.check_identity(infer.model_name, infer.model_version, model.name, model.version)
    inputs, raw = grpctensors.tensors(infer)
    if isinstance(model, TypedModel):
        batch = typedtensors.read(inputs, memoryview(raw), model.signature, model.texts)
        requested = [v2.RequestedOutput(output.name) for output in infer.outputs]
        wanted = typedtensors.wanted(requested, model.signature, binary=bool(raw))
        return Job(batch, partial(_write_typed, infer.id, wanted, model))
    v2.check_outputs(output.name for output in infer.outputs)
    rows = v2.parse_rows(inputs, memoryview(raw), model)
    return Job(rows, partial(_write, infer.id, bool(raw), model))


def _write(request_id: str, raw: bool, model: Model, prediction: Array) -> Response:
    output = {"name": OUTPUT, "datatype": "FP64", "shape": [len(prediction)]}
    response = messages.ModelInferResponse(model_name=model.name, model_version=model.version, id=request_id)
    tensor = response.outputs.add(**output)
    if raw:
        response.raw_output_contents.append(prediction.astype("<f8").tobytes())
    else:
        tensor.contents.fp64_contents.extend(prediction.tolist())
    return Response(body=_bytes(response), media_type="application/grpc")


def _write_typed(request_id: str, wanted: list[typedtensors.Wanted], model: TypedModel, outputs: Outputs) -> Response:
    response = messages.ModelInferResponse(model_name=model.name, model_version=model.version, id=request_id)
    for each in wanted:
        column, kind = outputs[each.output.name], typedtensors.DATATYPES[each.output.dtype]
        tensor = response.outputs.add(name=each.name, datatype=kind, shape=column.shape)
        if each.binary:
            response.raw_output_contents.append(typedtensors.binary_data(each.output, column))
        else:
            values = typedtensors.encoded(each.output, column) if kind == "BYTES" else column.ravel().tolist()
            getattr(tensor.contents, grpctensors.CONTENTS[kind]).extend(values)
    return Response(body=_bytes(response), media_type="application/grpc")


async def _parsed(kind: Callable[[], Any], body: bytes, context: Context) -> Any:
    message = kind()
    try:
        message.ParseFromString(body)
    except DecodeError:
        await _abort(context, InvalidInput("The message", "is not what this call takes"))
    return message


async def _abort(context: Context, error: RequestError, metadata: Mapping[str, str] = _NOTHING) -> NoReturn:
    trailing = dict(error.headers) | dict(metadata)
    await context.abort(grpc.StatusCode[error.grpc_status], str(error), tuple(trailing.items()))
    raise AssertionError  # abort() has raised


async def _refuse_repository(context: Context) -> bytes:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Loading and unloading is off; deploy another version instead.")
    raise AssertionError  # abort() has raised


def _bytes(message: Message) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _text(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).removeprefix("_")
