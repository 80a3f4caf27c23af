"""Running the application: load first, listen after, and leave in order.

On SIGTERM or SIGINT readiness says no at once, requests are still taken for `drain_seconds` (whoever routes here needs
that long to notice), then the listener closes, requests in flight are answered, and the process ends with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client import REGISTRY

from predictor.app import App
from predictor.config import Config
from predictor.errors import LoadFailed
from predictor.model import Predictor

logger = logging.getLogger("sabia.predictor")

_BACKLOG = 2048


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which ends a process by the signal that it was asked to stop with."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `_serve`."""
        yield


def serve(config: Config) -> None:
    """Load the version and serve it until SIGTERM or SIGINT.

    Raises:
        LoadFailed: it cannot be served; nothing was listening.
    """
    model = Predictor(config)
    model.load()
    listener = _listen(config)
    app = App(model, config, REGISTRY)
    if config.faults:
        logger.warning("FAULTS ARE ON, on purpose: %s", config.faults)
    asyncio.run(_serve(app, config, listener))


def _listen(config: Config) -> socket.socket:
    try:
        listener = socket.create_server((config.host, config.http_port), backlog=_BACKLOG)
    except OSError as error:
        raise LoadFailed(f"cannot listen on {config.host}:{config.http_port} ({error.strerror}).") from error
    # Accepted connections inherit it. Head and body of an answer are two writes; without this the second waits 40 ms
    # for the client's delayed acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


async def _serve(app: App, config: Config, listener: socket.socket) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=max(1, round(config.grace_seconds)),
            # Longer than a proxy keeps idle connections, or the proxy meets a closed one (Envoy's default is an hour,
            # which the manifests' and the stack's gateways lower to 60 s).
            timeout_keep_alive=75,
        )
    )
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    # Said only now: whoever waits for this line may send a signal at once.
    host, port = listener.getsockname()[:2]
    logger.info("serving %s on http://%s:%d", app.serves, host, port)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait({serving, stop}, return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        logger.info("stopping: not ready any more, draining")
        app.draining = True
        await asyncio.sleep(config.drain_seconds)
        server.should_exit = True
    stop.cancel()
    await serving
