"""The predictor's settings: arguments first, then the environment, then defaults; read once, frozen."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sabia.serving.http.limits import MEBIBYTE, Limits
from sabia.serving.inference import faults

_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Config:
    """How to serve one version.

    Attributes:
        source: a folder (KServe puts the version at /mnt/models) or a store URL of one version.
        model_name: the name that the artifact must have; None takes the artifact's.
        model_version: the version that the artifact must be; None takes the artifact's.
        host: the address to listen on.
        http_port: the port to listen on; 0 takes a free one.
        max_body_bytes: larger bodies are answered 413.
        max_held_bytes: when the bodies that wait for their answer in a process are more, the next get a 503.
        workers: how many processes answer on that port.
        stuck_seconds: a worker that has given no sign of life for so long is replaced.
        batch_rows: how many single rows that arrive together are decided together at most; 1 decides each by itself.
        threads: how many calls at once, in each process, are decided beside the event loop because they take long.
        queue: how many more of them may wait; the next one is answered 503.
        request_timeout_seconds: how long such a call may take before it is answered 504; a client may ask for less with
            the header `x-request-timeout-ms`, and Envoy does with its own.
        max_head_bytes: longer heads are answered 431.
        max_connections: of each process; past it one that does nothing is closed for each new one.
        read_timeout_seconds: how long a client may take to send a request, and to read its answer.
        idle_timeout_seconds: how long a connection may wait between calls.
        grpc_port: the port for gRPC; without it there is none.
        predict_route, health_route: two more paths, for a platform that has its own.
        drain_seconds: how long, after SIGTERM, requests are still taken while readiness already says no.
        grace_seconds: how long, after that, requests in flight may take.
        log: the store URL whose inference log gets what is asked and answered; no log without it.
        log_server: what this server is called in the log; None takes the name of the host, which is a pod's name.
        log_rows: a file is written when so many rows wait for it,
        log_seconds: or when the first of them has waited so long. What is in memory is lost with a process that is
            killed.
        log_memory_bytes: when records waiting in a process take more, the next are dropped and counted.
        log_spool: the folder where files wait while the store is away; None takes one for temporary files.
        log_spool_bytes: when more would lie there, files are dropped and their rows counted.
        log_sample: the share of requests that is logged, chosen by request id.
        log_redact: features whose columns stay empty, with commas; `error` and `prediction` may be named too.
        faults: what is to go wrong on purpose, see `sabia.serving.inference.faults`; nothing without it.
    """

    source: str = "/mnt/models"
    model_name: str | None = None
    model_version: str | None = None
    host: str = "0.0.0.0"  # noqa: S104  a container's port is reached from outside the container
    http_port: int = 8080
    max_body_bytes: int = 4 * MEBIBYTE
    max_held_bytes: int = _LIMITS.held_bytes
    workers: int = 1
    stuck_seconds: float = 20.0
    batch_rows: int = 64
    threads: int = 2
    queue: int = 64
    request_timeout_seconds: float = 60.0
    max_head_bytes: int = _LIMITS.head_bytes
    max_connections: int = _LIMITS.connections
    read_timeout_seconds: float = _LIMITS.read_seconds
    idle_timeout_seconds: float = _LIMITS.idle_seconds
    grpc_port: int | None = None
    predict_route: str | None = None
    health_route: str | None = None
    drain_seconds: float = 1.0
    grace_seconds: float = 25.0
    log: str | None = None
    log_server: str | None = None
    log_rows: int = 32768
    log_seconds: float = 10.0
    log_memory_bytes: int = 64 * MEBIBYTE
    log_spool: str | None = None
    log_spool_bytes: int = 256 * MEBIBYTE
    log_sample: float = 1.0
    log_redact: str = ""
    faults: str = ""


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration of `python -m predictor ARGUMENTS`; a wrong argument ends the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m predictor",
        description="Serve one version of a model. Each setting is an argument, or SABIA_<NAME> in the environment.",
        allow_abbrev=False,
    )
    for setting in _SETTINGS:
        named = environment.get(_VERTEX.get(setting.name, ""), getattr(_DEFAULTS, setting.name))
        default = environment.get(f"SABIA_{setting.name.upper()}", named)
        text = f"{setting.help} (default: {default})"
        parser.add_argument(f"--{setting.name}", type=setting.kind, default=default, help=text)
    values = vars(parser.parse_args(arguments))
    for setting in _SETTINGS:
        value = values[setting.name]
        if setting.least is not None and value is not None and not value >= setting.least:
            parser.error(f"--{setting.name} must be at least {setting.least}")
    try:
        faults.read(values["faults"])
    except ValueError as error:
        parser.error(f"--faults: {error}")
    return Config(**values)


@dataclass(frozen=True, slots=True)
class _Setting:
    name: str
    kind: type[str | int | float]
    help: str
    least: float | None = None


_DEFAULTS = Config()
# What Vertex AI tells a container, by the setting that it is.
_VERTEX = {"http_port": "AIP_HTTP_PORT", "predict_route": "AIP_PREDICT_ROUTE", "health_route": "AIP_HEALTH_ROUTE"}
_SETTINGS = (
    _Setting("source", str, "folder or store URL of one version"),
    _Setting("model_name", str, "name that the artifact must have"),
    _Setting("model_version", str, "version that the artifact must be"),
    _Setting("host", str, "address to listen on"),
    _Setting("http_port", int, "port to listen on, 0 for a free one", 0),
    _Setting("max_body_bytes", int, "largest body that is read", 1),
    _Setting("max_held_bytes", int, "bodies in memory, in each process", 1),
    _Setting("workers", int, "processes that answer on that port", 1),
    _Setting("stuck_seconds", float, "silence after which a worker is replaced", 1),
    _Setting("batch_rows", int, "single rows decided together when they arrive together; 1 for none", 1),
    _Setting("threads", int, "long calls decided at once, in each process", 1),
    _Setting("queue", int, "long calls that may wait, in each process", 0),
    _Setting("request_timeout_seconds", float, "longest a call may take", 0.001),
    _Setting("max_head_bytes", int, "largest head that is read", 256),
    _Setting("max_connections", int, "connections kept, in each process", 1),
    _Setting("read_timeout_seconds", float, "longest a client may take to send a request or read an answer", 0.1),
    _Setting("idle_timeout_seconds", float, "longest a connection may wait between calls", 0.1),
    _Setting("grpc_port", int, "port for gRPC; none without it", 0),
    _Setting("predict_route", str, "one more path for predictions, as Vertex AI names one"),
    _Setting("health_route", str, "one more path for readiness"),
    _Setting("drain_seconds", float, "time after SIGTERM in which requests are still taken", 0),
    _Setting("grace_seconds", float, "time after that for requests in flight", 0),
    _Setting("log", str, "store URL that gets the inference log; none without it"),
    _Setting("log_server", str, "name of this server in the log; the host's without it"),
    _Setting("log_rows", int, "rows in a file of the log, at most", 1),
    _Setting("log_seconds", float, "longest that a record waits to be written", 0.1),
    _Setting("log_memory_bytes", int, "records waiting in memory, in each process", 1024 * 1024),
    _Setting("log_spool", str, "folder where files wait for a store that is away"),
    _Setting("log_spool_bytes", int, "largest size of that folder", 0),
    _Setting("log_sample", float, "share of requests that is logged", 0),
    _Setting("log_redact", str, "features to leave empty in the log, with commas"),
    _Setting("faults", str, "what is to go wrong on purpose, such as errors=0.05,delay=200ms"),
)
