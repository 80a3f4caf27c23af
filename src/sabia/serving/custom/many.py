"""Several models on one port, each with processes, metrics and a log of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

import msgspec
from google.protobuf.message import DecodeError
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from sabia.contract.names import PIN_HEADER
from sabia.serving.app import Responder
from sabia.serving.custom.app import CodeApp
from sabia.serving.errors import InvalidInput, RequestError, UnknownModel
from sabia.serving.http.messages import Request, Response, error_response
from sabia.serving.protocols.parsers import Parse
from sabia.serving.readiness import Readiness
from sabia.serving.routes import Endpoint

_MODEL = re.compile(r"/v[12]/models/([^/:?]+)")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class ManyModels(Responder):
    """The requests of several models, by the name in the path.

    A path that names no model is the first one's, but for those that list the models or ask whether all are ready.
    """

    def __init__(self, apps: Sequence[CodeApp]) -> None:
        first = apps[0]
        super().__init__(first.router, first.metrics, first.recorder, Readiness(), first.origin, {})
        self._first = first
        self._apps = {app.model.name: app for app in apps}

    @property
    def name(self) -> str:
        """The models and their versions."""
        return ", ".join(app.name for app in self._apps.values())

    @property
    def models(self) -> list[str]:
        """The names of the models."""
        return list(self._apps)

    @property
    def waiting(self) -> int:
        """How many requests have no response yet."""
        return sum(app.waiting for app in self._apps.values())

    async def start(self) -> None:
        """Begin to send requests to the processes."""
        for app in self._apps.values():
            await app.start()

    def respond(self, request: Request) -> Response | asyncio.Future[Response]:
        """The response to one request, now or later, with the version of the model that made it."""
        path = unquote(request.target.partition(b"?")[0].decode("latin-1"))
        match = _MODEL.match(path)
        if match is None:
            return self._listed(path) or self._first.respond(request)
        app = self._apps.get(match[1])
        if app is None:
            return error_response(UnknownModel(match[1]))
        return _with_version(app.respond(request), app)

    def recorded(
        self, request: Request, endpoint: Endpoint, captured: Mapping[str, str] = _NOTHING
    ) -> Response | asyncio.Future[Response]:
        """The response to a gRPC request, recorded where the model that it names is."""
        try:
            app = self._app_of(request)
        except RequestError as error:
            return error_response(error)
        return _with_version(app.recorded(request, endpoint, captured), app)

    def infer(self, request: Request, parse: Parse) -> asyncio.Future[Response]:
        """The response to a gRPC request."""
        return self._app_of(request).infer(request, parse)

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """The V2 metadata of a model."""
        app = self._apps.get(name)
        if app is None:
            raise UnknownModel(name)
        return app.metadata(name, version)

    def tick(self) -> None:
        """Look after the processes of every model."""
        for app in self._apps.values():
            app.readiness.draining = self.readiness.draining
            app.tick()
        self.readiness.model_ready = all(app.readiness.model_ready for app in self._apps.values())

    def close(self) -> None:
        """End all processes."""
        for app in self._apps.values():
            app.close()

    def write_log(self, seconds: float) -> None:
        """Write what is left of every log, within this time. Blocks."""
        for app in self._apps.values():
            app.write_log(seconds / len(self._apps))

    def _listed(self, path: str) -> Response | None:
        if path.rstrip("/") in ("/v1/models", "/v2/models"):
            return Response(body=msgspec.json.encode({"models": self.models}))
        if path == "/v2/health/ready":
            ready = self.readiness.ready
            return Response(status=200 if ready else 503, body=msgspec.json.encode({"ready": ready}))
        return None

    def _app_of(self, request: Request) -> CodeApp:
        from sabia.serving.protocols import messages  # noqa: PLC0415  a tenth of a second that HTTP need not wait

        try:
            name = messages.ModelInferRequest.FromString(request.body).model_name
        except DecodeError as error:
            raise InvalidInput("The message", "is not a ModelInferRequest") from error
        app = self._apps.get(name)
        if app is None:
            raise UnknownModel(name)
        return app


class Merged(Collector):
    """The metrics of several models, each family once."""

    def __init__(self, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors

    def collect(self) -> Iterator[Metric]:
        """The families, with the samples of every model."""
        families: dict[str, Metric] = {}
        for collector in self._collectors:
            for family in collector.collect():
                if family.name in families:
                    families[family.name].samples.extend(family.samples)
                else:
                    families[family.name] = family
        yield from families.values()


def _with_version(response: Response | asyncio.Future[Response], app: CodeApp) -> Response | asyncio.Future[Response]:
    """A response with the version of its model."""

    def name_version(made: Response) -> None:
        made.headers = made.headers | {PIN_HEADER: app.model.version}

    if isinstance(response, Response):
        name_version(response)
    else:
        response.add_done_callback(lambda done: None if done.cancelled() else name_version(done.result()))
    return response
