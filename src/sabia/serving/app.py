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
from sabia.serving.http.messages import Answer, Request, refusal
from sabia.serving.inference.decision import Decision
from sabia.serving.predictions import Predictions
from sabia.serving.readiness import Readiness
from sabia.serving.routes import Endpoint, Router
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.observed import Observed
from sabia.serving.telemetry.sink import Log

_NOTHING: Mapping[str, str] = MappingProxyType({})


class App:
    """One version's requests.

    Args:
        log: gets every request and its response, if anything does.

    Attributes:
        observed: records every response to a request for the version.
        predictions: makes responses of rows.
        readiness: whether new traffic should come here.
    """

    def __init__(
        self,
        decision: Decision,
        settings: Settings,
        registry: CollectorRegistry,
        metrics: VersionMetrics,
        log: Log | None = None,
    ) -> None:
        self.decision = decision
        self.metrics = metrics
        self.readiness = Readiness()
        self.observed = Observed(decision, metrics, log)
        self.predictions = Predictions(decision, settings, self.observed, self.readiness)
        self._endpoints = Endpoints(decision, settings, registry, self.observed, self.predictions, self.readiness)
        self._router = Router(decision, settings, self._endpoints)
        self._request_id = requestid.maker()

    def respond(self, request: Request) -> Answer | asyncio.Future[Answer]:
        """The response to one request, now or later."""
        router = self._router
        try:
            route, captured = router.exact.get(request.target) or router.find(request.target)
        except RequestError as error:
            return refusal(error)
        if request.method not in route.methods:
            return self._wrong_method(request, route.methods, recorded=route.recorded)
        if route.recorded:
            return self.recorded(request, route.endpoint, captured)
        try:
            return route.endpoint(request, captured)
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a response
            return refusal(as_request_error(error))

    def recorded(
        self, request: Request, endpoint: Endpoint, captured: Mapping[str, str] = _NOTHING
    ) -> Answer | asyncio.Future[Answer]:
        """The response to a request for the version, which is named, and counted and logged with its response."""
        request.id = self._request_id(request.headers.get(requestid.HEADER))
        try:
            answer = endpoint(request, captured)
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a response
            answer = refusal(as_request_error(error))
        if type(answer) is Answer:
            # Recorded before it is sent: a client that has its response finds it in the metrics.
            self.observed.answered(answer, request)
        return answer

    def close(self) -> None:
        """Predict nothing more, and record what was predicted."""
        self.observed.settle()
        self.predictions.close()
        self._endpoints.close()

    def _wrong_method(self, request: Request, methods: tuple[bytes, ...], *, recorded: bool) -> Answer:
        answer = refusal(WrongMethod(request.method.decode("latin-1"), (name.decode() for name in methods)))
        if recorded:
            request.id = self._request_id(request.headers.get(requestid.HEADER))
            self.observed.answered(answer, request)
        return answer
