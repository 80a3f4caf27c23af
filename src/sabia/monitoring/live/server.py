"""The live page's server: a page for each model, its state as JSON and as server-sent events, and allowed actions.

The page of a model is under `/models/<name>/`. At `/` is the page of the only model, or a list of several.

It listens on loopback by default and answers only requests for configured host names, so that another site's page
cannot reach it under a name of its own. Actions are off by default. They need a token in a header, which a page of
another site neither knows nor may send without a preflight request.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from importlib import resources
from typing import cast, get_args

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from sabia.errors import SabiaError
from sabia.monitoring.errors import NoLivePage
from sabia.monitoring.live.ports import Act, Ports
from sabia.monitoring.live.snapshot import Snapshot
from sabia.monitoring.live.watcher import Watcher
from sabia.monitoring.page import environment, style
from sabia.rollout.errors import RolloutEnded, RolloutNotFound
from sabia.rollout.events import Action
from sabia.store.objects import Store

# Addresses to listen on that are not host names.
_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104  compared with, not listened on
_FILES = {"live.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_SNAPSHOT_SECONDS = 1.0
_HEARTBEAT_SECONDS = 10.0
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Feed:
    """Snapshots for all connected browsers: at most one in `seconds`, and none while no browser is connected."""

    def __init__(self, watcher: Watcher, seconds: float = _SNAPSHOT_SECONDS) -> None:
        self._watcher, self._seconds = watcher, seconds
        self._lock = asyncio.Lock()
        self._last: Snapshot | None = None
        self._expires = 0.0

    async def snapshot(self) -> Snapshot:
        """A snapshot that is at most `seconds` old."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            if self._last is None or loop.time() >= self._expires:
                self._last = await asyncio.to_thread(self._watcher.snapshot)
                self._expires = loop.time() + self._seconds
            return self._last

    async def events(self) -> AsyncIterator[bytes]:
        """Snapshots as server-sent events: each one that differs from the last sent, and a heartbeat."""
        yield b"retry: 1000\n\n"
        sent, quiet = b"", 0.0
        while True:
            snapshot = await self.snapshot()
            # A snapshot that differs in its time alone is the same.
            state = msgspec.json.encode(msgspec.structs.replace(snapshot, at=""))
            if state != sent or quiet >= _HEARTBEAT_SECONDS:
                yield b"event: state\ndata: " + msgspec.json.encode(snapshot) + b"\n\n"
                sent, quiet = state, 0.0
            await asyncio.sleep(self._seconds)
            quiet += self._seconds


class LivePage:
    """The live page's handlers.

    Args:
        watcher: takes the snapshots.
        act: carries out an action; None if actions are not allowed.
        token: the bearer token that an action needs.
    """

    def __init__(self, watcher: Watcher, act: Act | None, token: str | None) -> None:
        self._act, self._token = act, token
        self.model = watcher.model
        self.feed = Feed(watcher)

    def routes(self, *, others: bool) -> list[Route]:
        """The routes of the page, relative to where it is; `others`: it has a link to the list of models."""

        async def page(request: Request) -> Response:
            del request
            text = environment().get_template("live.html.j2").render(model=self.model, others=others)
            return HTMLResponse(text, headers=_HEADERS)

        return [
            Route("/", page),
            *_file_routes(),
            Route("/api/state", self.state),
            Route("/api/events", self.events),
            Route("/api/rollouts/{name}/{action}", self.action, methods=["POST"]),
        ]

    async def state(self, request: Request) -> Response:
        """`GET api/state`."""
        del request
        snapshot = msgspec.json.encode(await self.feed.snapshot())
        return Response(snapshot, media_type="application/json", headers=_HEADERS)

    async def events(self, request: Request) -> Response:
        """`GET api/events`."""
        del request
        return StreamingResponse(self.feed.events(), media_type="text/event-stream", headers=_HEADERS)

    async def action(self, request: Request) -> Response:
        """`POST api/rollouts/<name>/<action>`, with `?version=` for one of several canaries."""
        if self._act is None or self._token is None:
            return _error(403, "Actions are off: start the page with --actions.")
        forbidden = _forbidden(request, self._token)
        if forbidden is not None:
            return forbidden
        name, action = request.path_params["name"], cast("Action", request.path_params["action"])
        try:
            await asyncio.to_thread(self._act, name, action, request.query_params.get("version"))
        except SabiaError as error:
            return _error(_status(error), str(error))
        return JSONResponse({"rollout": name, "action": action}, headers=_HEADERS)


