"""Labels: what turned out to be true, joined to the log by request id."""

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

from sabia.contract.inferencelog import LABEL_COLUMNS, Type, labels_key
from sabia.contract.layout import check_model_name
from sabia.monitoring.errors import InvalidLabels
from sabia.monitoring.sql import quoted
from sabia.serving.log.parquet import ARROW
from sabia.store.errors import KeyTaken
from sabia.store.objects import Store

_READERS = {
    ".parquet": "read_parquet({})",
    ".csv": "read_csv({}, header = true, all_varchar = true)",
    ".jsonl": "read_json({}, format = 'newline_delimited', ignore_errors = false)",
    ".ndjson": "read_json({}, format = 'newline_delimited', ignore_errors = false)",
}
_FILE_ROWS = 1_000_000


@dataclass(frozen=True, slots=True)
class Added:
    """What became of a file: how many labels it has, and how many of them are new here today."""

    labels: int
    new: int


def add(store: Store, model: str, path: Path, *, now: datetime | None = None, file_rows: int = _FILE_ROWS) -> Added:
    """Add a file of labels: Parquet, CSV with a header, or JSON lines, by its suffix.

    Columns: `request_id`; `label`, a finite number (a truth is 0 or 1, or true or false); if wanted `row`, the place in
    a request of many rows, 0 without it; and `observed_at`, when it was known, in UTC where it names no zone, now
    without it. Labels may come as late as they like. The same file added twice in a day is added once.

    Raises:
        InvalidLabels: something in the file is no label; nothing was added.
        StoreError: the store failed; adding the file again adds what is missing.
    """
    check_model_name(model)
    added_at = (now or datetime.now(UTC)).astimezone(UTC)
    table = _read(path)
    new = 0
    for start in range(0, table.num_rows, file_rows):
        part = table.slice(start, file_rows)
        key = labels_key(model, added_at.date(), _content_id(part))
        try:
            new += part.num_rows if store.create(key, _bytes(_complete(part, added_at))) else 0
        except KeyTaken:  # the same labels, added at another time of this day
            continue
    return Added(table.num_rows, new)


def _read(path: Path) -> pa.Table:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InvalidLabels(f"a file of labels ends with one of {', '.join(_READERS)}")
    if not path.is_file():
        raise InvalidLabels("there is no such file")
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        try:
            database.execute(f"CREATE VIEW given AS SELECT * FROM {reader.format(quoted(str(path)))}")
            names = {name for (name,) in database.execute("SELECT column_name FROM (DESCRIBE given)").fetchall()}
            for needed in ("request_id", "label"):
                if needed not in names:
                    raise InvalidLabels(f"the file has no column {needed!r}")
            row = 'TRY_CAST("row" AS BIGINT)' if "row" in names else "0"
            observed = ", TRY_CAST(observed_at AS TIMESTAMPTZ) AS observed_at" if "observed_at" in names else ""
            # A truth may be written as true or false.
            label = "COALESCE(TRY_CAST(label AS DOUBLE), TRY_CAST(TRY_CAST(label AS BOOLEAN) AS DOUBLE))"
            given = f'CAST(request_id AS VARCHAR) AS request_id, {row} AS "row", {label} AS label{observed}'
            found: pa.Table = database.sql(f"SELECT {given} FROM given").to_arrow_table()
        except duckdb.Error as error:
            raise InvalidLabels("the file cannot be read as what its name says it is") from error
    _check(found)
    return found


_SCHEMA = pa.schema([(name, ARROW[kind]) for name, kind in LABEL_COLUMNS.items()])
_PROBLEMS = {
    "request_id": "a request_id is empty",
    "row": "a row is no place in a request, from 0",
    "label": "a label is no finite number",
    "observed_at": "a time cannot be read",
}


def _check(table: pa.Table) -> None:
    """Refuse the first thing that is no label, by the number of its line among the data."""
    for name in table.column_names:
        values, problem = table[name].combine_chunks(), _PROBLEMS[name]
        bad = np.asarray(values.is_null())
        if name == "label":
            bad |= ~np.isfinite(values.fill_null(0.0).to_numpy(zero_copy_only=False))
        elif name == "row":
            bad |= values.fill_null(0).to_numpy(zero_copy_only=False) < 0
        elif name == "request_id":
            bad |= np.asarray([text == "" for text in values.to_pylist()], dtype=np.bool_)
        if bad.any():
            raise InvalidLabels(f"{problem}, in line {int(np.argmax(bad)) + 1} of the data")


def _content_id(table: pa.Table) -> UUID:
    """The same for the same labels."""
    return UUID(bytes=hashlib.sha256(_bytes(table)).digest()[:16])


def _complete(table: pa.Table, added_at: datetime) -> pa.Table:
    """The labels with their times: those that do not say when they were observed were so now."""
    times = pa.repeat(pa.scalar(added_at, ARROW[Type.TIME]), table.num_rows)
    whole = table if "observed_at" in table.column_names else table.append_column("observed_at", times)
    return whole.append_column("added_at", times).cast(_SCHEMA)


def _bytes(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", version="2.6")
    return sink.getvalue()
