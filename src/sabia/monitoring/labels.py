"""Labels: ground truth, joined to the log by request id."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sabia.contract.inferencelog import LABEL_COLUMNS, labels_key
from sabia.contract.layout import check_model_name
from sabia.contract.signature import Output
from sabia.monitoring import labelfiles
from sabia.monitoring.archive import SQL_TYPES
from sabia.monitoring.errors import InvalidLabels
from sabia.monitoring.labelfiles import index_of, time_of
from sabia.monitoring.sql import class_index, literals
from sabia.registry import catalogue
from sabia.store.errors import KeyTaken
from sabia.store.objects import Store

_PROBLEMS = {
    "request_id": "a request_id is empty",
    "row": "a row is not an index within a request, from 0",
    "observed_at": "a time cannot be read",
}
# A label as text and as a number; ground truth may be written as true or false.
_TEXT = "label"
_NUMBER = (
    "CASE WHEN regexp_full_match(label, '[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?') "
    "THEN TRY_CAST(label AS DOUBLE) WHEN lower(label) = 'true' THEN 1 WHEN lower(label) = 'false' THEN 0 END"
)
_FINITE = f"CASE WHEN isfinite({_NUMBER}) THEN {_NUMBER} END"
# A space around a text is not seen on a screen, and would make another class of it.
_BARE = r"CASE WHEN NOT regexp_matches(label, '^\s|\s$') THEN label END"
_NO_CLASS = "a label is empty, or has a space around it"
# Clocks differ, and a time without a zone may be a local one; what is later was not observed yet.
_AHEAD = timedelta(days=1)
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
        InvalidLabels: a line of the file is not exactly a label; nothing was added.
        InvalidManifest: the newest version's manifest cannot be read.
        StoreError: the store failed; adding the file again adds the missing labels.
    """
    check_model_name(model)
    added_at = (now or datetime.now(UTC)).astimezone(UTC)
    table = _read(path, _reading(_primary_output(store, model)), added_at)
    new = 0
    for start in range(0, table.num_rows, file_rows):
        part = table.slice(start, file_rows)
        key = labels_key(model, added_at.date(), _content_id(part))
        try:
            new += part.num_rows if store.create(key, _encode(_with_times(part, added_at))) else 0
        except KeyTaken:  # the same labels, added at another time of this day
            continue
    return Added(table.num_rows, new)


def _read(path: Path, reading: _Reading, added_at: datetime) -> pa.Table:
    """The labels of a file; `observed_at` only if the file has it."""
    given = labelfiles.read(path)
    with duckdb.connect() as database:
        database.register("given", given)
        number, text = (SQL_TYPES[LABEL_COLUMNS[name]] for name in ("label", "class"))
        labels: pa.Table = database.sql(
            f"SELECT request_id, CAST({reading.number} AS {number}) AS label, CAST({reading.name} AS {text}) AS class "
            "FROM given"
        ).to_arrow_table()
    rows = _converted(given["row"], index_of, pa.int64()) if "row" in given.column_names else None
    labels = labels.append_column("row", pa.array(np.zeros(len(labels), np.int64)) if rows is None else rows)
    if "observed_at" in given.column_names:
        times = _converted(given["observed_at"], time_of, pa.timestamp("us", tz="UTC"))
        labels = labels.append_column("observed_at", times)
    _check(labels, reading, added_at)
    return labels


def _converted(column: pa.ChunkedArray, convert: Callable[[str], object], to: pa.DataType) -> pa.Array:
    """A column of text, converted; null where that cannot be done. Each text is converted once."""
    encoded = column.combine_chunks().dictionary_encode()
    found: list[object] = []
    for text in encoded.dictionary.to_pylist():
        try:
            found.append(convert(text))
        except (ValueError, OverflowError):
            found.append(None)
    return pa.array(found, to).take(encoded.indices)


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
        return _Reading(_FINITE, f"coalesce({name}, {_BARE})", _NO_CLASS)
    return _Reading(_FINITE, f"CASE WHEN {_FINITE} IS NULL THEN {_BARE} END", _NO_CLASS)


def _check(table: pa.Table, reading: _Reading, added_at: datetime) -> None:
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
            spaced = np.asarray(pc.match_substring_regex(values, r"^\s|\s$").fill_null(False))
            _refuse_first(spaced, "a request_id begins or ends with a space")
        elif name == "observed_at":
            latest = pa.scalar(added_at + _AHEAD, pa.timestamp("us", tz="UTC"))
            ahead = np.asarray(pc.greater(values, latest).fill_null(False))
            _refuse_first(ahead & ~bad, "a time is later than today")
        _refuse_first(bad, problems[name])


def _refuse_first(bad: NDArray[np.bool_], problem: str) -> None:
    if bad.any():
        raise InvalidLabels(f"{problem}, in line {int(np.argmax(bad)) + 1} of the data")


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
