"""A server of a team's classes within a test: real processes, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import uvloop
from prometheus_client import CollectorRegistry

from sabia.serving.app import Responder
from sabia.serving.custom.server import build_app, spawn
from sabia.serving.custom.sources import Source, from_object
from sabia.serving.http.connection import Connection
from sabia.serving.process.server import connection_pool
from sabia.serving.settings import Settings


@dataclass
class Served:
    """A running server.

    Attributes:
        http: a client of it.
    """

    http: httpx.Client
    app: Responder
    registry: CollectorRegistry
    port: int

    def predict(self, name: str, *instances: Any, **options: Any) -> httpx.Response:
        """A V1 request."""
        return self.http.post(f"/v1/models/{name}:predict", json={"instances": list(instances)}, **options)

    def value(self, metric: str, **labels: str) -> float:
        """A metric's value now."""
        found = self.registry.get_sample_value(metric, labels)
        assert found is not None, f"there is no {metric}{labels}"
        return found


@contextmanager
def served(*models: Any, settings: Settings | None = None) -> Iterator[Served]:
    """A server of these models, or sources, for the time of a test."""
    chosen = settings or Settings()
    made: Sequence[Source] = [each if isinstance(each, Source) else from_object(each) for each in models]
    registry = CollectorRegistry()
    with contextlib.closing(spawn(made, chosen)) as spawner, socket.create_server(("127.0.0.1", 0)) as listener:
        app = build_app(spawner, chosen, registry)
        started, stop = threading.Event(), None

        async def run() -> None:
            nonlocal stop
            loop, stop = asyncio.get_running_loop(), asyncio.Event()
            ending = stop
            await app.start()
            pool = connection_pool(app, chosen)
            pool.start()
            server = await loop.create_server(partial(Connection, pool), sock=listener)
            loop.call_soon(started.set)
            stops.append(lambda: loop.call_soon_threadsafe(ending.set))
            await ending.wait()
            server.close()
            pool.stop()
            app.close()
            await asyncio.to_thread(app.write_log, 5.0)

        stops: list[Any] = []
        thread = threading.Thread(target=lambda: asyncio.Runner(loop_factory=uvloop.new_event_loop).run(run()))
        thread.start()
        assert started.wait(10)
        port = listener.getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
                yield Served(http, app, registry, port)
        finally:
            stops[0]()
            thread.join()
