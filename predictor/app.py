"""The HTTP calls, as an ASGI application: V1, the Open Inference Protocol (V2), health, metrics.

Each call is read from bytes and answered in bytes by one synchronous function; the application around it reads the
body within its limit, finds the call, counts, and turns every error into `{"error": "<one sentence>"}`. What is not
listed in `_ROUTES` does not exist: KServe's load and unload calls among it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from importlib import metadata as packages
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, exposition

from predictor import cloudevents, faults, tensors
from predictor.config import Config
from predictor.decision import Decision
from predictor.errors import (
    STATUS,
    BodyTooLarge,
    InvalidInput,
    ModelFailed,
    NotReady,
    RequestError,
    UnknownModel,
    UnknownPath,
    UnknownVerb,
    UnknownVersion,
    UnsupportedMediaType,
    WrongMethod,
)
from predictor.instances import Array, read_instances, read_lists
from predictor.metrics import MIRROR, PIN, SPLIT, VersionMetrics
from predictor.model import Predictor

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

logger = logging.getLogger("sabia.predictor")

JSON = "application/json"
BINARY = "application/octet-stream"
# A call this large takes milliseconds; in a thread it cannot hold up the health of the server.
_LARGE = 64 * 1024
# What is read and dropped of a body that is too large. Closing on a client that still sends resets the connection, and
# the client may never see the 413.
_DISCARDED = 64 * 1024 * 1024


@dataclass(slots=True)
class Request:
    """One call, read whole. Header names are lower case."""

    method: str
    headers: Mapping[str, str]
    body: bytes
    captured: Mapping[str, str]

    @property
    def media_type(self) -> str:
        """The content type without parameters, lower case; empty when the client sent none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Measured:
    """What one decision took, in seconds, and what it decided: counts by prediction bin and by feature."""

    stage: str
    read: float
    decide: float
    write: float
    bin_counts: NDArray[np.int64]
    out_of_range: NDArray[np.int64]


@dataclass(slots=True)
class Answer:
    """What goes back, and what is to be counted of it."""

    status: int = 200
    body: bytes = b""
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    measured: Measured | None = None


