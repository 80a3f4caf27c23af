"""A batch: rows of any signature, one array for each input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.signature import Input

Column = NDArray[Any]
Mask = NDArray[np.bool_]

# How a column holds each dtype. Strings and bytes are Python's; a timestamp is microseconds since 1970, UTC.
NUMPY: dict[str, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "int64": np.dtype(np.int64),
    "bool": np.dtype(np.bool_),
    "string": np.dtype(object),
    "bytes": np.dtype(object),
    "timestamp": np.dtype(np.int64),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, by input.

    Attributes:
        rows: their number.
        columns: shape (rows, ...) each, of `NUMPY`'s dtype. A null float is NaN; a null of another dtype is the input's
            `fill`.
        nulls: of the inputs whose dtype has no NaN and that have a null: which values were null, in the column's shape.
        matrix: the same columns side by side, shape (rows, columns), when they came so; None otherwise.
    """

    rows: int
    columns: dict[str, Column]
    nulls: dict[str, Mask] = field(default_factory=dict)
    matrix: Column | None = None

    def __len__(self) -> int:
        return self.rows

    def missing(self, each: Input) -> Mask:
        """The rows that have no value, or not all of them, of an input; shape (rows,)."""
        column = self.columns[each.name]
        if each.is_float:
            mask = np.isnan(column)
        elif each.name in self.nulls:
            mask = self.nulls[each.name]
        else:
            return np.zeros(self.rows, dtype=np.bool_)
        return np.asarray(mask if mask.ndim == 1 else mask.reshape(self.rows, -1).any(axis=1))

    def part(self, start: int, stop: int) -> Batch:
        """Some of the rows; nothing is copied."""
        return Batch(
            min(stop, self.rows) - start,
            {name: column[start:stop] for name, column in self.columns.items()},
            {name: mask[start:stop] for name, mask in self.nulls.items()},
            None if self.matrix is None else self.matrix[start:stop],
        )


def from_matrix(inputs: Sequence[Input], matrix: Column) -> Batch:
    """A batch of rows of shape (rows, inputs)."""
    return Batch(len(matrix), {each.name: matrix[:, at] for at, each in enumerate(inputs)}, matrix=matrix)


def joined(batches: Sequence[Batch]) -> Batch:
    """The rows of several batches of one signature whose tensors have the same lengths."""
    if len(batches) == 1:
        return batches[0]
    columns = {name: np.concatenate([each.columns[name] for each in batches]) for name in batches[0].columns}
    nulls = {
        name: np.concatenate([each.nulls.get(name, np.zeros(each.columns[name].shape, np.bool_)) for each in batches])
        for name in columns
        if any(name in each.nulls for each in batches)
    }
    matrices = [each.matrix for each in batches]
    whole = [matrix for matrix in matrices if matrix is not None]
    matrix = np.concatenate(whole) if len(whole) == len(batches) else None
    return Batch(sum(map(len, batches)), columns, nulls, matrix)
