"""A call to the model: the request as KServe gives it to a model, and the model's result as KServe sends it.

KServe's SDK is never imported here. A model that is made with it has imported it, and what a V2 request needs of it is
taken from there; a model without it gets V2 requests as dictionaries.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import msgspec

from sabia.contract.tensors import OUTPUT
from sabia.serving.custom import frames
from sabia.serving.custom.frames import Call, Reply
from sabia.serving.custom.steps import Steps, watched
from sabia.serving.errors import InvalidInput, ModelFailed, RequestError, UnsupportedMediaType
from sabia.serving.http.messages import JSON, Request
from sabia.serving.protocols import cloudevents, headers
from sabia.serving.protocols.cloudevents import Mode
from sabia.serving.protocols.v2 import InferRequest, quote_reason

logger = logging.getLogger("sabia.predictor")

_JSON_TYPES = ("", JSON, cloudevents.STRUCTURED, "application/ld+json")
_JSON_LENGTH = "inference-header-content-length"
_INFER = msgspec.json.Decoder(InferRequest)
_decode_json = msgspec.json.Decoder().decode
# The errors of KServe's SDK, and their statuses in its server.
_SDK_ERRORS = {
    "InvalidInput": 400,
    "ModelNotFound": 404,
    "ModelNotReady": 503,
    "ServerNotReady": 503,
    "ServerNotLive": 503,
    "UnsupportedProtocol": 501,
}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# The server's own.
_RESERVED = frozenset(
    {
        "connection",
        "content-length",
        "date",
        "keep-alive",
        "transfer-encoding",
        "upgrade",
        "x-model-version",
        "x-request-id",
    }
)
# Predictions of one request that are counted and logged.
_MOST_COUNTED = 100_000
_MOST_FORMS = 64


class Nonsense(Exception):
    """The model returned something that is not a response."""


class Handler:
    """Calls one model.

    Args:
        model: a `kserve.Model`, or anything that is called as one.
        name: the model's name in paths.
        version: of the model; responses carry it.
        most_bytes: a larger response is a failure of the model.
        executing: gets the number of the call before each step of the model's code, and 0 after it.

    Attributes:
        awaits: whether the model awaits, so that many of its requests run at once.
    """

    def __init__(
        self, model: Any, name: str, version: str, most_bytes: int, executing: Callable[[int], None] = lambda _: None
    ) -> None:
        self._name, self._version = name, version
        self._most_bytes = most_bytes
        self._executing = executing
        self._steps = Steps(model)
        self.awaits = self._steps.awaits
        self._forms: set[str] = set()  # bodies beside the protocols' that the model has answered

    async def reply(self, call: Call) -> Reply:
        """The reply to one call; whatever the model raises or returns, there is one."""
        started, payload = perf_counter(), None
        try:
            given = {str(name, "latin-1"): str(value, "latin-1") for name, value in call.headers.items()}
            payload = self._payload(call, given)
            decoded = perf_counter()
            work = self._steps.take(payload, given, explain=call.kind == frames.V1_EXPLAIN)
            result, extra = await watched(work, self._executing, call.number)
            predicted = perf_counter()
            reply = self._encode(call, result)
            if extra:
                reply.headers |= _checked_headers(extra, reply)
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, the client gets a response
            return failed(call.number, self._cause(call, payload, error))
        self._note_form(payload)
        if len(reply.body) > self._most_bytes:
            logger.error("the model's response of %d bytes is larger than %d", len(reply.body), self._most_bytes)
            return failed(call.number, ModelFailed())
        reply.seconds = (decoded - started, predicted - decoded, perf_counter() - predicted)
        return reply

    # -- the request -------------------------------------------------------------------------------------------------

    def _payload(self, call: Call, given: dict[str, str]) -> Any:
        """What the model's `preprocess` gets.

        Raises:
            InvalidInput: the body is not what its protocol sends.
        """
        if call.kind == frames.V2:
            return self._infer_request(call.body, given)
        if call.kind == frames.GRPC:
            return self._grpc_request(call.body)
        return _v1_payload(call)

    def _infer_request(self, body: bytes, given: dict[str, str]) -> Any:
        sdk = _sdk()
        request = Request(
            b"POST", b"", {name.encode("latin-1"): value.encode("latin-1") for name, value in given.items()}, body, 0.0
        )
        headers.check(request)
        length = headers.json_length(request)
        try:
            if length is not None and sdk is not None:
                return sdk.InferRequest.from_bytes(body, length, self._name)
            infer = _INFER.decode(body)
        except msgspec.ValidationError as error:
            raise InvalidInput("The request", f"does not follow the protocol: {quote_reason(error)}") from error
        except Exception as error:
            if isinstance(error, RequestError):
                raise
            raise InvalidInput("The body", "is not a V2 request") from error
        if sdk is None:
            return msgspec.to_builtins(infer)
        return _infer_request(sdk, infer, self._name)

    def _grpc_request(self, body: bytes) -> Any:
        sdk = _sdk()
        messages = sys.modules.get("kserve.protocol.grpc.grpc_predict_v2_pb2")
        if sdk is None or messages is None:
            raise NotImplementedError
        try:
            return sdk.InferRequest.from_grpc(messages.ModelInferRequest.FromString(body))
        except Exception as error:
            raise InvalidInput("The message", "is not a ModelInferRequest") from error

    def _note_form(self, payload: Any) -> None:
        form = _form(payload)
        if form is not None and len(self._forms) < _MOST_FORMS:
            self._forms.add(form)

    def _cause(self, call: Call, payload: Any, error: BaseException) -> BaseException:
        """The error itself; but a body of a form that the model has never answered is the client's fault.

        A V1 body without rows, or of another media type, reaches the model, as it does in KServe's server. A client
        must not be able to make a version look broken by it.
        """
        form = _form(payload)
        if form is None or form in self._forms or _classified(error)[0] != ModelFailed.http_status:
            return error
        logger.info("the model failed on a body of a form that it has never answered: %s", form, exc_info=error)
        if isinstance(payload, bytes):
            media_type = Request(b"POST", b"", call.headers, b"", 0.0).media_type
            return UnsupportedMediaType("Content-Type", media_type, JSON)
        return InvalidInput("The body", 'is not one that the model answers; "instances" is missing')

    # -- the response ------------------------------------------------------------------------------------------------

    def _encode(self, call: Call, result: Any) -> Reply:
        """The reply that a result makes.

        Raises:
            Nonsense: it makes none.
        """
        if call.kind == frames.GRPC:
            return _grpc_reply(call.number, result, self._version)
        json_size: int | None = None
        predictions = _predictions(result)
        if hasattr(result, "to_rest"):
            if getattr(result, "model_version", None) in (None, ""):
                result.model_version = self._version
            result, json_size = result.to_rest()
        if isinstance(result, bytes | bytearray) and json_size is not None:
            extra = {_JSON_LENGTH: str(json_size)}
            return Reply(call.number, 200, bytes(result), headers.BINARY, extra, predictions=predictions)
        if isinstance(result, bytes | bytearray | str) and call.kind != frames.V2:
            raw = result.encode() if isinstance(result, str) else bytes(result)
            media_type = "text/plain; charset=utf-8" if isinstance(result, str) else headers.BINARY
            return Reply(call.number, 200, raw, media_type)
        self._check(call, result)
        mode = _mode(call) if call.kind in (frames.V1, frames.V1_EXPLAIN) else Mode.NONE
        body = _json(result)
        if mode is Mode.NONE:
            return Reply(call.number, 200, body, predictions=predictions)
        wrapped = cloudevents.wrap(msgspec.json.decode(body), mode, self._name)
        return Reply(call.number, 200, wrapped.body, wrapped.media_type, dict(wrapped.headers), predictions=predictions)

    def _check(self, call: Call, result: Any) -> None:
        if call.kind == frames.V2:
            if not isinstance(result, dict) or not isinstance(result.get("outputs"), list):
                raise Nonsense(f"{type(result).__name__} is not an InferResponse")
            result.setdefault("model_name", self._name)
            if not result.get("model_version"):
                result["model_version"] = self._version
        elif result is None:
            raise Nonsense("the model returned None")


def _form(payload: Any) -> str | None:
    """The form of a body that is not the protocols' own; None for one that is."""
    if isinstance(payload, bytes):
        return "bytes"
    if isinstance(payload, dict):
        return None if "instances" in payload or "inputs" in payload else " ".join(sorted(payload))[:200]
    return type(payload).__name__ if isinstance(payload, list | str | int | float) or payload is None else None


