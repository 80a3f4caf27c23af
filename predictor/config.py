"""The predictor's settings: arguments first, then the environment, then defaults; read once, frozen."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from predictor import faults

MEBIBYTE = 1024 * 1024


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
        drain_seconds: how long, after SIGTERM, requests are still taken while readiness already says no.
        grace_seconds: how long, after that, requests in flight may take.
        faults: what is to go wrong on purpose, see `predictor.faults`; nothing without it.
    """

    source: str = "/mnt/models"
    model_name: str | None = None
    model_version: str | None = None
    host: str = "0.0.0.0"  # noqa: S104  a container's port is reached from outside the container
    http_port: int = 8080
    max_body_bytes: int = 4 * MEBIBYTE
    drain_seconds: float = 1.0
    grace_seconds: float = 25.0
    faults: str = ""


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """The configuration of `python -m predictor ARGUMENTS`; a wrong argument ends the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m predictor",
        description="Serve one version of a model. Each setting is an argument, or SABIA_<NAME> in the environment.",
        allow_abbrev=False,
    )
    for setting in _SETTINGS:
        default = environment.get(f"SABIA_{setting.name.upper()}", getattr(_DEFAULTS, setting.name))
        text = f"{setting.help} (default: {default})"
        parser.add_argument(f"--{setting.name}", type=setting.kind, default=default, help=text)
    values = vars(parser.parse_args(arguments))
    for setting in _SETTINGS:
        if setting.least is not None and not values[setting.name] >= setting.least:
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
_SETTINGS = (
    _Setting("source", str, "folder or store URL of one version"),
    _Setting("model_name", str, "name that the artifact must have"),
    _Setting("model_version", str, "version that the artifact must be"),
    _Setting("host", str, "address to listen on"),
    _Setting("http_port", int, "port to listen on, 0 for a free one", 0),
    _Setting("max_body_bytes", int, "largest body that is read", 1),
    _Setting("drain_seconds", float, "time after SIGTERM in which requests are still taken", 0),
    _Setting("grace_seconds", float, "time after that for requests in flight", 0),
    _Setting("faults", str, "what is to go wrong on purpose, such as errors=0.05,delay=200ms"),
)
