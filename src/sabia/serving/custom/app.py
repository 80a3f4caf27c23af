"""Requests for a team's own code: from a request read whole to the response that a process of the model makes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
from prometheus_client import CollectorRegistry

from sabia.contract.names import PIN_HEADER
from sabia.contract.signature import Signature
from sabia.serving.app import Responder
from sabia.serving.custom import frames
from sabia.serving.custom.frames import Observed, Reply
from sabia.serving.custom.observing import BARE, values_of
from sabia.serving.custom.processes import Processes
from sabia.serving.endpoints import ServerEndpoints
from sabia.serving.errors import (
    ClientDeadlineExceeded,
    DeadlineExceeded,
    ModelRefused,
    NotImplementedHere,
    NotReady,
    RequestError,
    UnknownPath,
)
from sabia.serving.http import requestid
from sabia.serving.http.messages import Request, Response, error_response
from sabia.serving.origin import Origin
from sabia.serving.protocols import headers
from sabia.serving.protocols.parsers import Parse
from sabia.serving.readiness import Readiness
from sabia.serving.routes import Router
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.recorder import record_error
from sabia.serving.telemetry.sink import Log

logger = logging.getLogger("sabia.predictor")

# Replies that are counted together.
_FLUSH_AT = 64


@dataclass(slots=True)
class Code:
    """A model that is code.

    Attributes:
        content_digest: of its artifact's files; empty without one.
        signature: that of its class or artifact, or `BARE`.
    """

    name: str
    version: str
    content_digest: str = ""
    signature: Signature = BARE

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that are counted and logged."""
        return tuple(each.name for each in self.signature.inputs)


