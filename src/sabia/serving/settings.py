"""The server's settings, each defined once: the fields of `Settings` make the arguments, the variables and the docs.

Arguments go before the environment, the environment before defaults; they are parsed once and never change.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, NoReturn, get_args, get_type_hints

from sabia.serving.errors import InvalidSetting
from sabia.serving.http.limits import MEBIBYTE, Limits
from sabia.serving.inference import faults as fault_injection

_LIMITS = Limits()
_PORTS = 65535
_KINDS: dict[type, str] = {int: "a whole number", float: "a finite number"}
_SWITCH = {"true": True, "false": False}


def _setting(
    default: Any,
    text: str,
    *,
    least: float | None = None,
    most: float | None = None,
    variable: str | None = None,
    check: Callable[[str], object] | None = None,
) -> Any:
    """A field with what a user may know of it.

    Args:
        default: its value when neither an argument nor a variable names one.
        text: what it is, in one phrase, for `--help` and the docs.
        least: the smallest number that it may be.
        most: the largest.
        variable: a variable of the environment that a platform sets, beside `SABIA_<NAME>`.
        check: raises ValueError, with the reason, for a text that is not a value.
    """
    return field(
        default=default,
        metadata={"text": text, "least": least, "most": most, "variable": variable, "check": check},
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve one version."""

    source: str = _setting("/mnt/models", "folder or store URL of one version; KServe puts it at the default")
    model_class: str | None = _setting(
        None, "a class to serve, as `package.module:Class`; several as `name=package.module:Class` with commas between"
    )
    model_name: str | None = _setting(None, "name that the artifact must have, or that a class is made with")
    model_version: str | None = _setting(None, "version that the artifact must be, or that a class's responses carry")
    host: str = _setting("0.0.0.0", "address to listen on; `::` for IPv6 and IPv4")  # noqa: S104  a container's port is reached from outside
    http_port: int = _setting(
        8080, "port to listen on; 0 for a free one", least=0, most=_PORTS, variable="AIP_HTTP_PORT"
    )
    grpc_port: int | None = _setting(None, "port for gRPC; no gRPC without it", least=0, most=_PORTS)
    predict_route: str | None = _setting(None, "one more path for predictions", variable="AIP_PREDICT_ROUTE")
    health_route: str | None = _setting(None, "one more path for readiness", variable="AIP_HEALTH_ROUTE")
    workers: int = _setting(1, "processes that serve on that port", least=1)
    stuck_seconds: float = _setting(20.0, "time without a heartbeat after which a worker is replaced", least=1)
    model_memory_bytes: int = _setting(
        0,
        "memory past which a process of a class is replaced; 0 for a share of the container's limit, if it has one",
        least=0,
    )
    batch_rows: int = _setting(
        64, "single rows that are predicted together when they arrive together; 1 predicts each alone", least=1
    )
    threads: int = _setting(2, "long requests predicted at once, beside the event loop, in each process", least=1)
    queue: int = _setting(64, "long requests that may wait, in each process; past it 503", least=0)
    request_timeout_seconds: float = _setting(
        60.0, "longest that a long request may take; a client may ask for less by `x-request-timeout-ms`", least=0.001
    )
    behind_gateway: bool = _setting(
        default=False,
        text="whether only a gateway reaches this server: its deadlines, and its mark of a mirrored request, count",
    )
    max_body_bytes: int = _setting(_LIMITS.body_bytes, "largest body; past it 413", least=1)
    max_held_bytes: int = _setting(
        _LIMITS.held_bytes, "bodies that wait for their response, in each process; past it 503", least=1
    )
    max_head_bytes: int = _setting(_LIMITS.head_bytes, "largest head; past it 431", least=256)
    max_connections: int = _setting(
        _LIMITS.connections, "connections in each process; past it an idle one makes room for each new one", least=1
    )
    read_timeout_seconds: float = _setting(
        _LIMITS.read_seconds, "longest that a client may take to send a request, and to read its response", least=0.1
    )
    idle_timeout_seconds: float = _setting(
        _LIMITS.idle_seconds,
        "longest that a connection may wait between requests; longer than the hour that Envoy waits",
        least=0.1,
    )
    drain_seconds: float = _setting(
        1.0, "time after SIGTERM in which requests are still taken while readiness is already 503", least=0
    )
    grace_seconds: float = _setting(25.0, "time after that for requests in flight", least=0)
    log: str | None = _setting(None, "store URL of the inference log; no log without it")
    log_server: str | None = _setting(None, "name of this server in the log; the host's, which is a pod's, without it")
    log_rows: int = _setting(32768, "rows in a file of the log, at most", least=1)
    log_seconds: float = _setting(
        10.0, "longest that a record waits in memory; a process that is killed loses as much", least=0.1
    )
    log_memory_bytes: int = _setting(
        64 * MEBIBYTE,
        "records waiting in memory, in each process; past it the next are dropped and counted",
        least=MEBIBYTE,
    )
    log_spool: str | None = _setting(
        None,
        "folder of the spool, for files while the store is unavailable; one in the cache folder of the user without it",
    )
    log_spool_bytes: int = _setting(
        256 * MEBIBYTE, "largest size of the spool; past it files are dropped and their rows counted", least=0
    )
    log_sample: float = _setting(1.0, "share of requests that is logged, chosen by request id", least=0, most=1)
    log_redact: str = _setting("", "features, `error` or `prediction`, to leave empty in the log, with commas")
    faults: str = _setting(
        "", "failures to inject on purpose, such as `errors=0.05,delay=200ms`", check=fault_injection.parse
    )