class App:
    """One version's calls.

    Attributes:
        draining: True after SIGTERM: readiness says no, requests are still answered, connections are asked to close.
    """

    def __init__(self, model: Predictor, config: Config, registry: CollectorRegistry) -> None:
        self._model = model
        self._decision = model.decision
        self._registry = registry
        self._limit = config.max_body_bytes
        self._metrics = VersionMetrics(model.decision, registry)
        self._faults = faults.read(config.faults)
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call of an ASGI server."""
        if scope["type"] != "http":
            raise NotImplementedError(f"no {scope['type']} connections are served")
        started = perf_counter()
        route = _find(scope["path"])
        try:
            answer = await self._answer(scope, receive, route)
        except RequestError as error:
            answer = _refusal(error)
        except Exception:
            logger.exception("a call failed")
            answer = _refusal(ModelFailed())
        # Counted before it is sent: whoever has the answer finds it in the metrics.
        if route is not None and route.counted and answer.status != STATUS[UnknownModel]:
            self._count(answer, perf_counter() - started, _came_by(scope, self._decision.version.encode()))
        await self._send(send, answer, head=scope["method"] == "HEAD")

    def _count(self, answer: Answer, seconds: float, came_by: str) -> None:
        # Here, on the event loop, and nowhere else: calls may run in threads, and counting is not atomic.
        self._metrics.answered(answer.status, seconds, came_by)
        found = answer.measured
        if found is not None:
            self._metrics.decided(found.read + found.decide + found.write, came_by)
            self._metrics.predicted(found.bin_counts, found.out_of_range, came_by)
            self._metrics.stage("preprocess", found.read)
            self._metrics.stage(found.stage, found.decide)
            self._metrics.stage("postprocess", found.write)

    async def _answer(self, scope: Scope, receive: Receive, route: Route | None) -> Answer:
        if route is None:
            raise UnknownPath
        method = scope["method"]
        if method not in route.methods:
            raise WrongMethod(method, route.methods)
        captured = _captured(route, scope["path"])
        self._check_identity(captured)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._read(headers, receive) if method == "POST" else b""
        request = Request(method, headers, body, captured)
        if len(body) < _LARGE:
            return route.call(self, request)
        return await asyncio.to_thread(route.call, self, request)

    def _check_identity(self, captured: Mapping[str, str]) -> None:
        name = captured.get("model", self._decision.name)
        if name != self._decision.name:
            raise UnknownModel(name)
        version = captured.get("version", self._decision.version)
        if version != self._decision.version:
            raise UnknownVersion(version, self._decision.version)

    async def _read(self, headers: Mapping[str, str], receive: Receive) -> bytes:
        """The body, never more of it kept than the limit."""
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit and "expect" in headers:
            raise BodyTooLarge(self._limit)  # the client waits for leave to send; it need not
        chunks: list[bytes] = []
        size = 0
        more = True
        while more and size <= max(_DISCARDED, self._limit):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise InvalidInput("The body", "ended early")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._limit:
                chunks.clear()
            else:
                chunks.append(chunk)
            more = message.get("more_body", False)
        if size > self._limit:
            raise BodyTooLarge(self._limit)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _send(self, send: Send, answer: Answer, *, head: bool) -> None:
        headers = {
            "content-type": answer.media_type,
            "content-length": str(len(answer.body)),
            "x-model-version": self._decision.version,
            **answer.headers,
        }
        if self.draining or answer.status == STATUS[BodyTooLarge]:
            headers["connection"] = "close"
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if head else answer.body})

    # -- the calls ---------------------------------------------------------------------------------------------------

    def predict_v1(self, request: Request) -> Answer:
        """`POST /v1/models/<m>:predict`."""
        return self._v1(request, "predict", _predictions)

    def explain_v1(self, request: Request) -> Answer:
        """`POST /v1/models/<m>:explain`."""
        return self._v1(request, "explain", _explanations)

    def _v1(self, request: Request, stage: str, document_of: Callable[[Decision, Array, Array], Any]) -> Answer:
        mode = _check_v1_headers(request)
        decision = self._model.decision
        started = perf_counter()
        rows = _read_rows(request.body, mode, decision)
        read = perf_counter()
        prediction, fault = self._predict(decision, rows)
        document = document_of(decision, rows, prediction)
        decided = perf_counter()
        answer = _wrap(document, mode, decision.name)
        if fault is not None:
            answer.headers[faults.HEADER] = fault
        written = perf_counter()
        answer.measured = _measured(stage, (started, read, decided, written), decision, rows, prediction)
        return answer

    def _predict(self, decision: Decision, rows: Array) -> tuple[Array, str | None]:
        if self._faults is None:
            return decision.predict(rows), None
        return self._faults(decision.predict, rows)

    def infer_v2(self, request: Request) -> Answer:
        """`POST /v2/models/<m>/infer`."""
        header_length = _check_v2_headers(request)
        decision = self._model.decision
        started = perf_counter()
        call = tensors.read_call(request.body, header_length, decision)
        read = perf_counter()
        prediction, fault = self._predict(decision, call.rows)
        decided = perf_counter()
        body, json_length = tensors.write_answer(call, prediction, decision)
        written = perf_counter()
        answer = Answer(body=body)
        if fault is not None:
            answer.headers[faults.HEADER] = fault
        if json_length is not None:
            answer.media_type = BINARY
            answer.headers["inference-header-content-length"] = str(json_length)
        answer.measured = _measured("predict", (started, read, decided, written), decision, call.rows, prediction)
        return answer

    @property
    def serves(self) -> str:
        """Model and version, for people."""
        return f"{self._decision.name} {self._decision.version}"

    @property
    def ready(self) -> bool:
        """Whether new traffic should come here."""
        return self._model.ready and not self.draining

    def model_v1(self, request: Request) -> Answer:
        """`GET /v1/models/<m>`."""
        del request
        return _json({"name": self._decision.name, "ready": self.ready}, status=self._readiness_status)

    def models_v1(self, request: Request) -> Answer:
        """`GET /v1/models`, and `/v2/models`."""
        del request
        return _json({"models": [self._decision.name]})

    def server_v2(self, request: Request) -> Answer:
        """`GET /v2`."""
        del request
        return _json({"name": "sabia", "version": packages.version("sabia"), "extensions": ["binary_tensor_data"]})

    def live_v2(self, request: Request) -> Answer:
        """`GET /v2/health/live`."""
        del request
        return _json({"live": True})

    def ready_v2(self, request: Request) -> Answer:
        """`GET /v2/health/ready`: every model is ready."""
        del request
        return _json({"ready": self.ready}, status=self._readiness_status)

    def model_v2(self, request: Request) -> Answer:
        """`GET /v2/models/<m>`."""
        del request
        return _json(tensors.metadata(self._model.decision))

    def unknown_verb(self, request: Request) -> Answer:
        """Any `/v1/models/<m>:<verb>` but the two above."""
        raise UnknownVerb(request.captured["verb"])

    def alive(self, request: Request) -> Answer:
        """`GET /`."""
        del request
        return _json({"status": "alive"})

    def metrics(self, request: Request) -> Answer:
        """`GET /metrics`."""
        encode, media_type = exposition.choose_encoder(request.headers.get("accept", ""))
        return Answer(body=encode(self._registry), media_type=media_type)

    @property
    def _readiness_status(self) -> int:
        return 200 if self.ready else STATUS[NotReady]


@dataclass(frozen=True, slots=True)
class Route:
    """A path, the methods it takes, and the call behind it. `counted` calls are the version's requests."""

    path: re.Pattern[str]
    methods: tuple[str, ...]
    call: Callable[[App, Request], Answer]
    counted: bool = False


