"""Single-process server: startup, request handling, graceful shutdown.

On SIGTERM or SIGINT readiness is off at once; requests are still taken for `drain_seconds` (a load balancer needs that
long to notice); then the listener and idle connections close, requests in flight are answered, the inference log is
written, and the process ends with 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial

import uvloop
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from sabia.serving.app import App, Responder
from sabia.serving.errors import LoadFailed
from sabia.serving.http.acceptor import Acceptor
from sabia.serving.http.connection import Connection
from sabia.serving.http.limits import MEBIBYTE, Limits
from sabia.serving.http.pool import ConnectionPool
from sabia.serving.inference.loading import load
from sabia.serving.inference.typed import Served
from sabia.serving.settings import Settings, address
from sabia.serving.telemetry.metrics import VersionMetrics
from sabia.serving.telemetry.sink import Described, Log

logger = logging.getLogger("sabia.predictor")

_BACKLOG = 4096
_SWITCH_SECONDS = 0.0005
# Time to write what is left of the inference log, after the last response.
LOG_SECONDS = 5.0
# From malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def serve(settings: Settings) -> None:
    """Load the version and serve it in this process until SIGTERM or SIGINT.

    Raises:
        LoadFailed: it cannot be served; nothing was listening.
    """
    model = load(settings)
    listener = listen(settings)
    registry = own_registry()
    metrics = VersionMetrics(model, registry)
    app = build_app(model, settings, registry, metrics)
    run(app, settings, listener, on_ready=lambda: log_address(app.name, settings, listener))


def own_registry() -> CollectorRegistry:
    """A registry of this server alone.

    The process's default one has what the program has imported, such as KServe's SDK with metrics of the same names,
    and what it served before.
    """
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


def build_app(model: Served, settings: Settings, registry: CollectorRegistry, metrics: VersionMetrics) -> App:
    """One process's application, with its inference log if one is set.

    Raises:
        LoadFailed: as of `inference_log`.
    """
    return App(model, settings, registry, metrics, inference_log(model, settings, metrics))


def inference_log(model: Described, settings: Settings, metrics: VersionMetrics) -> Log | None:
    """The inference log of one process, if one is set.

    Raises:
        LoadFailed: the settings of the log do not fit the model, or pyarrow is missing.
    """
    if settings.log is None:
        return None
    try:
        from sabia.serving.log.log import open_log  # noqa: PLC0415  pyarrow takes 50 MB
    except ModuleNotFoundError as error:
        raise LoadFailed("the inference log needs the package pyarrow, which is not installed.") from error
    return open_log(model, settings, settings.log, metrics)


def listen(settings: Settings) -> socket.socket:
    """The socket that clients connect to.

    Raises:
        LoadFailed: the port is taken, or privileged.
    """
    is_ipv6 = ":" in settings.host
    try:
        return socket.create_server(
            (settings.host, settings.http_port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            backlog=_BACKLOG,
            # `::` is every address of the machine, of IPv4 as well where there is any.
            dualstack_ipv6=is_ipv6 and settings.host == "::" and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        raise LoadFailed(
            f"cannot listen on {address(settings.host, settings.http_port)} ({error.strerror})."
        ) from error


def log_address(name: str, settings: Settings, listener: socket.socket) -> None:
    """Log the listening address.

    Logged last: supervisors treat this line as "ready" and may signal immediately.
    """
    if settings.faults:
        logger.warning("FAULTS ARE ON, on purpose: %s", settings.faults)
    host, port = listener.getsockname()[:2]
    logger.info("serving %s on http://%s", name, address(host, port))


def run(app: Responder, settings: Settings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve in this process until SIGTERM or SIGINT; `on_ready` is called once both are handled."""
    # Every connection is a file; the soft limit of many systems is 1,024.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    _keep_memory()
    # After this time a thread that parses a large body gives way to the event loop; the default is five milliseconds.
    sys.setswitchinterval(_SWITCH_SECONDS)
    # What was allocated until now stays: scanning it at each collection would pause requests.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(app, settings, listener, on_ready))


def _keep_memory() -> None:
    """Have the C library keep the memory of a request for the next one, up to some MiB.

    By default it returns blocks of 128 KiB to the system at once, and gets them again, page by page, for the next
    request of a thousand rows: a tenth of what such a request costs. Only glibc has the option.
    """
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, 4 * MEBIBYTE)
        mallopt(_M_TRIM_THRESHOLD, 32 * MEBIBYTE)


def connection_limits(settings: Settings) -> Limits:
    """The bounds of one process's connections."""
    return Limits(
        body_bytes=settings.max_body_bytes,
        held_bytes=settings.max_held_bytes,
        head_bytes=settings.max_head_bytes,
        connections=settings.max_connections,
        read_seconds=settings.read_timeout_seconds,
        idle_seconds=settings.idle_timeout_seconds,
    )


async def _serve(app: Responder, settings: Settings, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    grpc_server = None
    if settings.grpc_port is not None:
        from sabia.serving.protocols import grpc  # noqa: PLC0415  a tenth of a second that others need not wait

        grpc_server = await grpc.start(app, settings)
    await app.start()
    pool = connection_pool(app, settings)
    pool.start()
    server: Acceptor | asyncio.Server
    if settings.workers > 1:
        server = Acceptor(pool, listener, app.metrics.least_connections)
    else:
        server = await loop.create_server(partial(Connection, pool), sock=listener, backlog=_BACKLOG)
    on_ready()
    await stopping.wait()
    logger.info("stopping: not ready any more, draining")
    app.readiness.draining = pool.draining = True
    if grpc_server is not None:
        await grpc_server.drain()
    await asyncio.sleep(settings.drain_seconds)
    server.close()
    pool.drain()
    logger.info("closing: %d connections are open", len(pool.connections))
    if grpc_server is not None:
        await grpc_server.stop(settings.grace_seconds)
    await pool.emptied(settings.grace_seconds)
    pool.stop()
    app.close()
    await asyncio.to_thread(app.write_log, LOG_SECONDS)


def connection_pool(app: Responder, settings: Settings) -> ConnectionPool:
    """The connections of one process, with this application behind them."""
    return ConnectionPool(
        app.respond,
        connection_limits(settings),
        app.headers,
        on_refusal=app.metrics.count_refused_connection,
        on_count=app.metrics.set_connections,
        on_sweep=app.tick,
    )
