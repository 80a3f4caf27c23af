"""A client of a version over a socket pair, and the bodies that tests send."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import httpx
from prometheus_client import CollectorRegistry

from sabia.registry.verification import Artifact
from sabia.serving.app import App
from sabia.serving.http.connection import Connection
from sabia.serving.http.pool import ConnectionPool
from sabia.serving.inference.loading import open_model
from sabia.serving.process.server import connection_pool
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics

MODEL = "breast-cancer"
PREDICT = f"/v1/models/{MODEL}:predict"
EXPLAIN = f"/v1/models/{MODEL}:explain"
INFER = f"/v2/models/{MODEL}/infer"
JSON = {"content-type": "application/json"}

Result = TypeVar("Result")


@dataclass
class Wire:
    """A client's end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def response(self, *, head: bool = False) -> httpx.Response:
        """Read one response."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = httpx.Headers([(name, value) for name, _, value in (line.partition(": ") for line in lines[1:-2])])
        body = b"" if head else await self.reader.readexactly(int(headers["content-length"]))
        return httpx.Response(int(lines[0].split(" ")[1]), headers=headers, content=body)

    async def closed(self) -> bool:
        """Whether the server ends the connection, saying no more."""
        return await self.reader.read() == b""


@dataclass
class Client:
    """Requests for one version, each on a connection of its own."""

    artifact: Artifact
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        self.model: Any = open_model(self.artifact)  # either kind
        self.metrics = VersionMetrics(self.model, self.registry)
        self.app = App(self.model, self.settings, self.registry, self.metrics)

    def __call__(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """One request."""
        lines = [f"{method} {path.replace(' ', '%20')} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in ({"host": "test"} | (headers or {})).items()]
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        sent = ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")

        async def call(wire: Wire) -> httpx.Response:
            wire.writer.write(sent)
            return await wire.response(head=method == "HEAD")

        return self.connected(call)

    def predict(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """A V1 request."""
        return self("POST", PREDICT, body, JSON if headers is None else headers)

    def infer(self, body: bytes, headers: dict[str, str] | None = None) -> httpx.Response:
        """A V2 request."""
        return self("POST", INFER, body, JSON if headers is None else headers)

    def value(self, metric: str, **labels: str) -> float:
        """A metric's value now; of what came by the split, where routes are counted apart."""
        if metric.startswith(("sabia_requests", "sabia_request_", "sabia_decision", "sabia_predictions")):
            labels = {"route": "split"} | labels
        found = self.sample(metric, {"model": self.model.name, "version": self.model.version, **labels})
        assert found is not None, f"there is no {metric}{labels}"
        return found

    def sample(self, metric: str, labels: dict[str, str]) -> float | None:
        """A sample as a scrape would find it now."""
        self.app.recorder.flush()
        return self.registry.get_sample_value(metric, labels)

    def connected(self, call: Callable[[Wire], Awaitable[Result]]) -> Result:
        """The result of a function of one connection."""
        return self.served(lambda connect: _then(connect(), call))

    def served(
        self, call: Callable[[Callable[[], Awaitable[Wire]]], Awaitable[Result]], pool: ConnectionPool | None = None
    ) -> Result:
        """The result of a function of as many connections to one server as it opens."""
        pool = pool or connection_pool(self.app, self.settings)

        async def serve() -> Result:
            pool.draining = self.app.readiness.draining
            pool.start()
            writers: list[asyncio.StreamWriter] = []

            async def connect() -> Wire:
                ours, theirs = socket.socketpair()
                ours.setblocking(False)
                await asyncio.get_running_loop().connect_accepted_socket(partial(Connection, pool), ours)
                reader, writer = await asyncio.open_connection(sock=theirs)
                writers.append(writer)
                return Wire(reader, writer)

            try:
                return await asyncio.wait_for(call(connect), timeout=30)
            finally:
                pool.stop()
                for writer in writers:
                    writer.close()
                    with contextlib.suppress(OSError):
                        await writer.wait_closed()

        return asyncio.run(serve())


async def _then(wire: Awaitable[Wire], call: Callable[[Wire], Awaitable[Result]]) -> Result:
    return await call(await wire)
