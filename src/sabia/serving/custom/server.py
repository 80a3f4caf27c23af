"""Serves a team's own code: the processes of its models first, then the listener."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from sabia.serving.app import Responder
from sabia.serving.custom.app import Code, CodeApp
from sabia.serving.custom.many import ManyModels, Merged
from sabia.serving.custom.observing import BARE
from sabia.serving.custom.processes import Processes
from sabia.serving.custom.slots import Slots
from sabia.serving.custom.sources import Source
from sabia.serving.custom.spawner import Spawner
from sabia.serving.process.server import inference_log, listen, log_address, own_registry, run
from sabia.serving.settings import Settings
from sabia.serving.telemetry.metrics import VersionMetrics

_LIMIT = Path("/sys/fs/cgroup/memory.max")
# What the processes of all models may have together, of the container's limit.
_SHARE = 0.8


def serve(made: Sequence[Source], settings: Settings) -> None:
    """Load the models in processes of their own, and serve them until SIGTERM or SIGINT.

    Raises:
        LoadFailed: one cannot be served; nothing was listening.
    """
    with contextlib.closing(spawn(made, settings)) as spawner:
        app = build_app(spawner, settings, own_registry())
        listener = listen(settings)
        run(app, settings, listener, on_ready=lambda: log_address(app.name, settings, listener))


def spawn(made: Sequence[Source], settings: Settings) -> Spawner:
    """The process that makes the models.

    Raises:
        LoadFailed: one cannot be made.
    """
    # While a process is replaced there are two in its place.
    slots = Slots(len(made) * 2 * settings.workers)
    return Spawner(made, settings.model_version, slots, settings.max_held_bytes)


def build_app(spawner: Spawner, settings: Settings, registry: CollectorRegistry) -> Responder:
    """The application over the processes of a spawner, all of them ready.

    Raises:
        LoadFailed: one cannot load its model, or the settings of the log do not fit.
    """
    apps = [_app(spawner, at, settings, registry) for at in range(len(spawner.models))]
    registry.register(Merged([app.metrics for app in apps]))
    return apps[0] if len(apps) == 1 else ManyModels(apps)


def _app(spawner: Spawner, at: int, settings: Settings, registry: CollectorRegistry) -> CodeApp:
    processes = Processes(
        spawner,
        at,
        wanted=settings.workers,
        queue=settings.queue,
        stuck_seconds=settings.stuck_seconds,
        memory_bytes=settings.model_memory_bytes or _memory_share(len(spawner.models) * (settings.workers + 1)),
    )
    processes.start()
    started = processes.started
    model = Code(*spawner.models[at], started.content_digest, started.signature or BARE)
    metrics = VersionMetrics(model, workers=settings.workers)
    return CodeApp(model, settings, registry, metrics, processes, inference_log(model, settings, metrics))


def _memory_share(processes: int) -> int | None:
    """The part of the container's limit that one process may have; None without a limit."""
    try:
        limit = _LIMIT.read_text().strip()
    except OSError:
        return None
    return int(int(limit) * _SHARE / processes) if limit.isdigit() else None
