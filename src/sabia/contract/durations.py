"""Durations: how they are written (`200ms`, `90s`, `5m`), and the buckets in which a predictor counts them."""

from __future__ import annotations

import math
import re
from decimal import Decimal

_SECONDS = {"ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400"}
_UNITS = {unit: Decimal(seconds) for unit, seconds in _SECONDS.items()}
DURATION_PATTERN = rf"([0-9]+(?:\.[0-9]+)?)({'|'.join(_UNITS)})"
_DURATION = re.compile(DURATION_PATTERN)

# One bucket is five percent: the tolerance of a rollout's plan is then one bucket.
SHORTEST, LONGEST, RATIO = 1e-5, 60.0, 1.05


def parse_duration(text: str) -> float:
    """A duration such as `500ms`, `15s`, `2m`, `1.5h` or `7d`, in seconds.

    Raises:
        ValueError: the text is anything else.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 500ms, 15s, 2m, 1.5h or 7d")
    return float(Decimal(match[1]) * _UNITS[match[2]])


def format_duration(seconds: float) -> str:
    """A short text that `parse_duration` reads as these seconds, which are at least 0: `90s`, `5m`, `200ms`."""
    exact = Decimal(repr(float(seconds)))
    texts = [f"{exact / size:f}{unit}" for unit, size in _UNITS.items()]
    texts = [re.sub(r"\.?0+(?=[a-z])", "", text) if "." in text else text for text in texts]
    same = [text for text in texts if parse_duration(text) == seconds]
    return min(same, key=lambda text: len(text) + ("." in text))


def log_edges(shortest: float, longest: float, ratio: float) -> tuple[float, ...]:
    """Upper bucket edges in seconds, each at most `ratio` times the one before, from `shortest` to `longest`."""
    steps = math.ceil(math.log(longest / shortest) / math.log(ratio))
    exact = (longest / shortest) ** (1 / steps)
    return tuple(float(f"{shortest * exact**step:.6g}") for step in range(steps + 1))


EDGES = log_edges(SHORTEST, LONGEST, RATIO)
LABELS = (*(f"{edge:.6g}" for edge in EDGES), "+Inf")