_M = r"(?P<model>[^/:]+)"
_V = rf"{_M}(?:/versions/(?P<version>[^/]+))?"
_GET = ("GET", "HEAD")
_POST = ("POST",)
_ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ROUTES = tuple(
    Route(re.compile(path), methods, call, counted=methods == _POST)
    for path, methods, call in (
        (rf"/v1/models/{_M}:predict", _POST, App.predict_v1),
        (rf"/v2/models/{_V}/infer", _POST, App.infer_v2),
        (rf"/v1/models/{_M}:explain", _POST, App.explain_v1),
        (r"/v1/models/?", _GET, App.models_v1),
        (rf"/v1/models/{_M}", _GET, App.model_v1),
        (rf"/v1/models/{_M}:(?P<verb>[^/]*)", _ANY, App.unknown_verb),
        (r"/v2/?", _GET, App.server_v2),
        (r"/v2/health/live", _GET, App.live_v2),
        (r"/v2/health/ready", _GET, App.ready_v2),
        (r"/v2/models/?", _GET, App.models_v1),
        (rf"/v2/models/{_V}/ready", _GET, App.model_v1),
        (rf"/v2/models/{_V}", _GET, App.model_v2),
        (r"/", _GET, App.alive),
        (r"/metrics", _GET, App.metrics),
    )
)


def routes() -> list[str]:
    """The paths that are answered, as documentation writes them."""
    plain = (route.path.pattern.replace(_V, "<m>").replace(_M, "<m>").removesuffix("/?") for route in _ROUTES)
    return [path or "/" for path in plain if "(?P" not in path]


def _find(path: str) -> Route | None:
    return next((route for route in _ROUTES if route.path.fullmatch(path)), None)