def _v1_payload(call: Call) -> Any:
    request = Request(b"POST", b"", call.headers, call.body, 0.0)
    if _is_plain_json(request):
        return _v1_document(call.body)
    if request.media_type not in _JSON_TYPES:
        return call.body
    mode = cloudevents.mode_of(request)
    if mode is Mode.BINARY:
        cloudevents.check_binary(request)
    return _v1_document(call.body, event=mode is Mode.STRUCTURED)


def _v1_document(body: bytes, *, event: bool = False) -> Any:
    try:
        document = _decode_json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("The body", "is not JSON") from error
    if event:
        document = cloudevents.data_of(document)
    if isinstance(document, dict) and not isinstance(document.get("instances", []), list):
        raise InvalidInput('"instances"', "must be a list")
    return document


def _mode(call: Call) -> Mode:
    request = Request(b"POST", b"", call.headers, b"", 0.0)
    return Mode.NONE if _is_plain_json(request) else cloudevents.mode_of(request)


def _is_plain_json(request: Request) -> bool:
    """Whether the body is JSON in no event, as nearly every client sends it."""
    return headers.is_plain(request) and cloudevents.REQUIRED.isdisjoint(request.headers)


def _sdk() -> Any:
    """KServe's SDK if the model has imported it."""
    return sys.modules.get("kserve")


