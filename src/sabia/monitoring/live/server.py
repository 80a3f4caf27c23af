"""The live page's server: one page, its state, the state as server-sent events, and decisions where they are allowed.

It listens on loopback unless told otherwise, and answers only requests for a host that it was told of, so that no
other site's page can reach it by a name of its own. Decisions need a token in a header, which a page of another site
can neither know nor send without asking first; and they are off unless switched on.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from importlib import resources
from typing import cast, get_args

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sabia.monitoring.errors import NoLivePage
from sabia.monitoring.live.ports import Act, Ports
from sabia.monitoring.live.snapshot import Snapshot, Watcher
from sabia.monitoring.page import environment, style
from sabia.rollout.errors import RolloutEnded, RolloutError, RolloutNotFound
from sabia.rollout.state import Verb
from sabia.store.errors import ArtifactError
from sabia.store.objects import Store

_STATUS = ((RolloutNotFound, 404), (RolloutEnded, 409))
# Addresses that are listened on, and are not names of a host.
_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104  compared with, not listened on
_FILES = {"live.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
_LOOK_SECONDS = 1.0
_BEAT_SECONDS = 10.0
_SAFE = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Feed:
    """Snapshots for whoever listens; one look serves all, and nobody looks while nobody listens."""

    def __init__(self, watcher: Watcher, seconds: float = _LOOK_SECONDS) -> None:
        self._watcher, self._seconds = watcher, seconds
        self._looking = asyncio.Lock()
        self._last: Snapshot | None = None
        self._until = 0.0

    async def snapshot(self) -> Snapshot:
        """What there is, at most so many seconds old."""
        loop = asyncio.get_running_loop()
        async with self._looking:
            if self._last is None or loop.time() >= self._until:
                self._last = await asyncio.to_thread(self._watcher.look)
                self._until = loop.time() + self._seconds
            return self._last

    async def events(self) -> AsyncIterator[bytes]:
        """Snapshots as server-sent events, whenever something changed, and now and then to show that it lives."""
        yield b"retry: 1000\n\n"
        before, quiet = b"", 0.0
        while True:
            found = await self.snapshot()
            # That time passes is no change.
            same = msgspec.json.encode(msgspec.structs.replace(found, at=""))
            if same != before or quiet >= _BEAT_SECONDS:
                yield b"event: state\ndata: " + msgspec.json.encode(found) + b"\n\n"
                before, quiet = same, 0.0
            await asyncio.sleep(self._seconds)
            quiet += self._seconds


class LivePage:
    """The calls of the live page.

    Args:
        watcher: who looks.
        decide: carries a decision out; None when nothing may be decided here.
        token: what whoever decides must know.
    """

    def __init__(self, watcher: Watcher, decide: Act | None, token: str | None) -> None:
        self._watcher, self._decide, self._token = watcher, decide, token
        self._feed = Feed(watcher)

    async def page(self, request: Request) -> Response:
        """`GET /`."""
        del request
        text = environment().get_template("live.html.j2").render(model=self._watcher.model)
        return HTMLResponse(text, headers=_SAFE)

    async def file(self, request: Request) -> Response:
        """`GET /style.css`, `/live.css`, `/live.js`, `/icon.svg`."""
        name = request.url.path.removeprefix("/")
        pages = resources.files("sabia.monitoring").joinpath("pages")
        text = style() if name == "style.css" else pages.joinpath(name).read_text()
        return Response(text, media_type=_FILES.get(name, "text/css"), headers=_SAFE)

    async def state(self, request: Request) -> Response:
        """`GET /api/state`."""
        del request
        return Response(msgspec.json.encode(await self._feed.snapshot()), media_type="application/json", headers=_SAFE)

    async def events(self, request: Request) -> Response:
        """`GET /api/events`."""
        del request
        return StreamingResponse(self._feed.events(), media_type="text/event-stream", headers=_SAFE)

    async def decision(self, request: Request) -> Response:
        """`POST /api/rollouts/<name>/<verb>`, with `?version=` where there are several canaries."""
        not_allowed = self._why_not(request)
        if not_allowed is not None:
            return not_allowed
        assert self._decide is not None
        name, verb = request.path_params["name"], cast("Verb", request.path_params["verb"])
        try:
            await asyncio.to_thread(self._decide, name, verb, request.query_params.get("version"))
        except (RolloutError, ArtifactError) as error:
            return _refused(next((status for kind, status in _STATUS if isinstance(error, kind)), 502), str(error))
        return JSONResponse({"rollout": name, "decision": verb}, headers=_SAFE)

    def _why_not(self, request: Request) -> Response | None:
        if self._decide is None or self._token is None:
            return _refused(403, "Nothing can be decided here: start the page with --decisions.")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return _refused(401, "The token is missing or wrong.")
        # A browser says where a request comes from; whoever is no browser says nothing.
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return _refused(403, "Decisions are taken from this page alone.")
        if request.path_params["verb"] not in get_args(Verb):
            return _refused(404, "There is no such decision.")
        return None


def application(
    watcher: Watcher, *, hosts: Sequence[str], decide: Act | None = None, token: str | None = None
) -> Starlette:
    """The live page as an application; requests for other hosts than `hosts` are refused. See `LivePage`."""
    live = LivePage(watcher, decide, token)
    return Starlette(
        routes=[
            Route("/", live.page),
            *(Route(path, live.file) for path in ("/style.css", *(f"/{name}" for name in _FILES))),
            Route("/api/state", live.state),
            Route("/api/events", live.events),
            Route("/api/rollouts/{name}/{verb}", live.decision, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)],
    )


def serve_live(
    store: Store,
    model: str,
    ports: Ports,
    *,
    host: str,
    port: int,
    names: Sequence[str],
    token: str | None,
    on_ready: Callable[[int], None],
) -> None:
    """Serve the live page of a model until SIGINT or SIGTERM. It answers requests for `names`, `host` and localhost.

    Args:
        store: versions, aliases, rollouts and the log.
        model: the model's name.
        ports: the platform that serves the model.
        host: the address to listen on.
        port: the port to listen on; 0 takes a free one.
        names: host names of the page.
        token: the bearer token that an action needs; without it no action is allowed.
        on_ready: called with the port once the page is served.

    Raises:
        NoLivePage: the address is taken.
    """
    act = ports.act if token is not None else None
    watcher = Watcher(store, model, ports.weights, ports.counters, decisions=act is not None)
    hosts = ["localhost", "127.0.0.1", "[::1]", *names, *([] if host in _EVERY_INTERFACE else [host])]
    serve(application(watcher, hosts=hosts, decide=act, token=token), host, port, on_ready)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[int], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready(self.servers[0].sockets[0].getsockname()[1])


def serve(app: Starlette, host: str, port: int, on_ready: Callable[[int], None]) -> None:
    """Serve until SIGINT or SIGTERM; `on_ready` is told the port.

    Raises:
        NoLivePage: nobody can listen there.
    """
    config = uvicorn.Config(app, host=host, port=port, log_level="error", timeout_graceful_shutdown=1, lifespan="off")
    try:
        _Server(config, on_ready).run()
    except SystemExit as error:  # it says why in its log, and ends
        raise NoLivePage(f"{host}:{port} is not free") from error


def _refused(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=status, headers=_SAFE)
