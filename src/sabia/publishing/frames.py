"""Tables of the user's, read column by column: pandas, polars, Arrow, NumPy, or a dict of arrays.

Every table with names is read through Arrow, so that a null is a null whatever the library calls it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.contract.signature import DType
from sabia.publishing.errors import TableRefused

# The name of the only column of a table without names: a list of texts, for instance.
ONLY_COLUMN = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        values: shape (rows,). Where a value is null: NaN of a float, else "" or 0.
        null: shape (rows,), whether the value is null. A NaN is a null.
        is_category: whether the table calls the column categorical.
    """

    name: str
    dtype: DType
    values: NDArray[Any]
    null: NDArray[np.bool_]
    is_category: bool = False

    def filled(self, fill: str | int | None) -> NDArray[Any]:
        """The values as a model receives them, with `fill` for nulls; floats keep their NaN."""
        if fill is None or self.dtype in ("float64", "float32") or not self.null.any():
            return self.values
        return np.where(self.null, np.array(fill, dtype=self.values.dtype), self.values)

    def take(self, rows: NDArray[np.intp]) -> Column:
        """The same column, only these rows."""
        return Column(self.name, self.dtype, self.values[rows], self.null[rows], self.is_category)


@dataclass(frozen=True, slots=True)
class Frame:
    """A table: its columns, and the caller's own object, which the estimator understands."""

    columns: list[Column]
    source: Any

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return [column.name for column in self.columns]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.columns[0].values)

    @property
    def is_numeric(self) -> bool:
        """Whether every column is a float, an integer or a boolean."""
        return all(column.dtype in ("float64", "float32", "int64", "bool") for column in self.columns)

    def column(self, name: str) -> Column:
        """The column of this name."""
        return self.columns[self.names.index(name)]

    def take(self, rows: NDArray[np.intp]) -> Frame:
        """The same columns, only these rows."""
        return Frame([column.take(rows) for column in self.columns], take(self.source, rows))

    def with_value(self, name: str, value: str | None) -> Frame | None:
        """The same rows with `value` in every row of a column; None when the caller's table cannot hold it."""
        source = _with_value(self.source, self.names.index(name), value)
        return None if source is None else read(source, self.names)


def read(source: Any, names: Sequence[str] | None = None) -> Frame:
    """Read a table, giving its columns `names` if there are any.

    Raises:
        TableRefused: it is of another kind, it is empty, or a column has values that no input can have.
    """
    frame = Frame(_array(source, names), source) if isinstance(source, np.ndarray) else _table(source, names)
    if not frame.columns or not frame.rows:
        raise TableRefused("has no rows" if frame.columns else "has no columns")
    if names is not None and len(names) != len(frame.columns):
        raise TableRefused(f"has {len(frame.columns)} columns; {len(names)} names were given")
    return frame


def take(source: Any, rows: NDArray[np.intp]) -> Any:
    """Rows of the caller's own object, as its library gives them."""
    if hasattr(source, "iloc"):
        return source.iloc[rows]
    if isinstance(source, np.ndarray) or type(source).__module__.partition(".")[0] == "polars":
        return source[rows]
    return source.take(rows) if hasattr(source, "take") else [source[at] for at in rows]


def digest(*frames: Frame) -> str:
    """The sha256 of names, values and nulls: the same for the same table on every machine, in any library."""
    total = hashlib.sha256()
    for column in (column for frame in frames for column in frame.columns):
        total.update(f"{column.name}\n{column.dtype}\n".encode())
        if column.values.dtype == object:
            for value in column.values:
                data = value if isinstance(value, bytes) else str(value).encode()
                total.update(len(data).to_bytes(8, "little") + data)
        else:
            total.update(np.ascontiguousarray(column.values).astype(column.values.dtype.newbyteorder("<")).tobytes())
        total.update(np.packbits(column.null).tobytes())
    return total.hexdigest()


def _array(source: NDArray[Any], names: Sequence[str] | None) -> list[Column]:
    if source.ndim > 2:
        raise TableRefused(f"is an array of {source.ndim} dimensions; publish its model as ONNX with `sabia import`")
    if source.dtype.kind not in "fiub":
        import pyarrow as pa  # noqa: PLC0415

        table = source.reshape(len(source), -1)
        names = names or ([ONLY_COLUMN] if table.shape[1] == 1 else _numbered(table.shape[1]))
        return [
            _from_arrow(name, _arrow(name, pa, column.tolist())) for name, column in zip(names, table.T, strict=False)
        ]
    table = source.reshape(len(source), -1)
    names = names or _numbered(table.shape[1])
    dtype: DType = "float32" if table.dtype == np.float32 else "float64"
    if table.dtype.kind in "iub":
        return [
            Column(n, "int64", v.astype(np.int64), np.zeros(len(v), bool)) for n, v in zip(names, table.T, strict=False)
        ]
    return [Column(n, dtype, v.astype(dtype), np.isnan(v)) for n, v in zip(names, table.T, strict=False)]


def _numbered(columns: int) -> list[str]:
    return [f"x{at}" for at in range(columns)]


def _arrow(name: str, pa: Any, values: Any) -> Any:
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise TableRefused(f"has values of several types in column {name!r}") from error