def _infer_request(sdk: Any, infer: InferRequest, name: str) -> Any:
    for at, tensor in enumerate(infer.inputs):
        if tensor.datatype.upper() == "FP16" and tensor.data:
            raise InvalidInput(f"inputs[{at}].datatype", "FP16 has no JSON form; send it as binary data")
        if not isinstance(tensor.data, list):
            raise InvalidInput(f"inputs[{at}].data", "is missing; a list is needed")
    inputs = [
        sdk.InferInput(each.name, each.shape, each.datatype, data=each.data, parameters=each.parameters or {})
        for each in infer.inputs
    ]
    requested = None
    if infer.outputs:
        output = sys.modules["kserve.protocol.infer_type"].RequestedOutput
        requested = [output(each.name, each.parameters or {}) for each in infer.outputs]
    return sdk.InferRequest(name, inputs, request_id=infer.id, parameters=infer.parameters, request_outputs=requested)


def _grpc_reply(number: int, result: Any, version: str) -> Reply:
    predictions = _predictions(result)
    if hasattr(result, "to_grpc"):
        if getattr(result, "model_version", None) in (None, ""):
            result.model_version = version
        result = result.to_grpc()
    elif isinstance(result, dict):
        message = sys.modules["kserve.protocol.grpc.grpc_predict_v2_pb2"].ModelInferResponse
        result = message(id=result["id"], model_name=result["model_name"], outputs=result["outputs"])
    if not hasattr(result, "SerializeToString"):
        raise Nonsense(f"{type(result).__name__} is not an InferResponse")
    return Reply(number, 200, result.SerializeToString(), "application/grpc", predictions=predictions)