def _came_by(scope: Scope, version: bytes) -> str:
    """Which way a request took: Envoy marks a copy in its host name, and a client that pins says so in a header."""
    found = SPLIT
    for name, value in scope["headers"]:
        if name == b"host" and value.partition(b":")[0].endswith(b"-shadow"):
            return MIRROR
        if name == b"x-model-version" and value == version:
            found = PIN
    return found


def _captured(route: Route, path: str) -> Mapping[str, str]:
    match = route.path.fullmatch(path)
    return {name: value for name, value in match.groupdict().items() if value is not None} if match else {}


def _measured(
    stage: str, times: tuple[float, float, float, float], decision: Decision, rows: Array, prediction: Array
) -> Measured:
    started, read, decided, written = times
    return Measured(
        stage,
        read - started,
        decided - read,
        written - decided,
        decision.bin_counts(prediction),
        decision.out_of_range(rows),
    )


def _predictions(decision: Decision, rows: Array, prediction: Array) -> dict[str, Any]:
    del decision, rows
    return {"predictions": prediction.tolist()}


def _explanations(decision: Decision, rows: Array, prediction: Array) -> dict[str, Any]:
    contributions, intercept = decision.explain(rows)
    return {
        "explanations": [
            {
                "prediction": answer,
                "score": intercept + sum(values),
                "intercept": intercept,
                "contributions": dict(zip(decision.names, values, strict=True)),
            }
            for answer, values in zip(prediction.tolist(), contributions.tolist(), strict=True)
        ]
    }


def _json(document: object, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(document))


def _refusal(error: RequestError) -> Answer:
    answer = _json({"error": str(error)}, next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS))
    if isinstance(error, faults.InjectedFailure):
        answer.headers[faults.HEADER] = "errors"
    if isinstance(error, WrongMethod):
        answer.headers["allow"] = ", ".join(error.allowed)
    return answer


def _check_encoding(request: Request) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType("Content-Encoding", encoding, "the body as it is")


def _check_v1_headers(request: Request) -> cloudevents.Mode:
    _check_encoding(request)
    if request.media_type not in ("", JSON, BINARY, cloudevents.STRUCTURED):
        raise UnsupportedMediaType("Content-Type", request.media_type, JSON)
    mode = cloudevents.mode_of(request.media_type, request.headers)
    if mode is cloudevents.Mode.BINARY:
        cloudevents.check_binary(request.headers)
    return mode


def _check_v2_headers(request: Request) -> int | None:
    """The length of the JSON part, or None when the whole body is JSON."""
    _check_encoding(request)
    if request.media_type not in ("", JSON, BINARY):
        raise UnsupportedMediaType("Content-Type", request.media_type, f"{JSON} or {BINARY}")
    declared = request.headers.get("inference-header-content-length")
    if declared is None:
        if request.media_type == BINARY:
            raise InvalidInput("Header Inference-Header-Content-Length", f"is missing, and {BINARY} needs it")
        return None
    if not re.fullmatch(r"[0-9]{1,12}", declared):
        raise InvalidInput("Header Inference-Header-Content-Length", "is not a length in bytes")
    return int(declared)


def _read_rows(body: bytes, mode: cloudevents.Mode, decision: Decision) -> Array:
    if not body:
        raise InvalidInput("The body", "is empty")
    rows = read_lists(body, decision) if mode is cloudevents.Mode.NONE else None
    if rows is not None:
        return rows
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("The body", "is not JSON") from error
    if mode is cloudevents.Mode.STRUCTURED:
        document = cloudevents.data_of(document)
    return read_instances(document, decision)


def _wrap(document: dict[str, Any], mode: cloudevents.Mode, model: str) -> Answer:
    if mode is cloudevents.Mode.STRUCTURED:
        answer = _json(cloudevents.structured(model, document))
        answer.media_type = cloudevents.STRUCTURED
        return answer
    answer = _json(document)
    if mode is cloudevents.Mode.BINARY:
        answer.headers |= cloudevents.binary_headers(model)
    return answer
