"""Background rows: the rows that an explanation compares a prediction with.

They are drawn from `reference.json`, which every version has: each input from its own histogram of the training rows,
independently of the others. No training row is kept anywhere, and the same version gets the same rows everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.reference import Histogram, Reference
from sabia.contract.signature import Input, Signature
from sabia.serving.inference.batch import Batch, from_columns

ROWS = 100
# The inner edges of a histogram of numbers are the distinct deciles of the training rows.
_DECILES = np.arange(1, 10) / 10
_OTHER = "\u2400 other"


def draw(signature: Signature, reference: Reference) -> Batch:
    """`ROWS` background rows. An input without a histogram of values has one value in all of them."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {}
    for each in signature.inputs:
        histogram = reference.features.get(each.name)
        if histogram is None or not has_values(each, histogram):
            columns[each.name] = _filler(each)
        else:
            columns[each.name] = random.permutation(_values(each, histogram))
    return from_columns(signature.inputs, columns)


def has_values(each: Input, histogram: Histogram | None) -> bool:
    """Whether a histogram has an input's values: it lacks those of text and of tensors."""
    return histogram is not None and each.is_scalar and (histogram.categories is not None or _is_number(each))


def _is_number(each: Input) -> bool:
    return each.dtype not in ("string", "bytes")


def _filler(each: Input) -> NDArray[Any]:
    value: object = 0
    if not _is_number(each):
        value = "" if each.dtype == "string" else b""
    shape = (ROWS, *(length or 1 for length in each.shape[1:]))
    return np.full(shape, value, dtype=None if _is_number(each) else object)


def _values(each: Input, histogram: Histogram) -> NDArray[Any]:
    """Evenly spaced quantiles of the training rows, None for the share of them without a value; shape (rows,)."""
    known = sum(histogram.counts)
    nulls = histogram.missing if each.nullable else 0
    missing = round(ROWS * nulls / max(1, nulls + known))
    levels = (np.arange(ROWS - missing) + 0.5) / max(1, ROWS - missing)
    found = np.full(ROWS, None, dtype=object)
    if known and histogram.categories is not None:
        found[: len(levels)] = _categories(each, histogram, levels)
    elif known:
        numbers = _numbers(each, histogram, levels)
        found[: len(levels)] = numbers if each.is_float else np.round(numbers).astype(np.int64)
    return found


def _categories(each: Input, histogram: Histogram, levels: NDArray[np.float64]) -> list[object]:
    categories: list[Any] = list(histogram.categories or [])
    counts = histogram.counts[:-1] if each.strict else histogram.counts
    text = any(isinstance(value, str) for value in categories)
    categories.append(_OTHER if text else max(categories, default=0) + 1)
    places = np.searchsorted(np.cumsum(counts) / max(1, sum(counts)), levels, side="right")
    values = [categories[min(place, len(counts) - 1)] for place in places.tolist()]
    return [value.encode() for value in values] if each.dtype == "bytes" else values


def _numbers(each: Input, histogram: Histogram, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles between the edges. An edge that is several deciles at once is a value that many rows share."""
    edges = histogram.edges
    rows = sum(histogram.counts)
    below = np.cumsum(histogram.counts) / rows
    low = each.minimum if each.minimum is not None else edges[0] if edges else 0.0
    high = each.maximum if each.maximum is not None else edges[-1] if edges else low
    shares, values = [0.0], [min(low, *edges) if edges else low]
    for at, edge in enumerate(edges):
        # The deciles from here to the next edge; a decile between two rows is up to a row off.
        own = _DECILES[below[at + 1] - _DECILES > 1.01 / rows]
        shares += [below[at], own.max(initial=below[at])]
        values += [edge, edge]
    shares.append(1.0)
    values.append(max(high, values[-1]))
    return np.interp(levels, shares, values)
