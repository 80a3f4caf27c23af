"""Counts of rows and their outputs, by the signature alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.bins import counts_of
from sabia.contract.signature import Input, Signature
from sabia.serving.inference.batch import Batch, Column, Mask

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Digest:
    """The counts of a batch and its outputs: rows by bin of the primary output, and by input.

    Attributes:
        bins: shape (bins,).
        outside: with a value outside the training rows' range; shape (inputs,), as the others.
        unknown: with a value that is not in the input's categories.
        missing: without a value.
    """

    bins: Counts
    outside: Counts
    unknown: Counts
    missing: Counts


class Counter:
    """Counts the rows of one signature."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._categories = {each.name: frozenset(each.categories) for each in signature.inputs if each.categories}
        numbers = signature.bins.kind in ("equal", "edges") and len(signature.primary_output.shape) == 1
        self._edges = signature.bins.inner_edges if numbers else None

    def digest(self, batch: Batch | None, outputs: Mapping[str, Any]) -> Digest:
        """Count a batch and its outputs; without a batch, or the primary output, nothing of theirs."""
        signature = self._signature
        bins = self._bins(outputs.get(signature.primary))
        outside, unknown, missing = (self._zeros(len(signature.inputs)) for _ in range(3))
        if batch is not None:
            for at, each in enumerate(signature.inputs):
                if each.nullable:
                    missing[at] = batch.missing(each).sum()
                outside[at] = _rows_where(outside_range(each, batch.columns[each.name]), each, batch)
                unknown[at] = _rows_where(self.unknown(each, batch), each, batch)
        return Digest(bins, outside, unknown, missing)

    def _bins(self, primary: Column | None) -> Counts:
        if primary is None:
            return self._zeros(len(self._signature.bins))
        return self._signature.bins.counts(primary) if self._edges is None else counts_of(self._edges, primary)

    def unknown(self, each: Input, batch: Batch) -> Mask | None:
        """Which values are not null and not in the categories, in the column's shape; None where all are."""
        if each.name not in self._categories:
            return None
        column, known = batch.columns[each.name], self._categories[each.name]
        values = column.ravel().tolist()
        if known.issuperset(values):
            return None
        found = np.fromiter(map(known.__contains__, values), np.bool_, column.size)
        unknown = ~found.reshape(column.shape)
        return unknown & ~batch.nulls[each.name] if each.name in batch.nulls else unknown

    @staticmethod
    def _zeros(size: int) -> Counts:
        return np.zeros(size, dtype=np.int64)


def outside_range(each: Input, column: Column) -> Mask | None:
    """Which values are outside the training rows' range; None for an input without one."""
    if each.minimum is None and each.maximum is None:
        return None
    low = -np.inf if each.minimum is None else each.minimum
    high = np.inf if each.maximum is None else each.maximum
    return np.asarray((column < low) | (column > high))


def _rows_where(mask: Mask | None, each: Input, batch: Batch) -> int:
    if mask is None:
        return 0
    if each.name in batch.nulls:
        mask = mask & ~batch.nulls[each.name]
    return int((mask if mask.ndim == 1 else mask.reshape(len(batch), -1).any(axis=1)).sum())
