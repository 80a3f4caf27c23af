"""The log and the labels of a period, as tables of a DuckDB database.

Files of a log never change, so those of a remote store are downloaded once and cached in a folder. DuckDB reads only
the columns and rows that a query needs and limits its memory: a log may be far larger than memory.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import duckdb
import msgspec

from sabia.contract.inferencelog import LABEL_COLUMNS, LOG_COLUMNS, REDACTED, Type, day_of, labels_prefix, log_prefix
from sabia.folders import cache_folder
from sabia.monitoring.errors import UnreadableLog
from sabia.monitoring.sql import LABELS_VIEW, quoted
from sabia.store.objects import Store

_DOWNLOADS = 8  # at the same time
SQL_TYPES = {
    Type.STRING: "VARCHAR",
    Type.INTEGER: "BIGINT",
    Type.DOUBLE: "DOUBLE",
    Type.BOOLEAN: "BOOLEAN",
    Type.TIME: "TIMESTAMPTZ",
    Type.FLOATS: "FLOAT[]",
    Type.DOUBLES: "DOUBLE[]",
}


class Archive:
    """One model's log of a period, and all labels that were added since its first day. A context manager.

    The tables are `log` and `labels`; if a row has several labels, `labels` has the one that counts.

    Args:
        store: the store of the log and the labels.
        model: the model's name.
        since: the first day, in UTC.
        until: the last day, in UTC.
        cache: the folder for files of a remote store; by default one in the user's own cache folder.
        memory: the database's memory limit, in DuckDB's notation.

    Raises:
        UnreadableLog: a file is not one of the log or of the labels.

    Attributes:
        files: the number of files of the log.
    """

    def __init__(
        self, store: Store, model: str, since: date, until: date, *, cache: Path | None = None, memory: str = "1GB"
    ) -> None:
        self.model, self.since, self.until = model, since, until
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if store.url.startswith("memory:"):  # the URL does not identify a store: no cache is shared
            self._temporary = tempfile.TemporaryDirectory()
            cache = Path(self._temporary.name)
        cache = cache or cache_folder("copies of the log", "monitoring")
        # Other objects under the prefix are passed over.
        logs = [key for key in _keys(store, log_prefix(model)) if since <= (day_of(key) or date.min) <= until]
        labels = [key for key in _keys(store, labels_prefix(model)) if (day_of(key) or date.min) >= since]
        self.files = len(logs)
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        self._database.execute(f"SET memory_limit = '{memory}'")
        self._database.execute("SET preserve_insertion_order = false")
        try:
            self._logs = _paths(store, logs, cache)
            self._table("log", LOG_COLUMNS, self._logs)
            self._table("every_label", LABEL_COLUMNS, _paths(store, labels, cache))
            self._database.execute(LABELS_VIEW)
        except (duckdb.InvalidInputException, duckdb.IOException) as error:
            self.close()
            raise UnreadableLog(model) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and remove temporary files."""
        self._database.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @cached_property
    def redacted(self) -> frozenset[str]:
        """The columns of the log that a server of the period left empty by its settings. Opens every file, once."""
        if not self._logs:
            return frozenset()
        listed = ", ".join(quoted(_no_pattern(path)) for path in self._logs)
        found = self.rows(f"SELECT DISTINCT value FROM parquet_kv_metadata([{listed}]) WHERE key = '{REDACTED}'::BLOB")
        return frozenset(column for (value,) in found for column in msgspec.json.decode(value, type=list[str]))

    def columns_in(self, table: str) -> frozenset[str]:
        """The columns of a table. Opens every file."""
        return frozenset(name for (name,) in self.rows(f"SELECT column_name FROM (DESCRIBE {table})"))

    def execute(self, statement: str) -> None:
        """Execute a statement without a result."""
        self._database.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._database.execute(query).fetchall()

    def arrays(self, query: str) -> dict[str, Any]:
        """The rows of a query as arrays, by column."""
        columns: dict[str, Any] = self._database.execute(query).fetchnumpy()
        return columns

    def _table(self, name: str, columns: dict[str, Type], paths: list[str]) -> None:
        if not paths:
            fields = ", ".join(f"{column} {SQL_TYPES[kind]}" for column, kind in columns.items()) + ", dt DATE"
            self._database.execute(f"CREATE TABLE {name} ({fields})")
            return
        listed = ", ".join(quoted(_no_pattern(path)) for path in paths)
        # The day is that of the key. DuckDB's own partitions would take every `name=value` above it for a column.
        options = "union_by_name = true, hive_partitioning = false"
        described = self.rows(f"SELECT column_name FROM (DESCRIBE FROM read_parquet([{listed}], {options}))")
        present = {column for (column,) in described}
        file = "file"
        while file in present:
            file += "_"
        files = f"FROM read_parquet([{listed}], {options}, filename = '{file}')"
        day = f"CAST(regexp_extract({file}, '/dt=([0-9-]+)/[^/]+$', 1) AS DATE) AS dt"
        # Old files lack the columns that were added to the format later.
        added = [
            f'CAST(NULL AS {SQL_TYPES[kind]}) AS "{each}"' for each, kind in columns.items() if each not in present
        ]
        selected = ", ".join([f"* EXCLUDE ({file})", day, f"{quoted(self.model)} AS model", *added])
        self._database.execute(f"CREATE VIEW {name} AS SELECT {selected} {files}")


def _keys(store: Store, prefix: str) -> list[str]:
    return [entry.key for entry in store.list(prefix) if entry.key.endswith(".parquet")]


def _no_pattern(path: str) -> str:
    """A path that DuckDB reads as it is: in brackets, a wildcard stands for itself."""
    return re.sub(r"[\[*?]", r"[\g<0>]", path)


def _paths(store: Store, keys: Iterable[str], cache: Path) -> list[str]:
    """The paths of the files on this machine, after downloading those that are missing."""
    parts = urlsplit(store.url)
    if parts.scheme == "file":
        return [str(Path(unquote(parts.path)) / key) for key in keys]
    # Two stores may have a file with the same key.
    root = cache / parts.scheme / (parts.netloc + parts.path).strip("/").replace("/", "_")
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        return list(pool.map(lambda key: _download(store, key, root / key), keys))


def _download(store: Store, key: str, path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as unfinished:
            unfinished.write(store.get(key))
        Path(unfinished.name).replace(path)
    return str(path)
