"""Estimates with intervals of 95 %.

Wilson's interval for shares (Wilson 1927), Newcombe's for differences of independent estimates (Newcombe 1998, method
10; Zou and Donner 2008 for other estimates than shares), and the normal one for means.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Z = 1.959963984540054


class Estimate(msgspec.Struct, frozen=True):
    """A value with its interval."""

    value: float
    low: float
    high: float


def share(count: int, total: int) -> Estimate:
    """A share with Wilson's interval; with a total of 0 the interval is [0, 1]."""
    if total == 0:
        return Estimate(0.0, 0.0, 1.0)
    p, square = count / total, Z * Z
    middle = (p + square / (2 * total)) / (1 + square / total)
    reach = Z * math.sqrt(p * (1 - p) / total + square / (4 * total * total)) / (1 + square / total)
    return Estimate(p, max(0.0, middle - reach), min(1.0, middle + reach))


def mean(values: Array) -> Estimate:
    """The mean of at least two values, with the interval of the normal distribution."""
    value = float(values.mean())
    reach = Z * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(value, value - reach, value + reach)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`second` minus `first`, two estimates from different rows, with Newcombe's interval."""
    value = second.value - first.value
    down = math.hypot(second.value - second.low, first.high - first.value)
    up = math.hypot(second.high - second.value, first.value - first.low)
    return Estimate(value, value - down, value + up)
