"""What each path does, one method each: predictions go on in `predictions`, the rest is answered here."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter

import msgspec
from prometheus_client import CollectorRegistry, exposition

from sabia.serving.errors import NotReady, UnknownVerb, as_request_error
from sabia.serving.http.messages import Request, Response, error_response
from sabia.serving.inference.pool import Pool
from sabia.serving.inference.typed import Served
from sabia.serving.predictions import Predictions
from sabia.serving.protocols import openapi, v2
from sabia.serving.protocols.parsers import parsers_of
from sabia.serving.readiness import Readiness
from sabia.serving.settings import Settings
from sabia.serving.telemetry.sink import Records


class ServerEndpoints:
    """The endpoints of any model's server; each takes a request, and what its path captured."""

    def __init__(
        self, name: str, settings: Settings, registry: CollectorRegistry, recorder: Records, readiness: Readiness
    ) -> None:
        self._name = name
        self._registry, self._recorder, self._readiness = registry, recorder, readiness
        self._timeout, self._behind_gateway = settings.request_timeout_seconds, settings.behind_gateway
        # A page of metrics is some milliseconds of work, and must not wait for slow predictions either.
        self._metrics_pool: Pool[Response] = Pool(threads=1, queue=16)

    def close(self) -> None:
        """Make no more pages of metrics."""
        self._metrics_pool.close()

    def model_v1(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v1/models/<m>`, and every other path that asks whether it is ready."""
        del request, captured
        return _json({"name": self._name, "ready": self._readiness.ready}, status=self._readiness_status)

    def models_v1(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v1/models`, and `/v2/models`."""
        del request, captured
        return _json({"models": [self._name]})

    def server_v2(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v2`."""
        del request, captured
        return _json(v2.server_metadata())

    def live_v2(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v2/health/live`."""
        del request, captured
        return _json({"live": True})

    def ready_v2(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v2/health/ready`: every model is ready."""
        del request, captured
        return _json({"ready": self._readiness.ready}, status=self._readiness_status)

    def unknown_verb(self, request: Request, captured: Mapping[str, str]) -> Response:
        """Any `/v1/models/<m>:<verb>` but the two above."""
        del request
        raise UnknownVerb(captured["verb"])

    def alive(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /`."""
        del request, captured
        return _json({"status": "alive"})

    def metrics(self, request: Request, captured: Mapping[str, str]) -> asyncio.Future[Response]:
        """`GET /metrics`."""
        del captured
        encode, media_type = exposition.choose_encoder(request.header(b"accept"))
        self._recorder.flush()

        def page() -> Response:
            return Response(body=encode(self._registry), media_type=media_type)

        return self._metrics_pool.submit(page, perf_counter() + self._timeout, _outcome)

    @property
    def _readiness_status(self) -> int:
        return 200 if self._readiness.ready else NotReady.http_status


class Endpoints(ServerEndpoints):
    """The endpoints of one version."""

    def __init__(
        self,
        model: Served,
        settings: Settings,
        registry: CollectorRegistry,
        recorder: Records,
        predictions: Predictions,
        readiness: Readiness,
    ) -> None:
        super().__init__(model.name, settings, registry, recorder, readiness)
        self._model, self._predictions = model, predictions
        self._parsers = parsers_of(model)

    def predict_v1(self, request: Request, captured: Mapping[str, str]) -> Response | asyncio.Future[Response]:
        """`POST /v1/models/<m>:predict`."""
        del captured
        return self._predictions.respond("predict", request, self._parsers.predict_plain, self._parsers.predict)

    def explain_v1(self, request: Request, captured: Mapping[str, str]) -> Response | asyncio.Future[Response]:
        """`POST /v1/models/<m>:explain`."""
        del captured
        return self._predictions.respond("explain", request, None, self._parsers.explain)

    def infer_v2(self, request: Request, captured: Mapping[str, str]) -> Response | asyncio.Future[Response]:
        """`POST /v2/models/<m>/infer`."""
        del captured
        return self._predictions.respond("predict", request, self._parsers.infer_plain, self._parsers.infer)

    def model_v2(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v2/models/<m>`."""
        del request, captured
        if not self._readiness.model_ready:
            raise NotReady(self._model.name)
        return _json(self._parsers.metadata(self._model))

    def openapi_v1(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v1/openapi.json`."""
        del request, captured
        return _json(openapi.v1(self._model))

    def openapi_v2(self, request: Request, captured: Mapping[str, str]) -> Response:
        """`GET /v2/openapi.json`."""
        del request, captured
        return _json(openapi.v2(self._model))


def _outcome(outcome: Response | BaseException) -> Response:
    return error_response(as_request_error(outcome)) if isinstance(outcome, BaseException) else outcome


def _json(document: object, status: int = 200) -> Response:
    return Response(status=status, body=msgspec.json.encode(document))
