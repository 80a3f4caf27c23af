"""The log and the labels of some days, as tables of a database that reads no more than a question needs.

Files of a log are written once, so those that lie in a remote store are brought to a folder once, and found there the
next time. What is read of them, and how much of it is in memory at a time, is DuckDB's business: a log may be far
larger than memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import duckdb

from sabia.contract.inferencelog import LABEL_COLUMNS, LOG_COLUMNS, Type, day_of, labels_prefix, log_prefix
from sabia.monitoring.sql import LABELS_VIEW, quoted
from sabia.store.objects import Store

_AT_ONCE = 8
SQL_TYPES = {
    Type.STRING: "VARCHAR",
    Type.INTEGER: "BIGINT",
    Type.DOUBLE: "DOUBLE",
    Type.TIME: "TIMESTAMPTZ",
}


class Archive:
    """One model's log of some days, both included, and every label that was added since the first of them.

    The database has the tables `log` and `labels`; of several labels of one row `labels` has the one that counts. Use
    it as a context manager.

    Args:
        store: where they lie.
        model: whose they are.
        since, until: the days, in UTC.
        cache: where files of a remote store are brought to; without it, a folder for temporary files.
        memory: what the database may hold, as DuckDB writes it.

    Attributes:
        files: how many files of the log there are.
    """

    def __init__(
        self, store: Store, model: str, since: date, until: date, *, cache: Path | None = None, memory: str = "1GB"
    ) -> None:
        self.model, self.since, self.until = model, since, until
        self._own: tempfile.TemporaryDirectory[str] | None = None
        if store.url.startswith("memory:"):  # another store has that URL in the next process, or in this one
            self._own = tempfile.TemporaryDirectory()
            cache = Path(self._own.name)
        cache = cache or Path(tempfile.gettempdir(), "sabia-monitoring")
        days = [entry.key for entry in store.list(log_prefix(model)) if since <= (day_of(entry.key) or since) <= until]
        late = [entry.key for entry in store.list(labels_prefix(model)) if (day_of(entry.key) or since) >= since]
        self.files = len(days)
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        self._database.execute(f"SET memory_limit = '{memory}'")
        self._database.execute("SET preserve_insertion_order = false")
        self._table("log", LOG_COLUMNS, _paths(store, days, cache))
        self._table("every_label", LABEL_COLUMNS, _paths(store, late, cache))
        self._database.execute(LABELS_VIEW)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        if self._own is not None:
            self._own.cleanup()

    def columns_in(self, table: str) -> frozenset[str]:
        """The columns of a table; asking looks at every file."""
        return frozenset(name for (name,) in self.rows(f"SELECT column_name FROM (DESCRIBE {table})"))

    def execute(self, statement: str) -> None:
        """Carry out what answers nothing."""
        self._database.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """The answer to a question."""
        return self._database.execute(query).fetchall()

    def arrays(self, query: str) -> dict[str, Any]:
        """The answer as arrays, by column."""
        found: dict[str, Any] = self._database.execute(query).fetchnumpy()
        return found

    def _table(self, name: str, columns: dict[str, Type], paths: list[str]) -> None:
        if not paths:
            fields = ", ".join(f"{column} {SQL_TYPES[kind]}" for column, kind in columns.items()) + ", dt DATE"
            self._database.execute(f"CREATE TABLE {name} ({fields})")
            return
        listed = ", ".join(quoted(path) for path in paths)
        self._database.execute(
            f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}], union_by_name = true, "
            "hive_partitioning = true, hive_types = {'dt': DATE, 'model': VARCHAR})"
        )


def _paths(store: Store, keys: Iterable[str], cache: Path) -> list[str]:
    """Where the files lie on this machine, brought if they have to be."""
    parts = urlsplit(store.url)
    if parts.scheme == "file":
        return [str(Path(unquote(parts.path)) / key) for key in keys]
    # Two stores may have the same key.
    root = cache / parts.scheme / (parts.netloc + parts.path).strip("/").replace("/", "_")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda key: _bring(store, key, root / key), keys))


def _bring(store: Store, key: str, path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as unfinished:
            unfinished.write(store.get(key))
        Path(unfinished.name).replace(path)
    return str(path)
