"""A batch: rows of any signature, one array for each input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.signature import Input
from sabia.serving.errors import InvalidInput, quote

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


def from_columns(inputs: Sequence[Input], columns: Mapping[str, Any]) -> Batch:
    """A batch of columns by input name: arrays, lists or series of shape (rows, ...), with None where a value is null.

    Raises:
        InvalidInput: a column is unknown, missing or of another length, or its values are not of the input's dtype.
    """
    unknown = columns.keys() - {each.name for each in inputs}
    if unknown:
        raise InvalidInput("The columns", f"have an unknown input {quote(min(unknown))}")
    rows = max((len(column) for column in columns.values()), default=0)
    made: dict[str, Column] = {}
    nulls: dict[str, Mask] = {}
    for each in inputs:
        if each.name not in columns and not each.nullable:
            raise InvalidInput("The columns", f'lack input "{each.name}"')
        values = columns.get(each.name, [None] * rows)
        made[each.name], mask = _converted(each, values)
        if not rows or len(made[each.name]) != rows:
            raise InvalidInput(f'input "{each.name}"', f"has {len(made[each.name])} rows; others have {rows}")
        if mask is not None:
            nulls[each.name] = mask
    return Batch(rows, made, nulls)


def _converted(each: Input, values: Any) -> tuple[Column, Mask | None]:
    array = np.asarray(values)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]").astype(np.int64)
    mask: Mask | None = None
    if array.dtype.kind == "O":
        mask = np.array([value is None for value in array.ravel()], dtype=np.bool_).reshape(array.shape)
        if mask.any() and not each.nullable:
            raise InvalidInput(f'input "{each.name}"', "is null, and may not be")
        array = array.copy()
        array[mask] = np.nan if each.is_float else each.fill
    try:
        return array.astype(NUMPY[each.dtype]), mask if mask is not None and mask.any() and not each.is_float else None
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f'input "{each.name}"', f"has values that are not {each.dtype}") from error


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