class Recorder:
    """Records the responses of one model.

    Attributes:
        log: gets every request and its response; None without an inference log.
    """

    def __init__(self, metrics: VersionMetrics, log: Log | None) -> None:
        self.log = log
        self._metrics = metrics
        self._waiting: dict[tuple[str, str], list[Reply]] = {}  # by stage and route
        self._count = 0

    def keeps(self, request: Request) -> bool:
        """Whether the inference log keeps this request."""
        return self.log is not None and self.log.samples(request.id)

    def record(self, response: Response, request: Request) -> None:
        """Record a response that is about to be sent."""
        seconds = perf_counter() - request.started
        if response.error is None and response.measured is not None:
            self._metrics.count_response(response.status, seconds, request.route)
            reply: Reply = response.measured
            stage = "explain" if reply.observed is None else "predict"
            self._waiting.setdefault((stage, request.route), []).append(reply)
            self._count += 1
            if self.log is not None and reply.observed is not None and reply.observed.columns is not None:
                self._log_rows(self.log, request, reply.observed, seconds, request.route)
            if self._count >= _FLUSH_AT:
                self.flush()
        else:
            record_error(response, request, seconds, self._metrics, self.log)

    def flush(self) -> None:
        """Count the replies that wait."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        metrics = self._metrics
        for (stage, route), replies in waiting.items():
            took = np.array([reply.seconds for reply in replies])
            metrics.count_prediction_time(took.sum(axis=1), route)
            for name, durations in zip(("preprocess", stage, "postprocess"), took.T, strict=True):
                metrics.count_stage(name, durations)
            observed = [reply.observed.counts for reply in replies if reply.observed is not None]
            if observed:
                bins, outside, unknown, missing = (np.array(each).sum(axis=0) for each in zip(*observed, strict=True))
                metrics.count_predictions(bins, outside, route)
                metrics.count_inputs(unknown, missing)

    def _log_rows(self, log: Log, request: Request, observed: Observed, seconds: float, route: str) -> None:
        try:
            values = values_of(observed)
        except (TypeError, ValueError):
            logger.exception("a process sent values that the inference log cannot keep")
            return
        observed.columns = None  # held no longer than the response
        log.many(request.id, values, seconds, route)


class CodeEndpoints(ServerEndpoints):
    """The endpoints of one model that is code."""

    def __init__(
        self,
        model: Code,
        settings: Settings,
        registry: CollectorRegistry,
        recorder: Recorder,
        processes: Processes,
        readiness: Readiness,
    ) -> None:
        super().__init__(model.name, settings, registry, recorder, readiness)
        self._model, self._records, self._processes = model, recorder, processes

    def predict_v1(self, request: Request, captured: Mapping[str, str]) -> asyncio.Future[Response]:
        """`POST /v1/models/<m>:predict`."""
        del captured
        return self.call(frames.V1, request)

    def explain_v1(self, request: Request, captured: Mapping[str, str]) -> asyncio.Future[Response]:
        """`POST /v1/models/<m>:explain`."""
        del captured
        return self.call(frames.V1_EXPLAIN, request)

    def infer_v2(self, request: Request, captured: Mapping[str, str]) -> asyncio.Future[Response]:
        """`POST /v2/models/<m>/infer`."""
        del captured
        return self.call(frames.V2, request)

    def model_v2(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v2/models/<m>`."""
        del request, captured
        if not self._readiness.model_ready:
            raise NotReady(self._name)
        return Response(body=msgspec.json.encode(self.metadata()))

    def openapi_v1(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v1/openapi.json`: code has no schema."""
        del request, captured
        raise UnknownPath

    def openapi_v2(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v2/openapi.json`: code has no schema."""
        del request, captured
        raise UnknownPath

    def metadata(self) -> dict[str, Any]:
        """The model's own metadata of its inputs and outputs."""
        started = self._processes.started
        return {
            "name": self._model.name,
            "versions": [self._model.version],
            "platform": "",
            "inputs": msgspec.to_builtins(started.inputs),
            "outputs": msgspec.to_builtins(started.outputs),
        }

    def call(self, kind: int, request: Request) -> asyncio.Future[Response]:
        """Have a process of the model respond."""
        if not self._readiness.model_ready:
            raise NotReady(self._name)
        given = request.headers | {requestid.HEADER: request.id}
        allowed = headers.allowed(request, self._timeout, behind_gateway=self._behind_gateway)
        finish = partial(self._finish, kind, request, deadline_by_client=allowed.by_client)
        deadline = request.started + allowed.seconds
        return self._processes.submit(kind, given, request.body, deadline, finish, keep=self._records.keeps(request))

    def _finish(
        self, kind: int, request: Request, outcome: Reply | RequestError, *, deadline_by_client: bool
    ) -> Response:
        if deadline_by_client and isinstance(outcome, DeadlineExceeded):
            outcome = ClientDeadlineExceeded()
        if isinstance(outcome, RequestError):
            response = error_response(outcome)
        else:
            response = Response(outcome.status, outcome.body, outcome.media_type, outcome.headers)
            response.measured = outcome
            if outcome.reason:
                response.error = _refusal(kind, outcome)
        self._records.record(response, request)
        return response


def _refusal(kind: int, reply: Reply) -> RequestError:
    """Why the model's code gave an error response."""
    if kind == frames.V1_EXPLAIN and reply.status == NotImplementedHere.http_status:
        return NotImplementedHere()
    return ModelRefused(reply.status, reply.reason)


class CodeApp(Responder):
    """The requests of one model that is code.

    Attributes:
        model: what is known of it.
        endpoints: of its paths.
    """

    def __init__(
        self,
        model: Code,
        settings: Settings,
        registry: CollectorRegistry,
        metrics: VersionMetrics,
        processes: Processes,
        log: Log | None = None,
    ) -> None:
        self.model, self._processes = model, processes
        readiness = Readiness()
        recorder = Recorder(metrics, log)
        self.endpoints = CodeEndpoints(model, settings, registry, recorder, processes, readiness)
        router = Router(model.name, model.version, settings, self.endpoints)
        origin = Origin(model.version, behind_gateway=settings.behind_gateway)
        super().__init__(router, metrics, recorder, readiness, origin, {PIN_HEADER: model.version})
        processes.on_end = metrics.count_restart

    @property
    def name(self) -> str:
        """The model and its version."""
        return f"{self.model.name} {self.model.version}"

    @property
    def models(self) -> list[str]:
        """The name of the model."""
        return [self.model.name]

    def infer(self, request: Request, parse: Parse) -> asyncio.Future[Response]:
        """The response to a gRPC request; a process of the model reads it."""
        del parse
        return self.endpoints.call(frames.GRPC, request)

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """The V2 metadata of the model."""
        self.router.check_identity(name, version)
        return self.endpoints.metadata()

    @property
    def waiting(self) -> int:
        """How many requests have no response yet."""
        return self._processes.open

    async def start(self) -> None:
        """Begin to send requests to the processes."""
        await self._processes.attach()
        await super().start()

    def tick(self) -> None:
        """Look after the processes, and count."""
        self._processes.tick()
        self.readiness.model_ready = self._processes.healthy
        super().tick()

    def close(self) -> None:
        """End the processes."""
        self._processes.close()
        self.endpoints.close()