def _forbidden(request: Request, token: str) -> Response | None:
    """The error response to an action that is not allowed or does not exist."""
    given = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not hmac.compare_digest(given.encode(), token.encode()):
        return _error(401, "The token is missing or wrong.")
    # Browsers send this header; other clients do not.
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return _error(403, "Actions are accepted from this page only.")
    if request.path_params["action"] not in get_args(Action):
        return _error(404, f"The actions are {', '.join(get_args(Action))}.")
    return None


def _status(error: SabiaError) -> int:
    """The HTTP status of an action that failed."""
    match error:
        case RolloutNotFound():
            return 404
        case RolloutEnded():
            return 409
        case _:
            return 502


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": message}, status_code=status, headers=_HEADERS)


def _file_routes() -> list[Route]:
    return [Route(path, _file) for path in ("/style.css", *(f"/{name}" for name in _FILES))]


async def _file(request: Request) -> Response:
    """`GET style.css`, `live.css`, `live.js`, `icon.svg`."""
    name = request.url.path.rpartition("/")[2]
    pages = resources.files("sabia.monitoring").joinpath("pages")
    text = style() if name == "style.css" else pages.joinpath(name).read_text()
    return Response(text, media_type=_FILES.get(name, "text/css"), headers=_HEADERS)


def _list_routes(pages: Sequence[LivePage]) -> list[Route]:
    """The list of models, each with its weights and its newest rollout."""

    async def page(request: Request) -> Response:
        del request
        snapshots = await asyncio.gather(*(each.feed.snapshot() for each in pages))
        text = environment().get_template("models.html.j2").render(snapshots=snapshots)
        return HTMLResponse(text, headers=_HEADERS)

    return [Route("/", page), *_file_routes()]


def application(pages: Sequence[LivePage], *, hosts: Sequence[str]) -> Starlette:
    """The live pages of some models as an application that answers requests for `hosts` only."""
    several = len(pages) > 1
    mounts = [Mount(f"/models/{page.model}", routes=page.routes(others=several)) for page in pages]
    return Starlette(
        routes=[*mounts, *(_list_routes(pages) if several else pages[0].routes(others=False))],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
    )


def serve_live(
    store: Store,
    models: Mapping[str, Ports],
    *,
    host: str,
    port: int,
    names: Sequence[str],
    token: str | None,
    on_ready: Callable[[int], None],
) -> None:
    """Serve the live pages of some models until SIGINT or SIGTERM. They answer requests for `names`, `host`, localhost.

    Args:
        store: versions, aliases, rollouts and the log.
        models: the platform that serves each model, by the model's name; at least one.
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        names: host names of the page.
        token: the bearer token that an action needs; without it no action is allowed.
        on_ready: called with the port once the page is served.

    Raises:
        NoLivePage: the address is taken.
    """
    pages = [
        LivePage(
            Watcher(store, model, ports.weights, ports.counters, actions=token is not None),
            ports.act if token is not None else None,
            token,
        )
        for model, ports in models.items()
    ]
    hosts = ["localhost", "127.0.0.1", "[::1]", *names, *([] if host in _EVERY_INTERFACE else [host])]
    app = application(pages, hosts=hosts)
    config = uvicorn.Config(app, host=host, port=port, log_level="error", timeout_graceful_shutdown=1, lifespan="off")
    try:
        _Server(config, on_ready).run()
    except SystemExit as error:  # uvicorn logs the reason and exits
        raise NoLivePage(f"{host}:{port} is not free") from error


class _Server(uvicorn.Server):
    """Calls `on_ready` with the port once it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])
