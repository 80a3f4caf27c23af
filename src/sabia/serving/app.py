"""The calls of one version: V1, the Open Inference Protocol (V2), health, metrics, and other platforms' names for them.

A call is read from bytes and answered in bytes by one synchronous function. What takes microseconds is answered at
once, on the event loop; what takes longer goes to a few threads, so that nothing waits behind it. What is not listed in
`_ROUTES` does not exist: KServe's load and unload calls among it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata as packages
from time import perf_counter, thread_time
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec
import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, exposition

from sabia.contract.names import FAULT_HEADER, METRICS_PATH, v1_model, v1_predict, v2_infer, v2_model
from sabia.serving.errors import (
    ModelFailed,
    NotReady,
    RequestError,
    UnknownModel,
    UnknownPath,
    UnknownVerb,
    UnknownVersion,
    WrongMethod,
)
from sabia.serving.http import requestid
from sabia.serving.http.messages import Answer, Request, refusal
from sabia.serving.inference import faults
from sabia.serving.inference.batching import Batcher
from sabia.serving.inference.decision import Decision
from sabia.serving.inference.pool import Pool
from sabia.serving.protocols import headers, openapi, v1, v2
from sabia.serving.protocols.jobs import Job, Row
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.observed import Measured, Observed

if TYPE_CHECKING:
    from sabia.serving.log.log import InferenceLog

Array = NDArray[np.float64]
Later = asyncio.Future[Answer]
Fast = Callable[[Request, Decision], Row | Job | None]
Read = Callable[[Request, Decision], Job]

logger = logging.getLogger("sabia.predictor")

# What a call may cost on the event loop: the longest that health, metrics and other calls wait behind it.
_ON_LOOP_SECONDS = 0.001
# Reading so much JSON takes about as long.
_ON_LOOP_BYTES = 64 * 1024
# One slow call may be the machine's doing; so many are the model's.
_SLOW_IN_A_ROW = 3
_TIMEOUTS = (b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms")


class App:
    """One version's calls.

    Args:
        log: gets what is asked and answered, if anything does.

    Attributes:
        observed: is told of every call that is answered.
        model_ready: False when the model must not be asked.
        draining: True after SIGTERM: readiness says no, requests are still answered, connections are asked to close.
    """

    def __init__(
        self,
        decision: Decision,
        settings: Settings,
        registry: CollectorRegistry,
        metrics: VersionMetrics,
        log: InferenceLog | None = None,
    ) -> None:
        self.decision = decision
        self.metrics = metrics
        self.observed = Observed(decision, metrics, log)
        self.draining = False
        self.model_ready = True
        self._registry = registry
        self._timeout = settings.request_timeout_seconds
        self._pool: Pool[Answer] = Pool(settings.threads, settings.queue)
        self._teller: Pool[Answer] = Pool(threads=1, queue=16)
        self._faults = faults.parse(settings.faults)
        # A short form is faster for one row than a batch is for each of many.
        self._batches = settings.batch_rows > 1 and not decision.is_short
        self._batcher = Batcher(self._decide_together, settings.batch_rows if self._batches else 0)
        self._slow = 0
        self._request_id = requestid.maker()
        self._exact: dict[bytes, tuple[Route, Mapping[str, str]]] = {}
        self._learn_paths(settings)

    @property
    def ready(self) -> bool:
        """Whether new traffic should come here."""
        return self.model_ready and not self.draining

    @property
    def waiting(self) -> int:
        """How many calls wait for a thread, or are decided in one."""
        return self._pool.open

    def respond(self, request: Request) -> Answer | Later:
        """Answer one call now, or later."""
        try:
            route, captured = self._exact.get(request.target) or self._find(request.target)
        except RequestError as error:
            return refusal(error)
        if request.method not in route.methods:
            wrong = WrongMethod(request.method.decode("latin-1"), (name.decode() for name in route.methods))
            answer = refusal(wrong)
            if route.counted:
                self._identify(request)
                self.observed.answered(answer, request)
            return answer
        if not route.counted:
            try:
                return route.call(self, request, captured)
            except Exception as error:  # noqa: BLE001  whatever it is, the client gets an answer
                return _answer_to(error)
        return self.answer(request, partial(route.call, self, request, captured))

    def answer(self, request: Request, call: Callable[[], Answer | Later]) -> Answer | Later:
        """Make a call that is one of the version's requests, and count it."""
        self._identify(request)
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets an answer
            answer = _answer_to(error)
        if type(answer) is Answer:
            # Counted before it is sent: whoever has the answer finds it in the metrics.
            self.observed.answered(answer, request)
        return answer

    def close(self) -> None:
        """Decide nothing more, and tell of what was decided."""
        self.observed.settle()
        self._pool.close()
        self._teller.close()

    # -- finding a call ----------------------------------------------------------------------------------------------

    def _learn_paths(self, settings: Settings) -> None:
        """The few paths that carry the load are found without looking at them."""
        name, version = self.decision.name, self.decision.version
        for path in (v1_predict(name), v2_infer(name), v1_model(name), METRICS_PATH, "/"):
            self._exact[path.encode()] = self._find(path.encode())
        self._exact[f"{v2_model(name)}/versions/{version}/infer".encode()] = self._exact[v2_infer(name).encode()]
        if settings.predict_route is not None:
            self._exact[settings.predict_route.encode()] = self._exact[v1_predict(name).encode()]
        if settings.health_route is not None:
            self._exact[settings.health_route.encode()] = self._exact[v1_model(name).encode()]

    def _find(self, target: bytes) -> tuple[Route, Mapping[str, str]]:
        path = unquote(target.partition(b"?")[0].decode("latin-1"))
        for route in _ROUTES:
            match = route.path.fullmatch(path)
            if match is not None:
                captured = {name: value for name, value in match.groupdict().items() if value is not None}
                self._check_identity(captured)
                return route, captured
        raise UnknownPath

    def _check_identity(self, captured: Mapping[str, str]) -> None:
        name = captured.get("model", self.decision.name)
        if name != self.decision.name:
            raise UnknownModel(name)
        version = captured.get("version", self.decision.version)
        if version != self.decision.version:
            raise UnknownVersion(version, self.decision.version)

    # -- deciding ----------------------------------------------------------------------------------------------------

    def predict_v1(self, request: Request, captured: Mapping[str, str]) -> Answer | Later:
        """`POST /v1/models/<m>:predict`."""
        del captured
        return self.decide("predict", request, v1.fast, v1.read_predict)

    def explain_v1(self, request: Request, captured: Mapping[str, str]) -> Answer | Later:
        """`POST /v1/models/<m>:explain`."""
        del captured
        return self.decide("explain", request, None, v1.read_explain)

    def infer_v2(self, request: Request, captured: Mapping[str, str]) -> Answer | Later:
        """`POST /v2/models/<m>/infer`."""
        del captured
        return self.decide("predict", request, v2.fast, v2.read)

    def decide(
        self,
        stage: str,
        request: Request,
        fast: Fast | None,
        read: Read,
    ) -> Answer | Later:
        """Read, decide and write one call: on the event loop when that takes no time, else in a thread.

        Args:
            stage: under which of KServe's names it is counted.
            request: the call.
            fast: reads what nearly every client sends, or gives None.
            read: reads anything, or says what is wrong with it.

        Raises:
            RequestError: it cannot be answered.
        """
        if not self.model_ready:
            raise NotReady(self.decision.name)
        decision = self.decision
        started = perf_counter()
        if self._faults is not None or headers.json_bytes(request) > _ON_LOOP_BYTES:
            return self._later(request, partial(self._work, stage, request, fast, read))
        found = (fast(request, decision) if fast is not None else None) or read(request, decision)
        if isinstance(found, Row) and decision.expected_seconds(1) < _ON_LOOP_SECONDS:
            return self._decide_one(request, found, started)
        job = found.job() if isinstance(found, Row) else found
        if decision.expected_seconds(len(job.rows)) < _ON_LOOP_SECONDS:
            return self._finish(stage, job, started)
        return self._later(request, partial(self._finish, stage, job, started, perf_counter() - started))

    def _decide_one(self, request: Request, row: Row, started: float) -> Answer | Later:
        """The way of nearly every call: one row of numbers, no arrays."""
        if self._batcher.wanted(started):
            return self._batcher.add((request, row, perf_counter() - started))
        read = perf_counter()
        prediction = self.decision.predict_one(row.values)
        decided = perf_counter()
        if decided - read > _ON_LOOP_SECONDS:
            self._slow += 1
            if self._slow >= _SLOW_IN_A_ROW:
                self.decision.took(1, decided - read)
        elif self._slow:
            self._slow = 0
        answer = self._write_one(row, prediction, read - started, decided - read)
        if self._batches:
            self._batcher.ended(perf_counter())
        return answer

    def _write_one(self, row: Row, prediction: float, read: float, decide: float) -> Answer:
        """Write the answer to one row; `read` and `decide` are what those steps took, in seconds."""
        began = perf_counter()
        answer = Answer(200, row.write(prediction))
        answer.measured = Measured("predict", read, decide, perf_counter() - began, prediction, row.values)
        return answer

    def _decide_together(self, calls: list[tuple[Request, Row, float]]) -> list[Answer]:
        """The answers to some single rows, counted; one that fails does not take its neighbours with it."""
        began = perf_counter()
        try:
            found = self.decision.predict(np.array([row.values for _, row, _ in calls])).tolist()
        except RequestError:
            return [self._decide_alone(*call) for call in calls]
        share = (perf_counter() - began) / len(calls)
        answers = []
        for (request, row, read), prediction in zip(calls, found, strict=True):
            answers.append(self._write_one(row, prediction, read, share))
            self.observed.answered(answers[-1], request)
        return answers

    def _decide_alone(self, request: Request, row: Row, read: float) -> Answer:
        began = perf_counter()
        try:
            prediction = self.decision.predict_one(row.values)
        except RequestError as error:
            answer = refusal(error)
        else:
            answer = self._write_one(row, prediction, read, perf_counter() - began)
        self.observed.answered(answer, request)
        return answer

    def _work(self, stage: str, request: Request, fast: Fast | None, read: Read) -> Answer:
        started = perf_counter()
        found = (fast(request, self.decision) if fast is not None else None) or read(request, self.decision)
        return self._finish(stage, found.job() if isinstance(found, Row) else found, started)

    def _finish(self, stage: str, job: Job, started: float, read_took: float | None = None) -> Answer:
        """Decide and write; `read_took` when the reading was done before, elsewhere."""
        began, used = perf_counter(), thread_time()
        fault: str | None = None
        if self._faults is None:
            prediction = self.decision.predict(job.rows)
        else:
            prediction, fault = self._faults(self.decision.predict, job.rows)
        decided = perf_counter()
        # Of this thread alone: on a busy machine the clock tells of others.
        self.decision.took(len(job.rows), thread_time() - used)
        answer = job.write(prediction)
        written = perf_counter()
        if fault is not None:
            answer.headers[FAULT_HEADER] = fault
        read = began - started if read_took is None else read_took
        answer.measured = Measured(stage, read, decided - began, written - decided, prediction, job.rows)
        return answer

    def _later(self, request: Request, work: Callable[[], Answer]) -> Later:
        def finish(outcome: Answer | BaseException) -> Answer:
            answer = _told(outcome)
            self.observed.answered(answer, request)
            return answer

        return self._pool.submit(work, request.started + self._seconds_allowed(request), finish)

    def _seconds_allowed(self, request: Request) -> float:
        allowed = self._timeout
        for name in _TIMEOUTS:
            text = request.headers.get(name, b"")
            if re.fullmatch(rb"[0-9]{1,9}", text) and int(text):
                allowed = min(allowed, int(text) / 1000)
        return allowed

    def _identify(self, request: Request) -> None:
        request.id = self._request_id(request.headers.get(requestid.HEADER))

    # -- telling -----------------------------------------------------------------------------------------------------

    def model_v1(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v1/models/<m>`, and every other path that asks whether it is ready."""
        del request, captured
        return _json({"name": self.decision.name, "ready": self.ready}, status=self._readiness_status)

    def models_v1(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v1/models`, and `/v2/models`."""
        del request, captured
        return _json({"models": [self.decision.name]})

    def server_v2(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v2`."""
        del request, captured
        return _json(server_metadata())

    def live_v2(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v2/health/live`."""
        del request, captured
        return _json({"live": True})

    def ready_v2(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v2/health/ready`: every model is ready."""
        del request, captured
        return _json({"ready": self.ready}, status=self._readiness_status)

    def model_v2(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v2/models/<m>`."""
        del request, captured
        if not self.model_ready:
            raise NotReady(self.decision.name)
        return _json(v2.metadata(self.decision))

    def openapi_v1(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v1/openapi.json`."""
        del request, captured
        return _json(openapi.v1(self.decision))

    def openapi_v2(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /v2/openapi.json`."""
        del request, captured
        return _json(openapi.v2(self.decision))

    def unknown_verb(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """Any `/v1/models/<m>:<verb>` but the two above."""
        del request
        raise UnknownVerb(captured["verb"])

    def alive(self, request: Request, captured: Mapping[str, str]) -> Answer:
        """`GET /`."""
        del request, captured
        return _json({"status": "alive"})

    def tell_metrics(self, request: Request, captured: Mapping[str, str]) -> Answer | Later:
        """`GET /metrics`."""
        del captured
        encode, media_type = exposition.choose_encoder(request.header(b"accept"))
        self.observed.settle()

        def tell() -> Answer:
            return Answer(body=encode(self._registry), media_type=media_type)

        # A page is some milliseconds of work, and must not wait for slow decisions either.
        return self._teller.submit(tell, perf_counter() + self._timeout, _told)

    @property
    def _readiness_status(self) -> int:
        return 200 if self.ready else NotReady.http_status


@dataclass(frozen=True, slots=True)
class Route:
    """A path, the methods it takes, and the call behind it. `counted` calls are the version's requests."""

    path: re.Pattern[str]
    methods: tuple[bytes, ...]
    call: Callable[[App, Request, Mapping[str, str]], Answer | Later]
    counted: bool = False


_M = r"(?P<model>[^/:]+)"
_V = rf"{_M}(?:/versions/(?P<version>[^/]+))?"
_GET = (b"GET", b"HEAD")
_POST = (b"POST",)
_ANY = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
_ROUTES = tuple(
    Route(re.compile(path), methods, call, counted=methods == _POST)
    for path, methods, call in (
        (rf"/v1/models/{_M}:predict", _POST, App.predict_v1),
        (rf"/v2/models/{_V}/infer", _POST, App.infer_v2),
        (rf"/v1/models/{_M}:explain", _POST, App.explain_v1),
        (r"/invocations", _POST, App.predict_v1),
        (r"/ping", _GET, App.model_v1),
        (r"/v1/models/?", _GET, App.models_v1),
        (rf"/v1/models/{_M}", _GET, App.model_v1),
        (rf"/v1/models/{_M}:(?P<verb>[^/]*)", _ANY, App.unknown_verb),
        (r"/v1/openapi\.json", _GET, App.openapi_v1),
        (r"/v2/?", _GET, App.server_v2),
        (r"/v2/health/live", _GET, App.live_v2),
        (r"/v2/health/ready", _GET, App.ready_v2),
        (r"/v2/models/?", _GET, App.models_v1),
        (rf"/v2/models/{_V}/ready", _GET, App.model_v1),
        (rf"/v2/models/{_V}", _GET, App.model_v2),
        (r"/v2/openapi\.json", _GET, App.openapi_v2),
        (r"/", _GET, App.alive),
        (METRICS_PATH, _GET, App.tell_metrics),
    )
)


def routes() -> list[str]:
    """The paths that are answered, as documentation writes them."""
    plain = (route.path.pattern.replace(_V, "<m>").replace(_M, "<m>").removesuffix("/?") for route in _ROUTES)
    return [path.replace("\\.", ".") or "/" for path in plain if "(?P" not in path]


def server_metadata() -> dict[str, str | list[str]]:
    """What this server is."""
    return {"name": "sabia", "version": packages.version("sabia"), "extensions": ["binary_tensor_data"]}


def _json(document: object, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(document))


def _told(outcome: Answer | BaseException) -> Answer:
    return _answer_to(outcome) if isinstance(outcome, BaseException) else outcome


def _answer_to(error: BaseException) -> Answer:
    if isinstance(error, RequestError):
        return refusal(error)
    logger.error("a call failed", exc_info=error)
    return refusal(ModelFailed())
