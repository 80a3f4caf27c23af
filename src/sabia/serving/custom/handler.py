"""A call to the model: the request as KServe gives it to a model, and the model's result as KServe sends it.

KServe's SDK is never imported here. A model that is made with it has imported it, and what a V2 request needs of it is
taken from there; a model without it gets V2 requests as dictionaries.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec

from sabia.contract.signature import Signature
from sabia.serving.custom import documents, frames
from sabia.serving.custom.artifact import ArtifactModel
from sabia.serving.custom.documents import Form
from sabia.serving.custom.frames import Call, Reply
from sabia.serving.custom.observing import Observer
from sabia.serving.custom.steps import Steps, watched
from sabia.serving.errors import (
    InvalidInput,
    ModelFailed,
    NotImplementedHere,
    RequestError,
    UnsupportedMediaType,
    as_client_error,
)
from sabia.serving.http.messages import JSON, Request
from sabia.serving.protocols import cloudevents, grpctensors, headers
from sabia.serving.protocols.cloudevents import Mode
from sabia.serving.protocols.v2 import InferRequest, quote_reason
from sabia.serving.seldom import Seldom

logger = logging.getLogger("sabia.predictor")
# Any client can send such a body.
_odd_forms = Seldom(logger)

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
_MOST_FORMS = 64
_ANY_FORM = Form()


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
        signature: of its requests and responses, if there is one.

    Attributes:
        awaits: whether the model awaits, so that many of its requests run at once.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        version: str,
        most_bytes: int,
        executing: Callable[[int], None] = lambda _: None,
        signature: Signature | None = None,
    ) -> None:
        self._name, self._version = name, version
        self._most_bytes = most_bytes
        self._executing = executing
        self._steps = Steps(model)
        self._is_artifact = isinstance(model, ArtifactModel)
        self._observer = Observer(name, signature, is_artifact=self._is_artifact)
        self.awaits = self._steps.awaits
        self._forms: set[str] = set()  # bodies beside the protocols' that the model has answered

    async def reply(self, call: Call) -> Reply:
        """The reply to one call; whatever the model raises or returns, there is one."""
        started, payload, form = perf_counter(), None, _ANY_FORM
        try:
            given = {str(name, "latin-1"): str(value, "latin-1") for name, value in call.headers.items()}
            explain = call.kind == frames.V1_EXPLAIN
            try:
                payload, form = self._payload(call)
                known = None if explain else self._observer.before(call, payload)
            except Exception as error:  # whatever a parser meets, the model was not asked
                raise as_client_error(error) from error
            decoded = perf_counter()
            result, extra = await watched(
                self._steps.take(payload, given, explain=explain), self._executing, call.number
            )
            predicted = perf_counter()
            observed = None if explain else self._observer.observed(call, known, result)
            reply = self._encode(call, result, form)
            reply.observed = observed
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

    def _payload(self, call: Call) -> tuple[Any, Form]:
        """What the model's `preprocess` gets, and the form of its response where that is a document of V2.

        Raises:
            RequestError: the body is not what its protocol sends.
        """
        if call.kind == frames.V2:
            return self._infer_request(call)
        if call.kind == frames.GRPC:
            return self._grpc_request(call.body)
        return _v1_payload(call), _ANY_FORM

    def _sdk(self) -> Any:
        """KServe's SDK if the model has imported it; an artifact takes documents all the same."""
        return None if self._is_artifact else sys.modules.get("kserve")

    def _infer_request(self, call: Call) -> tuple[Any, Form]:
        request = Request(b"POST", b"", call.headers, call.body, 0.0)
        headers.check(request)
        length = headers.json_length(request)
        sdk = self._sdk()
        if sdk is None:
            return documents.from_rest(call.body, length)
        try:
            if length is not None:
                return sdk.InferRequest.from_bytes(call.body, length, self._name), _ANY_FORM
            infer = _INFER.decode(call.body)
        except msgspec.ValidationError as error:
            raise InvalidInput("The request", f"does not follow the protocol: {quote_reason(error)}") from error
        except Exception as error:
            raise InvalidInput("The body", "is not a V2 request") from error
        return _infer_request(sdk, infer, self._name), _ANY_FORM

    def _grpc_request(self, body: bytes) -> tuple[Any, Form]:
        sdk = self._sdk()
        theirs = sys.modules.get("kserve.protocol.grpc.grpc_predict_v2_pb2") if sdk is not None else None
        try:
            if sdk is not None and theirs is not None:
                message = theirs.ModelInferRequest.FromString(body)
            else:
                from sabia.serving.protocols import messages  # noqa: PLC0415  a tenth of a second that HTTP need not wait

                message = messages.ModelInferRequest.FromString(body)
        except Exception as error:
            raise InvalidInput("The message", "is not a ModelInferRequest") from error
        grpctensors.check_identity(message.model_name, message.model_version, self._name, self._version)
        if theirs is None:
            return documents.from_grpc(message)
        try:
            return sdk.InferRequest.from_grpc(message), _ANY_FORM
        except Exception as error:
            raise InvalidInput("The message", "has a tensor that is not what its datatype says") from error

    def _note_form(self, payload: Any) -> None:
        form = _form(payload)
        if form is not None and len(self._forms) < _MOST_FORMS:
            self._forms.add(form)

    def _cause(self, call: Call, payload: Any, error: BaseException) -> BaseException:
        """The error itself; but a body of a form that the model has never answered is the client's fault.

        A V1 body without rows, or of another media type, reaches the model, as it does in KServe's server. A client
        must not be able to make a version look broken by it.
        """
        if call.kind == frames.V1_EXPLAIN and isinstance(error, NotImplementedError):
            return NotImplementedHere()
        form = _form(payload)
        if form is None or form in self._forms or _classified(error)[0] != ModelFailed.http_status:
            return error
        _odd_forms.warning("the model failed on a body of a form that it has never answered: %s: %r", form, error)
        if isinstance(payload, bytes):
            media_type = Request(b"POST", b"", call.headers, b"", 0.0).media_type
            return UnsupportedMediaType("Content-Type", media_type, JSON)
        return InvalidInput("The body", 'is not one that the model answers; "instances" is missing')

    # -- the response ------------------------------------------------------------------------------------------------

    def _encode(self, call: Call, result: Any, form: Form) -> Reply:
        """The reply that a result makes.

        Raises:
            Nonsense: it makes none.
        """
        if call.kind == frames.GRPC:
            return self._grpc_reply(call, result, form)
        if call.kind == frames.V2:
            return self._v2_reply(call, result, form)
        if hasattr(result, "to_rest"):
            result, json_size = self._named(result).to_rest()
            if json_size is not None:
                return _binary_reply(call, result, json_size)
        if isinstance(result, bytes | bytearray | str):
            raw = result.encode() if isinstance(result, str) else bytes(result)
            media_type = "text/plain; charset=utf-8" if isinstance(result, str) else headers.BINARY
            return Reply(call.number, 200, raw, media_type)
        if result is None:
            raise Nonsense("the model returned None")
        mode = _mode(call)
        body = _json(result)
        if mode is Mode.NONE:
            return Reply(call.number, 200, body)
        wrapped = cloudevents.wrap(msgspec.json.decode(body), mode, self._name)
        return Reply(call.number, 200, wrapped.body, wrapped.media_type, dict(wrapped.headers))

    def _v2_reply(self, call: Call, result: Any, form: Form) -> Reply:
        if hasattr(result, "to_rest"):
            result, json_size = self._named(result).to_rest()
            if json_size is not None:
                return _binary_reply(call, result, json_size)
        self._identify(result)
        try:
            body, json_size = documents.to_rest(result, form)
        except Exception as error:
            raise Nonsense(f"what the model returned is not a V2 response: {error!r}") from error
        return Reply(call.number, 200, body) if json_size is None else _binary_reply(call, body, json_size)

    def _named(self, result: Any) -> Any:
        """A response of the SDK, with the version unless it has one."""
        if getattr(result, "model_version", None) in (None, ""):
            result.model_version = self._version
        return result

    def _identify(self, result: Any) -> None:
        """Let a document name the model and its version.

        Raises:
            Nonsense: it is not a V2 response.
        """
        if not isinstance(result, dict) or not isinstance(result.get("outputs"), list):
            raise Nonsense(f"{type(result).__name__} is not an InferResponse")
        result.setdefault("model_name", self._name)
        if not result.get("model_version"):
            result["model_version"] = self._version

    def _grpc_reply(self, call: Call, result: Any, form: Form) -> Reply:
        if hasattr(result, "to_grpc"):
            result = self._named(result).to_grpc()
        if isinstance(result, dict):
            self._identify(result)
            try:
                return Reply(call.number, 200, documents.to_grpc(result, form), "application/grpc")
            except Exception as error:
                raise Nonsense(f"what the model returned is not a V2 response: {error!r}") from error
        if not hasattr(result, "SerializeToString"):
            raise Nonsense(f"{type(result).__name__} is not an InferResponse")
        return Reply(call.number, 200, result.SerializeToString(), "application/grpc")


def _binary_reply(call: Call, body: bytes, json_size: int) -> Reply:
    return Reply(call.number, 200, bytes(body), headers.BINARY, {_JSON_LENGTH: str(json_size)})


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
    """Whether the body is JSON and not a CloudEvent, as nearly every client sends it."""
    return headers.is_plain(request) and cloudevents.REQUIRED.isdisjoint(request.headers)


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
    """The error response: the model's sentence where the client is at fault, the server's where the model is."""
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
