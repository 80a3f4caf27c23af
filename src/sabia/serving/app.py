"""One version's requests, from a request read whole to its response.

`App.respond` is the sequence: find the path's endpoint (`routes`), name the request, call the endpoint (`endpoints`; a
prediction goes on in `predictions`), record the response (`telemetry`). A connection (`http`) calls it with each
request that it has parsed, and writes what it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from prometheus_client import CollectorRegistry

from sabia.serving.endpoints import Endpoints
from sabia.serving.errors import RequestError, WrongMethod, as_request_error
from sabia.serving.http import requestid
from sabia.serving.http.messages import Request, Response, error_response
from sabia.serving.inference.typed import Served
from sabia.serving.predictions import Predictions
from sabia.serving.readiness import Readiness
from sabia.serving.routes import Endpoint, Router
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.recorder import Recorder
from sabia.serving.telemetry.sink import Log

_NOTHING: Mapping[str, str] = MappingProxyType({})


class App:
    """One version's requests.

    Args:
        log: gets every request and its response; None without an inference log.

    Attributes:
        recorder: records every response to a request for the version.
        predictions: makes responses of rows.
        readiness: whether new traffic should come here.
    """

    def __init__(
        self,
        model: Served,
        settings: Settings,
        registry: CollectorRegistry,
        metrics: VersionMetrics,
        log: Log | None = None,
    ) -> None:
        self.model = model
        self.metrics = metrics
        self.readiness = Readiness()
        self.recorder = Recorder(model, metrics, log)
        self.predictions = Predictions(model, settings, self.recorder, self.readiness)
        self._endpoints = Endpoints(model, settings, registry, self.recorder, self.predictions, self.readiness)
        self._router = Router(model, settings, self._endpoints)
        self._request_id = requestid.maker()

    def respond(self, request: Request) -> Response | asyncio.Future[Response]:
        """The response to one request, now or later."""
        router = self._router
        try:
            route, captured = router.exact.get(request.target) or router.find(request.target)
        except RequestError as error:
            return error_response(error)
        if request.method not in route.methods:
            return self._wrong_method(request, route.methods, recorded=route.recorded)
        if route.recorded:
            return self.recorded(request, route.endpoint, captured)
        try:
            return route.endpoint(request, captured)
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a response
            return error_response(as_request_error(error))

    def recorded(
        self, request: Request, endpoint: Endpoint, captured: Mapping[str, str] = _NOTHING
    ) -> Response | asyncio.Future[Response]:
        """The response to a request for the version, which is named, and counted and logged with its response."""
        request.id = self._request_id(request.headers.get(requestid.HEADER))
        try:
            response = endpoint(request, captured)
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a response
            response = error_response(as_request_error(error))
        if type(response) is Response:
            # Recorded before it is sent: a client that has its response finds it in the metrics.
            self.recorder.record(response, request)
        return response

    def close(self) -> None:
        """Predict nothing more, and record what was predicted."""
        self.recorder.flush()
        self.predictions.close()
        self._endpoints.close()

    def _wrong_method(self, request: Request, methods: tuple[bytes, ...], *, recorded: bool) -> Response:
        response = error_response(WrongMethod(request.method.decode("latin-1"), (name.decode() for name in methods)))
        if recorded:
            request.id = self._request_id(request.headers.get(requestid.HEADER))
            self.recorder.record(response, request)
        return response
