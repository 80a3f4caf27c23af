"""The rows of a recipe's data: read by DuckDB, in an order of their own, and split.

The rows are sorted, since neither a join nor a database gives them in the same order twice: the same rows are the same
data set, whose training gives the same version.
"""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from sabia.training.data import Data
from sabia.training.errors import InvalidData
from sabia.training.sources import attach

Rows = NDArray[np.intp]

# What a column of DuckDB is read as. Integers of more than 64 bits are sums and the like.
_CASTS = (
    (r"BOOLEAN|BIGINT|DOUBLE|FLOAT|VARCHAR|BLOB|TIMESTAMP", None),
    (r"U?TINYINT|U?SMALLINT|U?INTEGER", "BIGINT"),
    (r"UBIGINT|U?HUGEINT|DECIMAL\(.*\)|BIGNUM|VARINT", "DOUBLE"),
    (r"DATE|TIMESTAMP_\w+|TIMESTAMP WITH TIME ZONE", "TIMESTAMP"),
    (r"ENUM\(.*\)|UUID", "VARCHAR"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of inputs and targets, in order.

    Attributes:
        inputs, targets: tables of the same length.
        uri: where the rows come from.
        units: by column.
    """

    inputs: pa.Table
    targets: pa.Table
    uri: str
    units: dict[str, str]

    def __len__(self) -> int:
        """The number of rows."""
        return int(self.inputs.num_rows)

    def take(self, rows: Rows) -> Table:
        """The same columns, only these rows."""
        return Table(self.inputs.take(rows), self.targets.take(rows), self.uri, self.units)

    def part(self, share: float) -> Table:
        """The first `share` of the rows, at least one; its URI ends with the share."""
        if share == 1:
            return self
        part = self.take(np.arange(max(1, round(len(self) * share))))
        return Table(part.inputs, part.targets, f"{self.uri}?rows={share:g}", self.units)

    @property
    def frame(self) -> Any:
        """The inputs as a data frame of pandas, which estimators take; a null text is None."""
        return self.inputs.to_pandas()

    @property
    def target(self) -> Any:
        """The target as a series of pandas, or several as a data frame."""
        targets = self.targets.to_pandas()
        return targets if targets.shape[1] > 1 else targets.iloc[:, 0]


@dataclass(frozen=True, slots=True)
class Split:
    """Rows to train on, and rows that no training ever sees."""

    training: Table
    held_out: Table


def read(data: Data, *, recipe: Path, seed: int) -> Split:
    """Read the data of a recipe whose folder is `recipe`, and split it; `seed` shuffles.

    Raises:
        InvalidData: a source, the query or a column is wrong, or there is nothing to train or to evaluate on.
    """
    with tempfile.TemporaryDirectory(prefix="sabia-data-") as folder, duckdb.connect() as database:
        try:
            return _read(database, data, recipe.resolve(), Path(folder), seed)
        except duckdb.Error as error:
            raise InvalidData(_sentence(error, folder, recipe.resolve())) from error


def _read(database: duckdb.DuckDBPyConnection, data: Data, recipe: Path, temporary: Path, seed: int) -> Split:
    database.execute("SET TimeZone = 'UTC'")
    database.execute("SET temp_directory = $1", [str(temporary / "spill")])
    database.execute("SET file_search_path = $1", [str(recipe)])
    for name, source in data.tables.items():
        attach(database, name, source, recipe=recipe, temporary=temporary)
    query = data.query.strip().rstrip(";") if data.query else f"FROM {identifier(next(iter(data.sources)))}"
    types = {str(name): str(kind) for name, kind, *_ in database.execute(f"DESCRIBE {query}").fetchall()}
    inputs = _inputs(data, types)
    # The column of the time first: the order of the rows is then that of time.
    first = [data.split.time] if data.split.time else []
    columns = list(dict.fromkeys([*first, *inputs, *data.targets, *([data.split.by] if data.split.by else [])]))
    casts = ", ".join(_cast(name, types[name]) for name in columns)
    order = ", ".join(str(at + 1) for at in range(len(columns)))
    table = database.sql(f"SELECT {casts} FROM ({query}) ORDER BY {order}").to_arrow_table()  # noqa: S608  the user's own
    _check(table, inputs, data.targets)
    rows = _rows(database, table, data, seed)
    whole = Table(_floats(table.select(inputs)), table.select(data.targets), data.uri, data.units)
    for part, which in zip(rows, ("training", "held out"), strict=True):
        if not len(part):
            raise InvalidData(f"the split leaves no row {'to be ' if which != 'training' else 'for '}{which}")
    return Split(*(whole.take(part) for part in rows))


def _inputs(data: Data, types: dict[str, str]) -> list[str]:
    given = data.columns or [name for name in types if name not in (*data.targets, data.split.by)]
    for name in (*data.targets, *given, *([data.split.by] if data.split.by else []), *data.units):
        if name not in types:
            raise InvalidData(f"it has no column {name!r}; it has {', '.join(types)}")
    if not given:
        raise InvalidData("it has no column beside the target")
    return list(dict.fromkeys(given))


def _cast(name: str, kind: str) -> str:
    for pattern, cast in _CASTS:
        if re.fullmatch(pattern, kind):
            return f"CAST({identifier(name)} AS {cast or kind}) AS {identifier(name)}"
    raise InvalidData(f"column {name!r} is {kind}, which no input can be; convert it in the query")


def _check(table: pa.Table, inputs: list[str], targets: list[str]) -> None:
    if not table.num_rows:
        raise InvalidData("it has no rows")
    for name in targets:
        missing = pc.sum(table[name].is_null(nan_is_null=True)).as_py()
        if missing:
            raise InvalidData(
                f"target {name!r} is null in {missing} of {table.num_rows} rows; leave them out in the query"
            )
    for name in (*inputs, *targets):
        if pa.types.is_floating(table[name].type):
            infinite = pc.sum(pc.is_inf(table[name])).as_py()
            if infinite:
                raise InvalidData(f"column {name!r} is infinite in {infinite} of {table.num_rows} rows")


def _floats(table: pa.Table) -> pa.Table:
    """The same rows; integers and booleans of which some are null are floats, in training and held-out rows alike."""
    for at, name in enumerate(table.schema.names):
        column = table[name]
        if column.null_count and pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        if column.null_count and pa.types.is_integer(column.type):
            table = table.set_column(at, name, column.cast(pa.float64()))
    return table


def _rows(database: duckdb.DuckDBPyConnection, table: pa.Table, data: Data, seed: int) -> tuple[Rows, Rows]:
    """The rows to train on, and those held out."""
    if data.split.by is None:
        return _shuffled(table, data, seed)
    column = table[data.split.by]
    if column.null_count:
        raise InvalidData(f"column {data.split.by!r} splits the rows and is null in {column.null_count} of them")
    if data.split.time is None:
        given = data.split.held_out if isinstance(data.split.held_out, list) else [data.split.held_out]
        values = [str(value).lower() if isinstance(value, bool) else str(value) for value in given]
        held_out = pc.is_in(column.cast(pa.string()), value_set=pa.array(values))
        # Without an order of time, a part of the rows should be any of them.
        order = np.random.default_rng(seed).permutation(table.num_rows)
    else:
        # Rows of one time are in one part.
        held_out = pc.greater_equal(column, _start(database, column, data))
        order = np.arange(table.num_rows)
    mask = held_out.to_numpy()[order]
    return order[~mask], order[mask]


def _start(database: duckdb.DuckDBPyConnection, column: pa.ChunkedArray, data: Data) -> pa.Scalar[Any]:
    if data.split.share is not None:
        return column[min(len(column) - 1, round(len(column) * (1 - data.split.share)))]
    kind = "TIMESTAMP" if pa.types.is_timestamp(column.type) else "BIGINT" if pa.types.is_integer(column.type) else None
    if kind is None:
        raise InvalidData(f"column {data.split.time!r} is neither a time nor an integer")
    try:
        found = database.execute(f"SELECT CAST($1 AS {kind})", [str(data.split.start)]).fetchone()
    except duckdb.ConversionException as error:
        raise InvalidData(f"the split starts at {str(data.split.start)!r}, which is not a {kind.lower()}") from error
    return pa.scalar(found[0] if found else None, column.type)


def _shuffled(table: pa.Table, data: Data, seed: int) -> tuple[Rows, Rows]:
    share = data.split.share or 0.0
    rows = np.arange(table.num_rows)
    if not 1 <= round(table.num_rows * share) < table.num_rows:
        raise InvalidData(f"{share:g} of {table.num_rows} rows cannot be held out")
    training, held_out = train_test_split(
        rows, test_size=round(table.num_rows * share), random_state=seed, stratify=_classes(table, data, share)
    )
    return training, held_out


def _classes(table: pa.Table, data: Data, share: float) -> NDArray[np.intp] | None:
    """The class of each row, of which both parts get the same share; None of a number, or with classes too rare."""
    if len(data.targets) > 1 or pa.types.is_floating(table[data.targets[0]].type):
        return None
    encoded = table[data.targets[0]].combine_chunks().dictionary_encode()
    classes = np.asarray(encoded.indices)
    smallest_part = min(share, 1 - share) * table.num_rows
    if np.bincount(classes).min() < 2 or len(encoded.dictionary) > smallest_part:
        return None
    return classes


def identifier(name: str) -> str:
    """A name of a column or a table in a query."""
    return '"' + name.replace('"', '""') + '"'


def _sentence(error: duckdb.Error, *folders: str | Path) -> str:
    """The first line of an error of DuckDB without this machine's folders."""
    line = str(error).splitlines()[0]
    for folder in folders:
        line = line.replace(f"{folder}/", "")
    return f"DuckDB reports {line.rstrip('.')!r}"
