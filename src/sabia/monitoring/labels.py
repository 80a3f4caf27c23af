"""Labels: ground truth, joined to the log by request id."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sabia.contract.inferencelog import LABEL_COLUMNS, labels_key
from sabia.contract.layout import check_model_name
from sabia.contract.signature import Output
from sabia.monitoring.archive import SQL_TYPES
from sabia.monitoring.errors import InvalidLabels
from sabia.monitoring.sql import class_index, literals, quoted
from sabia.registry import catalogue
from sabia.store.errors import KeyTaken
from sabia.store.objects import Store

_READERS = {
    ".parquet": "read_parquet({})",
    ".csv": "read_csv({}, header = true, all_varchar = true)",
    ".jsonl": "read_json({}, format = 'newline_delimited', ignore_errors = false)",
    ".ndjson": "read_json({}, format = 'newline_delimited', ignore_errors = false)",
}
_REQUIRED = ("request_id", "label")
# By column, the expression that reads it and the problem where that is null.
_EXPRESSIONS = {
    "request_id": "CAST(request_id AS VARCHAR)",
    "row": 'TRY_CAST("row" AS BIGINT)',
    "observed_at": "TRY_CAST(observed_at AS TIMESTAMPTZ)",
}
_PROBLEMS = {
    "request_id": "a request_id is empty",
    "row": "a row is not an index within a request, from 0",
    "observed_at": "a time cannot be read",
}
# A label as text and as a number; ground truth may be written as true or false.
_TEXT = "nullif(trim(CAST(label AS VARCHAR)), '')"
_NUMBER = "COALESCE(TRY_CAST(label AS DOUBLE), TRY_CAST(TRY_CAST(label AS BOOLEAN) AS DOUBLE))"
_FINITE = f"CASE WHEN isfinite({_NUMBER}) THEN {_NUMBER} END"
_FILE_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class _Reading:
    """How labels of a model are read: the number and the class in SQL, and the problem where neither is."""

    number: str
    name: str
    problem: str


@dataclass(frozen=True, slots=True)
class Added:
    """The result of adding a file: its number of labels, and how many of them are new today."""

    labels: int
    new: int


def add(store: Store, model: str, path: Path, *, now: datetime | None = None, file_rows: int = _FILE_ROWS) -> Added:
    """Add a file of labels: Parquet, CSV with a header, or JSON lines, by its suffix.

    Columns: `request_id`; `label`; optionally `row`, the index within a request of several rows, 0 by default; and
    `observed_at`, the time of the observation, in UTC unless it has a time zone, now by default. The newest version's
    primary output decides what a label is: of a probability one of its two classes, or 0, 1, true or false; of a label
    the name of a class; of a value a finite number. Labels may arrive at any time. The same file added twice in a day
    is added once.

    Raises:
        InvalidLabels: a line of the file is not a label; nothing was added.
        InvalidManifest: the newest version's manifest cannot be read.
        StoreError: the store failed; adding the file again adds the missing labels.
    """
    check_model_name(model)
    added_at = (now or datetime.now(UTC)).astimezone(UTC)
    table = _read(path, _reading(_primary_output(store, model)))
    new = 0
    for start in range(0, table.num_rows, file_rows):
        part = table.slice(start, file_rows)
        key = labels_key(model, added_at.date(), _content_id(part))
        try:
            new += part.num_rows if store.create(key, _encode(_with_times(part, added_at))) else 0
        except KeyTaken:  # the same labels, added at another time of this day
            continue
    return Added(table.num_rows, new)


def _read(path: Path, reading: _Reading) -> pa.Table:
    """The labels of a file; `observed_at` only if the file has it."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidLabels(f"the name of a file of labels ends with one of {', '.join(_READERS)}")
    if not path.is_file():
        raise InvalidLabels("the file does not exist")
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        try:
            database.execute(f"CREATE VIEW given AS SELECT * FROM {reader.format(quoted(str(path)))}")
            columns = {name for (name,) in database.execute("SELECT column_name FROM (DESCRIBE given)").fetchall()}
            for name in _REQUIRED:
                if name not in columns:
                    raise InvalidLabels(f"the file has no column {name!r}")
            expressions = _EXPRESSIONS | {"label": reading.number, "class": reading.name}
            expressions |= {} if "row" in columns else {"row": "0"}
            selected = ", ".join(
                f'CAST({expression} AS {SQL_TYPES[LABEL_COLUMNS[name]]}) AS "{name}"'
                for name, expression in expressions.items()
                if name in columns or name in ("row", "class")
            )
            labels: pa.Table = database.sql(f"SELECT {selected} FROM given").to_arrow_table()
        except duckdb.Error as error:
            raise InvalidLabels(f"the file cannot be read as {path.suffix}") from error
    _check(labels, reading)
    return labels


def _primary_output(store: Store, model: str) -> Output | None:
    """The primary output of the newest version; None if there is no version."""
    newest = catalogue.newest(store, model)
    return newest.signature.primary_output if newest is not None else None


def _reading(output: Output | None) -> _Reading:
    names = list(map(str, output.classes)) if output is not None and output.classes else []
    role = "" if output is None else output.role
    if role == "value" or (role == "probability" and not names):
        return _Reading(_FINITE, "NULL", "a label is not a finite number")
    index = class_index(names, _TEXT, _NUMBER)
    name = f"{literals(names)}[{index} + 1]" if names else "NULL"
    if role == "probability":
        number = f"coalesce({index}, CASE WHEN {_NUMBER} IN (0, 1) THEN {_NUMBER} END)"
        return _Reading(number, name, f"a label is neither {names[0]} nor {names[1]}")
    if names:
        return _Reading(_FINITE, f"coalesce({name}, {_TEXT})", "a label is empty")
    return _Reading(_FINITE, f"CASE WHEN {_FINITE} IS NULL THEN {_TEXT} END", "a label is empty")


def _check(table: pa.Table, reading: _Reading) -> None:
    """Raise for the first invalid value, with its line of the data."""
    problems = _PROBLEMS | {"label": reading.problem}
    for name in (column for column in table.column_names if column != "class"):
        values = table[name].combine_chunks()
        bad = np.asarray(values.is_null())
        if name == "label":
            bad &= np.asarray(table["class"].combine_chunks().is_null())
        elif name == "row":
            bad |= values.fill_null(0).to_numpy(zero_copy_only=False) < 0
        elif name == "request_id":
            bad |= np.asarray([text == "" for text in values.to_pylist()], dtype=np.bool_)
        if bad.any():
            raise InvalidLabels(f"{problems[name]}, in line {int(np.argmax(bad)) + 1} of the data")


def _content_id(table: pa.Table) -> UUID:
    """The same id for the same labels."""
    return UUID(bytes=hashlib.sha256(_encode(table)).digest()[:16])


def _with_times(table: pa.Table, added_at: datetime) -> pa.Table:
    """The labels in the columns of the format; without a time of observation, that is when they were added."""
    times = pa.repeat(pa.scalar(added_at, pa.timestamp("us", tz="UTC")), table.num_rows)
    columns = {name: table[name] for name in table.column_names}
    classes = pa.nulls(table.num_rows, pa.string())
    columns = {"observed_at": times, "class": classes, **columns, "added_at": times}
    return pa.table({name: columns[name] for name in LABEL_COLUMNS})


def _encode(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return sink.getvalue()