def _table(source: Any, names: Sequence[str] | None) -> Frame:
    import pyarrow as pa  # noqa: PLC0415  not every model needs it

    if hasattr(source, "iloc"):
        _unique([] if source.ndim == 1 else [str(label) for label in source.columns])
        columns = [source] if source.ndim == 1 else [source.iloc[:, at] for at in range(source.shape[1])]
        labels = [source.name or ONLY_COLUMN] if source.ndim == 1 else source.columns
        arrays = [_arrow(str(label), pa, column) for label, column in zip(labels, columns, strict=True)]
    elif isinstance(source, Mapping):
        labels, arrays = list(source), [_arrow(str(name), pa, values) for name, values in source.items()]
        source = pa.table(arrays, [str(label) for label in labels])
    elif isinstance(source, pa.Table | pa.RecordBatch):
        labels, arrays = source.schema.names, list(source.columns)
    elif type(source).__module__.partition(".")[0] == "polars" and not hasattr(source, "columns"):
        labels, arrays = [source.name or ONLY_COLUMN], [source.to_arrow()]
    elif hasattr(source, "__arrow_c_stream__"):
        table = pa.table(source)
        labels, arrays = table.schema.names, list(table.columns)
    elif isinstance(source, list | tuple):
        labels, arrays = [ONLY_COLUMN], [_arrow(ONLY_COLUMN, pa, list(source))]
    else:
        kind = f"{type(source).__module__.partition('.')[0]}.{type(source).__name__}"
        raise TableRefused(f"is a {kind}; give a DataFrame, an Arrow table, a NumPy array or a dict of arrays")
    found = _unique([str(label) for label in labels]) if names is None else list(names)
    if len(found) != len(arrays):
        raise TableRefused(f"has {len(arrays)} columns; {len(found)} names were given")
    return Frame([_from_arrow(name, array) for name, array in zip(found, arrays, strict=True)], _for_estimator(source))


def _unique(names: list[str]) -> list[str]:
    name, times = next(iter(Counter(names).most_common(1)), ("", 0))
    if times > 1:
        raise TableRefused(f"has {times} columns {name!r}")
    return names


def _for_estimator(source: Any) -> Any:
    """Estimators take no Arrow tables: the same table in pandas, or numbers as a matrix where there is no pandas."""
    if type(source).__module__.partition(".")[0] != "pyarrow":
        return source
    try:
        return source.to_pandas()
    except ImportError as error:
        columns = [column.to_numpy() for column in source.columns]
        if all(column.dtype.kind in "fiub" for column in columns):
            return np.column_stack(columns)
        raise TableRefused("is an Arrow table, which an estimator takes only through pandas; install pandas") from error


def _from_arrow(name: str, array: Any) -> Column:
    import pyarrow as pa  # noqa: PLC0415

    kinds = pa.types
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    if isinstance(array, pa.ChunkedArray):  # no chunk, or too long for one
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    is_category = kinds.is_dictionary(array.type)
    if is_category:
        array = array.dictionary_decode()
    kind = array.type
    if kinds.is_string_view(kind) or kinds.is_large_string(kind):
        array, kind = array.cast(pa.string()), pa.string()
    null = np.asarray(array.is_null(nan_is_null=True).to_numpy(zero_copy_only=False), dtype=np.bool_)
    if (
        kinds.is_null(kind)
        or kinds.is_decimal(kind)
        or ((kinds.is_integer(kind) or kinds.is_boolean(kind)) and null.any())
    ):
        # NaN is the null of numbers; integers and booleans have no value to spare for one.
        array, kind = array.cast(pa.int8() if kinds.is_boolean(kind) else kind).cast(pa.float64()), pa.float64()
    if kinds.is_floating(kind):
        dtype: DType = "float64" if kind == pa.float64() else "float32"
        return Column(name, dtype, array.to_numpy(zero_copy_only=False).astype(dtype), null, is_category)
    if kinds.is_integer(kind):
        return Column(name, "int64", array.to_numpy(zero_copy_only=False).astype(np.int64), null, is_category)
    if kinds.is_boolean(kind):
        return Column(name, "bool", array.to_numpy(zero_copy_only=False).astype(np.bool_), null)
    if kinds.is_timestamp(kind) or kinds.is_date(kind):
        micros = array.cast(pa.timestamp("us", tz=getattr(kind, "tz", None)), safe=False).cast(pa.int64())
        return Column(name, "timestamp", micros.fill_null(0).to_numpy(zero_copy_only=False), null)
    is_text = kinds.is_string(kind)
    if is_text or kinds.is_binary(kind) or kinds.is_large_binary(kind):
        values = np.asarray(array.fill_null("" if is_text else b"").to_numpy(zero_copy_only=False), dtype=object)
        return Column(name, "string" if is_text else "bytes", values, null, is_category)
    raise TableRefused(f"has values of type {kind} in column {name!r}, which no input can have")


def _with_value(source: Any, at: int, value: str | None) -> Any:  # noqa: PLR0911  one for each kind of table
    if hasattr(source, "iloc"):
        changed = source.copy()
        if source.ndim == 1:
            changed[:] = value
            return changed
        column = changed.iloc[:, at]
        kind = column.dtype
        # pandas writes NaN for the nulls of the tables that it reads.
        given: Any = np.nan if value is None and kind.kind == "O" else value
        if kind.name == "category":
            column = column.cat.add_categories([value]) if value is not None else column
            kind = column.dtype
        try:
            changed[changed.columns[at]] = type(column)([given] * len(changed), index=changed.index, dtype=kind)
        except (TypeError, ValueError):
            return None
        return changed
    if type(source).__module__.partition(".")[0] == "polars" and hasattr(source, "with_columns"):
        import polars as pl  # noqa: PLC0415  the caller has it

        name = source.columns[at]
        if source.schema[name] == pl.Enum:
            return None
        return source.with_columns(pl.lit(value, dtype=source.schema[name]).alias(name))
    if isinstance(source, np.ndarray) and source.ndim > 1 and (source.dtype.kind == "O" or value is None):
        if source.dtype.kind not in "fO":
            return None
        changed = source.copy()
        changed[:, at] = np.nan if source.dtype.kind == "f" else value
        return changed
    return None
