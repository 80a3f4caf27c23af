"""Rows for an imported model: Parquet, CSV, or arrays in an .npz file, each column or array named as an input."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sabia.publishing.importing.errors import RowsRefused, UnreadableRows

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Named columns of the same length.

    Attributes:
        name: of the file, for messages.
        sha256: of the file.
        columns: by name, shape (rows, ...). A null is NaN in a column of floats, and None in any other.
        times: the columns that hold timestamps, as int64 microseconds since 1970, UTC.
    """

    name: str
    sha256: str
    columns: dict[str, Array]
    times: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))

    @property
    def listed(self) -> str:
        """The names of the columns, for messages."""
        return ", ".join(repr(name) for name in [*self.columns][:12]) + (", ..." if len(self.columns) > 12 else "")


def read(path: Path) -> Rows:
    """The rows of a file.

    Raises:
        UnreadableRows: it is of another format, damaged, or has no rows.
        RowsRefused: its arrays are of different lengths.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    readers = {".parquet": _parquet, ".csv": _csv, ".npz": _npz}
    if path.suffix not in readers:
        raise UnreadableRows(path.name, f"must be one of {', '.join(readers)}")
    try:
        columns, times = readers[path.suffix](path)
    except (ValueError, OSError, EOFError) as error:  # pyarrow's errors are ValueErrors, and numpy's are too
        raise UnreadableRows(path.name, f"cannot be read as {path.suffix[1:]}") from error
    lengths = {name: len(column) for name, column in columns.items()}
    if not lengths or not min(lengths.values()):
        raise UnreadableRows(path.name, "has no rows")
    if len(set(lengths.values())) > 1:
        named = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise RowsRefused(path.name, f"has arrays of different lengths: {named}")
    return Rows(path.name, digest, columns, times)


def arrow(path: Path) -> Any:
    """The same rows as an Arrow table, with the types that its columns have in the file.

    Raises:
        UnreadableRows: a file of arrays has one of several dimensions.
    """
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq  # noqa: PLC0415  an extra

        return pq.read_table(path)
    import pyarrow as pa  # noqa: PLC0415  an extra

    if path.suffix == ".csv":
        from pyarrow import csv  # noqa: PLC0415  an extra

        return csv.read_csv(path)
    columns, _ = _npz(path)
    for name, column in columns.items():
        if column.ndim > 1:
            raise UnreadableRows(
                path.name, f"has an array of {column.ndim} dimensions, {name!r}; the model takes columns"
            )
    return pa.table(columns)


def _npz(path: Path) -> tuple[dict[str, Array], frozenset[str]]:
    with np.load(path, allow_pickle=False) as arrays:
        columns = {name: np.atleast_1d(arrays[name]) for name in arrays.files}
    times = {name for name, column in columns.items() if column.dtype.kind == "M"}
    return {
        name: column.astype("datetime64[us]").astype(np.int64)
        if name in times
        else column.astype(object)
        if column.dtype.kind in "US"
        else column
        for name, column in columns.items()
    }, frozenset(times)


def _parquet(path: Path) -> tuple[dict[str, Array], frozenset[str]]:
    import pyarrow.parquet as pq  # noqa: PLC0415  an extra

    return _arrow(pq.read_table(path))


def _csv(path: Path) -> tuple[dict[str, Array], frozenset[str]]:
    from pyarrow import csv  # noqa: PLC0415  an extra

    return _arrow(csv.read_csv(path))


def _arrow(table: Any) -> tuple[dict[str, Array], frozenset[str]]:
    import pyarrow as pa  # noqa: PLC0415  an extra

    columns, times = {}, set()
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            times.add(name)
            zone = getattr(column.type, "tz", None)
            column = column.cast(pa.timestamp("us", zone)).cast(pa.int64())
        columns[name] = _column(name, column)
    return columns, frozenset(times)


def _column(name: str, column: Any) -> Array:
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
            raise ValueError(f"the lists of {name!r} are of different lengths") from error
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
