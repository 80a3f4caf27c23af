"""The inputs of a signature, inferred from a table: dtype, whether nulls occur, range, categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from sabia.contract.signature import Bins, DType, Input, Output, bins_for
from sabia.publishing.errors import TableRefused
from sabia.publishing.frames import Column, Frame
from sabia.publishing.graphs import Arrays

# A column of strings with more distinct values than this is text, or an identifier, and has no categories.
MAX_CATEGORIES = 1000
_FEW = 20
_VALUE_BINS = 20


def inputs_of(frame: Frame, *, units: Mapping[str, str], null_fill: str, matrix: DType | None = None) -> list[Input]:
    """The inputs that a table's columns are; all of the dtype `matrix` if it is given."""
    return [
        _input(column, units.get(column.name, "unstated"), null_fill, matrix or column.dtype)
        for column in frame.columns
    ]


def _input(column: Column, unit: str, null_fill: str, dtype: DType) -> Input:
    nullable = bool(column.null.any())
    known = column.values[~column.null]
    lowest = highest = None
    if column.dtype not in ("string", "bytes", "bool") and len(known):
        lowest, highest = float(known.min()), float(known.max())
        if not np.isfinite([lowest, highest]).all():
            raise TableRefused(f"has infinite values in column {column.name!r}")
    elif column.dtype == "bool" and dtype != "bool" and len(known):
        lowest, highest = float(known.min()), float(known.max())
    return Input(
        name=column.name,
        dtype=dtype,
        nullable=nullable,
        unit=unit,
        minimum=lowest,
        maximum=highest,
        categories=_categories(column) if dtype == "string" else None,
        fill=_fill(dtype, null_fill) if nullable else None,
    )


def _fill(dtype: DType, null_fill: str) -> str | int | None:
    return null_fill if dtype in ("string", "bytes") else 0 if dtype == "timestamp" else None


def _categories(column: Column) -> list[str | int] | None:
    distinct = sorted(set(column.values[~column.null].tolist()))
    few = len(distinct) <= max(_FEW, len(column.values) // 2)
    return distinct if few and len(distinct) <= MAX_CATEGORIES else None


def nullable_where(inputs: Sequence[Input], frame: Frame, null_fill: str) -> list[Input]:
    """The same inputs, nullable also where another table has nulls."""
    return [
        replace(each, nullable=True, fill=_fill(each.dtype, null_fill))
        if not each.nullable and frame.column(each.name).null.any()
        else each
        for each in inputs
    ]


def feed(inputs: Sequence[Input], frame: Frame, *, matrix: bool, name: str) -> Arrays:
    """The arrays that a graph receives for a table: one matrix called `name`, or each column by its name."""
    columns = [frame.column(each.name) for each in inputs]
    if matrix:
        return {name: np.column_stack([column.values for column in columns]).astype(inputs[0].dtype)}
    return {each.name: _values(each, column).reshape(-1, 1) for each, column in zip(inputs, columns, strict=True)}


def _values(described: Input, column: Column) -> NDArray[Any]:
    """The values of a column as the graph receives them, shape (rows,)."""
    kinds = {"string": object, "bytes": object, "timestamp": np.int64}
    kind = kinds.get(described.dtype, described.dtype)
    if column.null.all() and not described.is_float:
        # A column of nulls alone has a type of its own in Arrow.
        return np.full(len(column.null), described.fill, dtype=kind)
    if (described.dtype in ("string", "bytes")) != (column.dtype in ("string", "bytes")):
        raise TableRefused(f"has {column.dtype} values in column {column.name!r}; the model takes {described.dtype}")
    return column.filled(described.fill).astype(kind)


def bins_of(output: Output, training: Arrays, inherited: Bins | None) -> Bins:
    """The bins of the primary output: the model's own when they fit, else from its range, or from training answers.

    Bins of values hold as many training rows each; those of vectors, by their length.
    """
    found = bins_for(output)
    if inherited is not None and fits(inherited, output):
        return inherited
    if found is not None:
        return found
    values = np.asarray(training[output.name], dtype=np.float64)
    if values.ndim > 1:
        values = np.linalg.norm(values.reshape(len(values), -1), axis=1)
    finite = values[np.isfinite(values)]
    quantiles = np.unique(np.quantile(finite, np.linspace(0, 1, _VALUE_BINS + 1)[1:-1])) if len(finite) else np.empty(0)
    return Bins(kind="edges", edges=quantiles.tolist())


def fits(bins: Bins, output: Output) -> bool:
    """Whether an output of this role can be counted in such bins."""
    if output.role == "label":
        return bins.kind == "classes" and bins.classes == output.classes
    kinds = {"probability": "equal", "value": "edges", "vector": "edges"}
    return bins.kind == kinds.get(output.role, "none")


def check_names(kind: str, given: Sequence[Input] | Sequence[Output], own: Sequence[Input] | Sequence[Output]) -> None:
    """Check that the caller's signature has the inputs or outputs that table and estimator have.

    Raises:
        TableRefused: it has others.
    """
    names, expected = [each.name for each in given], [each.name for each in own]
    if names != expected:
        raise TableRefused(f"has the {kind} {', '.join(expected)}; the signature has {', '.join(names)}")