def address(host: str, port: int | None) -> str:
    """A host and a port as URLs write them: an address of IPv6 is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(arguments: Sequence[str], environment: Mapping[str, str], prog: str = "python -m predictor") -> Settings:
    """The settings of `prog ARGUMENTS`; a wrong one ends the process with status 2 and one sentence."""
    parser = _Parser(
        prog=prog,
        description="Serve one version of a model. Each setting is an argument, or SABIA_<NAME> in the environment.",
        allow_abbrev=False,
    )
    for each in fields(Settings):
        text = f"{each.metadata['text']} (default: {_shown(each)})".replace("%", "%%")
        names = dict.fromkeys((f"--{each.name}", f"--{each.name.replace('_', '-')}"))
        parser.add_argument(*names, dest=each.name, help=text)
    given = vars(parser.parse_args(arguments))
    values: dict[str, Any] = {}
    for each in fields(Settings):
        variables = [f"SABIA_{each.name.upper()}", each.metadata["variable"]]
        named = [(f"--{each.name}", given[each.name]), *((name, environment.get(name or "")) for name in variables)]
        for name, text in named:
            if text is not None:
                try:
                    values[each.name] = _value(each, text)
                except ValueError as error:
                    parser.error(f"{name} {error}.")
                break
    return Settings(**values)


def from_values(values: Mapping[str, str | float | None]) -> Settings:
    """The settings of a program; None is the default.

    Raises:
        InvalidSetting: a name is unknown, or a value is not one or out of bounds.
    """
    known = {each.name: each for each in fields(Settings)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise InvalidSetting(f"{name} is not a setting")
        if value is not None:
            try:
                found[name] = _value(known[name], str(value))
            except ValueError as error:
                raise InvalidSetting(f"{name} {error}") from error
    return Settings(**found)


def markdown() -> str:
    """The table of the settings in docs/serving.md."""
    lines = ["| setting | default | bounds | what it is |", "|---|---|---|---|"]
    for each in fields(Settings):
        text = each.metadata["text"]
        variable = each.metadata["variable"]
        if variable is not None:
            text += f"; also Vertex AI's `{variable}`"
        lines.append(f"| `{each.name}` | {_shown(each)} | {_bounds(each)} | {text} |")
    return "\n".join(lines) + "\n"


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage of thirty settings before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _kind(setting: Field[Any]) -> type[str | int | float]:
    hint = get_type_hints(Settings)[setting.name]
    kind: type[str | int | float] = next((each for each in get_args(hint) if each is not type(None)), hint)
    return kind


def _value(setting: Field[Any], text: str) -> str | int | float | bool:
    """The value that a text names.

    Raises:
        ValueError: it names none, or one out of bounds; the message completes the sentence that the name begins.
    """
    kind, check = _kind(setting), setting.metadata["check"]
    if kind is bool:
        if text.lower() not in _SWITCH:
            raise ValueError(f"must be true or false, not {text!r}")
        return _SWITCH[text.lower()]
    if kind is int or kind is float:
        return _number(setting, kind, text)
    if check is not None:
        try:
            check(text)
        except ValueError as error:
            raise ValueError(f"is not understood: {error}") from error
    return text


def _number(setting: Field[Any], kind: type[int | float], text: str) -> int | float:
    try:
        value = kind(text)
    except ValueError as error:
        raise ValueError(f"must be {_KINDS[kind]}, not {text!r}") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be {_KINDS[kind]}, not {text!r}")
    least, most = setting.metadata["least"], setting.metadata["most"]
    if (least is not None and value < least) or (most is not None and value > most):
        raise ValueError(f"must be {_bounds(setting)}, not {text}")
    return value


def _bounds(setting: Field[Any]) -> str:
    least, most = setting.metadata["least"], setting.metadata["most"]
    if least is None:
        return ""
    if most is None:
        return f"at least {_amount(setting, least)}"
    return f"between {_amount(setting, least)} and {_amount(setting, most)}"


def _shown(setting: Field[Any]) -> str:
    value: Any = setting.default
    if isinstance(value, bool):
        return str(value).lower()
    if value in (None, ""):
        return "none"
    return _amount(setting, value)


def _amount(setting: Field[Any], value: float) -> str:
    if setting.name.endswith("_bytes") and value >= 1024:
        return f"{value // MEBIBYTE} MiB" if value >= MEBIBYTE else f"{value // 1024} KiB"
    return f"{value:,g}" if isinstance(value, float) else str(value)
