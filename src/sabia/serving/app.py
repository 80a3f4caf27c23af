"""One version's requests, from a request read whole to its response.

`App.respond` is the sequence: find the path's endpoint (`routes`), name the request, call the endpoint (`endpoints`; a
prediction goes on in `predictions`), record the response (`telemetry`). A connection (`http`) calls it with each
request that it has parsed, and writes what it returns.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry

from sabia.contract.names import PIN, PIN_HEADER
from sabia.serving.endpoints import Endpoints
from sabia.serving.errors import RequestError, WrongMethod, as_request_error
from sabia.serving.http import requestid
from sabia.serving.http.messages import Request, Response, error_response
from sabia.serving.inference.typed import Served
from sabia.serving.origin import Origin
from sabia.serving.predictions import Predictions
from sabia.serving.protocols.parsers import Parse, parsers_of
from sabia.serving.readiness import Readiness
from sabia.serving.routes import Endpoint, Router
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.recorder import Recorder
from sabia.serving.telemetry.sink import Log, Records

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Responder(ABC):
    """Responds to requests: finds the endpoint, and records the response.

    Attributes:
        metrics: of the version.
        recorder: records every response to a request for the version.
        readiness: whether new traffic should come here.
        origin: finds out how requests for the version came.
        headers: of every response.
    """

    def __init__(
        self,
        router: Router,
        metrics: VersionMetrics,
        recorder: Records,
        readiness: Readiness,
        origin: Origin,
        headers: dict[str, str],
    ) -> None:
        self.router, self.metrics, self.recorder, self.readiness = router, metrics, recorder, readiness
        self.origin, self.headers = origin, headers
        self._request_id = requestid.maker()

    @property
    @abstractmethod
    def name(self) -> str:
        """What is served, for the log of this process."""

    async def start(self) -> None:
        """Begin; called on the loop before the first connection."""
        if self.recorder.log is not None:
            self.recorder.log.start()

    def respond(self, request: Request) -> Response | asyncio.Future[Response]:
        """The response to one request, now or later."""
        router = self.router
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
            self.origin.assign(request)
            if "version" in captured:
                request.route = PIN
            response = endpoint(request, captured)
        except Exception as error:  # noqa: BLE001  whatever it is, the client gets a response
            response = error_response(as_request_error(error))
        if type(response) is Response:
            # Recorded before it is sent: a client that has its response finds it in the metrics.
            self.recorder.record(response, request)
        return response

    def tick(self) -> None:
        """Do what is due about twice a second."""
        self.metrics.heartbeat(self.waiting)
        self.recorder.flush()
        if self.recorder.log is not None:
            self.recorder.log.tick()

    @property
    @abstractmethod
    def models(self) -> list[str]:
        """The names of the models."""

    @abstractmethod
    def infer(self, request: Request, parse: Parse) -> Response | asyncio.Future[Response]:
        """The response to a request of another protocol, which `parse` reads; not recorded when it comes at once."""

    @abstractmethod
    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """The V2 metadata of a model; an empty version is any.

        Raises:
            UnknownModel, UnknownVersion, NotReady: there is none.
        """

    @property
    @abstractmethod
    def waiting(self) -> int:
        """How many requests have no response yet."""

    @abstractmethod
    def close(self) -> None:
        """Predict nothing more, and record what was predicted."""

    def write_log(self, seconds: float) -> None:
        """Write what is left of the inference log, within this time. Blocks."""
        if self.recorder.log is not None:
            self.recorder.log.close(seconds)

    def _wrong_method(
        self, request: Request, methods: tuple[bytes, ...], *, recorded: bool
    ) -> Response | asyncio.Future[Response]:
        error = WrongMethod(request.method.decode("latin-1"), (name.decode() for name in methods))

        def refuse(request: Request, captured: Mapping[str, str]) -> Response:
            del request, captured
            return error_response(error)

        return self.recorded(request, refuse) if recorded else error_response(error)


class App(Responder):
    """One version's requests.

    Args:
        log: gets every request and its response; None without an inference log.

    Attributes:
        model: the version.
        predictions: makes responses of rows.
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
        readiness = Readiness()
        recorder = Recorder(model, metrics, log)
        self.predictions = Predictions(model, settings, recorder, readiness)
        self._endpoints = Endpoints(model, settings, registry, recorder, self.predictions, readiness)
        router = Router(model.name, model.version, settings, self._endpoints)
        origin = Origin(model.version, behind_gateway=settings.behind_gateway)
        super().__init__(router, metrics, recorder, readiness, origin, {PIN_HEADER: model.version})

    @property
    def name(self) -> str:
        """The model and its version."""
        return f"{self.model.name} {self.model.version}"

    @property
    def models(self) -> list[str]:
        """The name of the model."""
        return [self.model.name]

    def infer(self, request: Request, parse: Parse) -> Response | asyncio.Future[Response]:
        """The response to a request of another protocol."""
        return self.predictions.respond("predict", request, None, parse)

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """The V2 metadata of the version."""
        self.router.check_identity(name, version)
        return parsers_of(self.model).metadata(self.model)

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread, or are predicted in one."""
        return self.predictions.waiting

    def close(self) -> None:
        """Predict nothing more, and record what was predicted."""
        self.recorder.flush()
        self.predictions.close()
        self._endpoints.close()
