"""The table of paths, and the endpoint behind each.

A path that is not in it does not exist: KServe's load and unload requests among them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from sabia.contract.names import METRICS_PATH, v1_model, v1_predict, v2_infer, v2_model
from sabia.serving.endpoints import Endpoints, ServerEndpoints
from sabia.serving.errors import UnknownModel, UnknownPath, UnknownVersion
from sabia.serving.http.messages import Request, Response
from sabia.serving.settings import Settings

Endpoint = Callable[[Request, Mapping[str, str]], "Response | asyncio.Future[Response]"]

# What a client of a proxy writes before the path, and every server must take (RFC 9112, 3.2.2).
_ABSOLUTE = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)
_M = r"(?P<model>[^/:]+)"
_V = rf"{_M}(?:/versions/(?P<version>[^/]+))?"
_GET = (b"GET", b"HEAD")
_POST = (b"POST",)
_ANY = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
_PATHS = (
    (rf"/v1/models/{_M}:predict", _POST, Endpoints.predict_v1),
    (rf"/v2/models/{_V}/infer", _POST, Endpoints.infer_v2),
    (rf"/v1/models/{_M}:explain", _POST, Endpoints.explain_v1),
    (r"/invocations", _POST, Endpoints.predict_v1),
    (r"/ping", _GET, Endpoints.model_v1),
    (r"/v1/models/?", _GET, Endpoints.models_v1),
    (rf"/v1/models/{_M}", _GET, Endpoints.model_v1),
    (rf"/v1/models/{_M}:(?P<verb>[^/]*)", _ANY, Endpoints.unknown_verb),
    (r"/v1/openapi\.json", _GET, Endpoints.openapi_v1),
    (r"/v2/?", _GET, Endpoints.server_v2),
    (r"/v2/health/live", _GET, Endpoints.live_v2),
    (r"/v2/health/ready", _GET, Endpoints.ready_v2),
    (r"/v2/models/?", _GET, Endpoints.models_v1),
    (rf"/v2/models/{_V}/ready", _GET, Endpoints.model_v1),
    (rf"/v2/models/{_V}", _GET, Endpoints.model_v2),
    (r"/v2/openapi\.json", _GET, Endpoints.openapi_v2),
    (r"/", _GET, Endpoints.alive),
    (METRICS_PATH, _GET, Endpoints.metrics),
)


@dataclass(frozen=True, slots=True)
class Route:
    """A path, the methods that it takes, and its endpoint. `recorded` ones are requests for the version."""

    path: re.Pattern[str]
    methods: tuple[bytes, ...]
    endpoint: Endpoint
    recorded: bool


class Router:
    """The routes of one version.

    Attributes:
        exact: the few targets that carry the load, found without matching, each with what its path captured.
    """

    def __init__(self, name: str, version: str, settings: Settings, endpoints: ServerEndpoints) -> None:
        self._name, self._version = name, version
        self._routes = [
            Route(re.compile(path), methods, getattr(endpoints, endpoint.__name__), recorded=methods == _POST)
            for path, methods, endpoint in _PATHS
        ]
        predict, infer, ready = v1_predict(self._name), v2_infer(self._name), v1_model(self._name)
        same = {path: path for path in (predict, infer, ready, METRICS_PATH, "/")}
        versioned = f"{v2_model(self._name)}/versions/{self._version}/infer"
        same[versioned] = versioned
        if settings.predict_route is not None:
            same[settings.predict_route] = predict
        if settings.health_route is not None:
            same[settings.health_route] = ready
        self.exact = {path.encode(): self.find(listed.encode()) for path, listed in same.items()}

    def find(self, target: bytes) -> tuple[Route, Mapping[str, str]]:
        """The route of a target, and what its path captured.

        Raises:
            UnknownPath, UnknownModel, UnknownVersion: there is none.
        """
        path = unquote(_ABSOLUTE.sub(b"", target, count=1).partition(b"?")[0].decode("latin-1")) or "/"
        for route in self._routes:
            match = route.path.fullmatch(path)
            if match is not None:
                captured = {name: value for name, value in match.groupdict().items() if value is not None}
                self.check_identity(captured.get("model", self._name), captured.get("version", ""))
                return route, captured
        raise UnknownPath

    def check_identity(self, name: str, version: str) -> None:
        """Refuse a request for what is not served here; an empty version is any.

        Raises:
            UnknownModel, UnknownVersion: it is another.
        """
        if name != self._name:
            raise UnknownModel(name)
        if version not in ("", self._version):
            raise UnknownVersion(version, self._version)


def documented() -> list[str]:
    """The paths as documentation writes them."""
    plain = (path.replace(_V, "<m>").replace(_M, "<m>").removesuffix("/?") for path, _, _ in _PATHS)
    return [path.replace("\\.", ".") or "/" for path in plain if "(?P" not in path]
