"""Fault injection: a version that fails as versions do, to show that a rollout notices.

Off unless set. `faults` names them, with commas between: `errors=0.05,delay=200ms,after=500`.

| fault | what happens |
|---|---|
| `errors=SHARE` | this share of the requests gets a 500 |
| `delay=TIME` | every prediction takes this much longer |
| `wrong=SHARE` | this share of the requests gets the opposite prediction, another class, or the negative value |
| `constant=VALUE` | every prediction is this value |
| `leak=BYTES` | every request leaks this much memory |
| `after=CALLS` | the first requests, this many, are answered correctly |

Responses that a fault has changed carry the header `x-sabia-fault`.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.durations import parse_duration
from sabia.contract.names import FAULT_HEADER
from sabia.contract.signature import Output
from sabia.serving.errors import ModelFailed


class InjectedFailure(ModelFailed):
    """An injected failure."""

    headers = MappingProxyType({FAULT_HEADER: "errors"})


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(f"{text} is not a share between 0 and 1")
    return value


def _time(text: str) -> float:
    return parse_duration(f"{text}s" if text[-1:].isdigit() else text)  # a number alone is in seconds


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(f"{text} is negative")
    return value


_PARSERS: dict[str, Callable[[str], float | int]] = {
    "errors": _share,
    "delay": _time,
    "wrong": _share,
    "constant": _number,
    "leak": _count,
    "after": _count,
}


NAMES = frozenset(_PARSERS)


@dataclass(slots=True)
class Faults:
    """The faults of one server."""

    errors: float = 0.0
    delay: float = 0.0
    wrong: float = 0.0
    constant: float | None = None
    leak: int = 0
    after: int = 0
    calls: int = 0
    kept: list[bytes] = field(default_factory=list)
    _counting: threading.Lock = field(default_factory=threading.Lock)

    def __call__(
        self, predict: Callable[[Any], Any], rows: Any, primary: Output | None = None
    ) -> tuple[Any, str | None]:
        """The prediction, and the fault that changed it, if any.

        Args:
            predict: of a scalar model, or of a typed one, which returns a dictionary of outputs.
            rows: what it takes.
            primary: the output of a typed model that is changed; None for a scalar model.

        Raises:
            InjectedFailure: this request is one of the share that fails.
        """
        with self._counting:  # long requests run in threads
            self.calls += 1
            early = self.calls <= self.after
        if early:
            return predict(rows), None
        if random.random() < self.errors:  # noqa: S311  nothing secret
            raise InjectedFailure
        prediction, fault = predict(rows), None
        if self.delay:
            time.sleep(self.delay)
            fault = "delay"
        if self.leak:
            self.kept.append(bytes(self.leak))
            fault = "leak"
        if self.constant is not None:
            return _changed(prediction, primary, partial(_constant, value=self.constant)), "constant"
        if self.wrong and random.random() < self.wrong:  # noqa: S311
            return _changed(prediction, primary, _wrong), "wrong"
        return prediction, fault


def _changed(prediction: Any, primary: Output | None, change: Callable[[NDArray[Any], Output | None], Any]) -> Any:
    if primary is None:
        return change(prediction, None)
    return prediction | {primary.name: change(prediction[primary.name], primary)}


def _constant(values: NDArray[Any], primary: Output | None, *, value: float) -> NDArray[Any]:
    """The value everywhere; of a label, the class of that number."""
    if primary is not None and primary.classes:
        return np.full_like(values, primary.classes[int(value) % len(primary.classes)])
    return values if values.dtype.kind == "O" else np.full_like(values, value)


def _wrong(values: NDArray[Any], primary: Output | None) -> NDArray[Any]:
    """The opposite of a probability, the next class of a label, the probabilities of other classes, minus a value."""
    if primary is None or primary.role == "probability":
        return np.asarray(1 - values)
    if primary.role == "label":
        classes = primary.classes or []
        following = dict(zip(classes, [*classes[1:], *classes[:1]], strict=True))
        return np.array([following.get(value, value) for value in values.tolist()], dtype=values.dtype)
    if primary.role == "class-probabilities":
        return np.roll(values, 1, axis=-1)
    return -values if values.dtype.kind in "if" else values


def parse(text: str) -> Faults | None:
    """The faults that a setting names; None when it is empty.

    Raises:
        ValueError: it names an unknown fault, or a value that is out of bounds.
    """
    if not text.strip():
        return None
    settings: dict[str, float | int] = {}
    for part in text.split(","):
        name, separator, value = part.strip().partition("=")
        if name not in NAMES or not separator:
            raise ValueError(f"{part.strip()!r} is not a fault; known are {', '.join(sorted(NAMES))}")
        settings[name] = _PARSERS[name](value)
    return Faults(**settings)  # type: ignore[arg-type]