def _json(document: Any) -> bytes:
    try:
        return _encode_json(document)
    except Exception as error:
        raise Nonsense(f"what the model returned has no JSON form: {error}") from error


def _plain(value: Any) -> Any:
    """Arrays and numbers of numpy, and of libraries that have its interface."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise NotImplementedError(type(value).__name__)


_encode_json = msgspec.json.Encoder(enc_hook=_plain).encode


def _predictions(result: Any) -> list[float] | None:
    """The numbers that were predicted, one for each row; None where the result has another form."""
    if isinstance(result, dict):
        values = result.get("predictions")
        if values is None and isinstance(result.get("outputs"), list):
            values = _primary(
                [(each.get("name"), each.get("data")) for each in result["outputs"] if isinstance(each, dict)]
            )
    elif isinstance(getattr(result, "outputs", None), list):
        values = _primary([(each.name, each) for each in result.outputs])
        if values is not None and hasattr(values, "as_numpy"):
            try:
                values = values.as_numpy() if values.datatype != "BYTES" else None
            except Exception:  # noqa: BLE001  encoding the response meets it again
                return None
    else:
        return None
    return _numbers(values)


def _primary(outputs: Iterable[tuple[Any, Any]]) -> Any:
    """The output called as this project calls it, else the first."""
    outputs = list(outputs)
    return next((value for name, value in outputs if name == OUTPUT), outputs[0][1] if outputs else None)


def _numbers(values: Any) -> list[float] | None:
    if hasattr(values, "tolist"):
        values = values.tolist()
    if not isinstance(values, list) or not values or len(values) > _MOST_COUNTED:
        return None
    if all(isinstance(each, list) and len(each) == 1 for each in values):
        values = [each[0] for each in values]
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        return [float(each) for each in values]
    return None


def _checked_headers(extra: dict[Any, Any], reply: Reply) -> dict[str, str]:
    """The model's headers, without those that are the server's; a content type replaces the reply's."""
    kept: dict[str, str] = {}
    for name, value in extra.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise Nonsense(f"the header {name!r} is not text")
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Nonsense(f"the header {name!r} cannot be sent")
        if name.lower() == "content-type":
            if _JSON_LENGTH not in reply.headers:
                reply.media_type = value
        elif name.lower() not in _RESERVED:
            kept[name.lower()] = value
    return kept


def failed(number: int, error: BaseException) -> Reply:
    """The error response: the model's words where the client is at fault, ours where the model is."""
    status, body, sentence = _classified(error)
    if status >= 500 and not isinstance(error, RequestError):
        logger.error("a request failed in the model", exc_info=error)
    given = getattr(error, "headers", None)
    reply = Reply(number, status, msgspec.json.encode(body), reason=sentence)
    if given:
        try:
            reply.headers = _checked_headers(dict(given), reply)
        except (Nonsense, TypeError, ValueError):
            logger.exception("the headers of an error cannot be sent")
    return reply


def _classified(error: BaseException) -> tuple[int, dict[str, Any], str]:
    """The status of the error response, its body, and its sentence."""
    if isinstance(error, RequestError):
        return error.http_status, {"error": str(error)}, str(error)
    for kind in type(error).__mro__:
        if kind.__module__ == "kserve.errors" and kind.__name__ in _SDK_ERRORS:
            status = _SDK_ERRORS[kind.__name__]
            return status, {"error": str(error)}, str(error)
    if isinstance(error, NotImplementedError):
        return 501, {"error": "The model does not implement this."}, "The model does not implement this."
    # FastAPI's and Starlette's HTTPException, which models raise under KServe's server.
    given, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if type(given) is int and 400 <= given <= 599 and detail is not None:
        try:
            msgspec.json.encode(detail)
        except TypeError:
            detail = str(detail)
        return given, {"detail": detail}, str(detail)
    failed = ModelFailed()
    return failed.http_status, {"error": str(failed)}, str(failed)
