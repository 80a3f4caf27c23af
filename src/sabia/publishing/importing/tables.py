"""Rows for an imported model: Parquet, CSV, or arrays in an .npz file, each column or array named as an input."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from sabia.publishing.importing.errors import RowsRefused, UnreadableRows

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Named columns of the same length.

    Attributes:
        name: of the file or the table, for messages.
        uri: where the rows are from.
        sha256: of the file, or of the values of a table in memory.
        columns: by name, shape (rows, ...). A null is NaN in a column of floats, and None in any other.
        times: the columns that hold timestamps, as int64 microseconds since 1970, UTC.
        table: the same as Arrow, with the types that the columns had; None of arrays.
    """

    name: str
    uri: str
    sha256: str
    columns: dict[str, Array]
    times: frozenset[str] = frozenset()
    table: Any = None

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def listed(self) -> str:
        """The names of the columns, for messages."""
        return ", ".join(repr(name) for name in [*self.columns][:12]) + (", ..." if len(self.columns) > 12 else "")

    def select(self, names: Sequence[str]) -> Rows:
        """Only these columns, in this order."""
        return replace(self, columns={name: self.columns[name] for name in names})

    def arrow(self) -> Any:
        """The rows as an Arrow table, with the types that its columns have.

        Raises:
            RowsRefused: an array has several dimensions.
        """
        if self.table is not None:
            return self.table
        import pyarrow as pa  # noqa: PLC0415  an extra

        for name, column in self.columns.items():
            if column.ndim > 1:
                problem = f"has an array of {column.ndim} dimensions, {name!r}; the model takes columns"
                raise RowsRefused(self.name, problem)
        plain = {name: self._plain(name, column) for name, column in self.columns.items()}
        return pa.table(plain)

    def _plain(self, name: str, column: Array) -> Array:
        return column.astype("datetime64[us]") if name in self.times else column


def read(source: Any, what: str = "rows") -> Rows:
    """The rows of a file, or of a table in memory.

    Args:
        source: a path of Parquet, CSV or .npz; a DataFrame of pandas or polars, an Arrow table, or arrays by name.
        what: the rows are, for messages about a table in memory.

    Raises:
        UnreadableRows: it is of another format, damaged, or has no rows.
        RowsRefused: its arrays are of different lengths, or it is of another kind.
    """
    is_file = isinstance(source, str | Path)
    name = Path(source).name if is_file else f"The table of {what}"
    try:
        rows = _file(Path(source)) if is_file else _table(name, source)
    except (ValueError, TypeError, OSError, EOFError, BadZipFile) as error:  # pyarrow's errors are ValueErrors
        kind = Path(source).suffix[1:] if is_file else "a table"
        raise UnreadableRows(name, f"cannot be read as {kind}") from error
    lengths = {key: len(column) for key, column in rows.columns.items()}
    if not lengths or not min(lengths.values()):
        raise UnreadableRows(name, "has no rows")
    if len(set(lengths.values())) > 1:
        named = ", ".join(f"{key!r} has {length}" for key, length in lengths.items())
        raise RowsRefused(name, f"has arrays of different lengths: {named}")
    return rows


def _file(path: Path) -> Rows:
    if not path.is_file():
        raise UnreadableRows(path.name, "does not exist")
    readers = {".parquet": _parquet, ".csv": _csv}
    if path.suffix not in (*readers, ".npz"):
        raise UnreadableRows(path.name, f"must be one of {', '.join([*readers, '.npz'])}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            columns, times = _arrays({name: arrays[name] for name in arrays.files})
        return Rows(path.name, path.name, digest, columns, times)
    table = readers[path.suffix](path)
    columns, times = _arrow(path.name, table)
    return Rows(path.name, path.name, digest, columns, times, table)


def _table(name: str, source: Any) -> Rows:
    table = None
    if isinstance(source, Mapping) and all(isinstance(each, np.ndarray) for each in source.values()):
        columns, times = _arrays(source)
    else:
        import pyarrow as pa  # noqa: PLC0415  an extra

        if hasattr(source, "iloc"):
            table = pa.Table.from_pandas(source, preserve_index=False)
        elif isinstance(source, Mapping | pa.Table) or hasattr(source, "__arrow_c_stream__"):
            table = source if isinstance(source, pa.Table) else pa.table(source)
        else:
            problem = f"is a {type(source).__name__}; give a file, a DataFrame, an Arrow table, or arrays by name"
            raise RowsRefused(name, problem)
        columns, times = _arrow(name, table)
    return Rows(name, "unstated", _digest(columns), columns, times, table)


def _digest(columns: Mapping[str, Array]) -> str:
    """The sha256 of names, types, shapes and values."""
    total = hashlib.sha256()
    for name, column in columns.items():
        total.update(f"{name}\n{column.dtype}\n{column.shape}\n".encode())
        if column.dtype == object:
            total.update(repr(column.tolist()).encode())
        else:
            total.update(np.ascontiguousarray(column).tobytes())
    return total.hexdigest()


def _arrays(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], frozenset[str]]:
    columns = {name: np.atleast_1d(array) for name, array in arrays.items()}
    times = frozenset(name for name, column in columns.items() if column.dtype.kind == "M")
    return {
        name: column.astype("datetime64[us]").astype(np.int64)
        if name in times
        else column.astype(object)
        if column.dtype.kind in "US"
        else column
        for name, column in columns.items()
    }, times


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq  # noqa: PLC0415  an extra

    return pq.read_table(path)


def _csv(path: Path) -> Any:
    from pyarrow import csv  # noqa: PLC0415  an extra

    return csv.read_csv(path)


def _arrow(file: str, table: Any) -> tuple[dict[str, Array], frozenset[str]]:
    import pyarrow as pa  # noqa: PLC0415  an extra

    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise RowsRefused(file, f"has {twice[0]!r} as the name of several columns")
    columns, times = {}, set()
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            times.add(name)
            zone = getattr(column.type, "tz", None)
            column = column.cast(pa.timestamp("us", zone), safe=False).cast(pa.int64())
        columns[name] = _column(file, name, column)
    return columns, frozenset(times)


def _column(file: str, name: str, column: Any) -> Array:
    import pyarrow as pa  # noqa: PLC0415  an extra

    kind = column.type
    if pa.types.is_floating(kind) or (pa.types.is_integer(kind) and not column.null_count):
        return np.asarray(column.to_numpy())
    if pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64()).to_numpy())
    if pa.types.is_boolean(kind) and not column.null_count:
        return np.array(column.to_pylist(), dtype=np.bool_)
    values = column.to_pylist()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        try:
            return np.array(values)
        except ValueError as error:
            raise RowsRefused(file, f"has lists of different lengths in column {name!r}") from error
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
