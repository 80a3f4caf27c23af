"""The log and the labels for the tools that teams have: DDL for query engines, a DuckDB file, a PostgreSQL schema.

In every one of them there are the same names: `inference_log`, `labels` (of several labels of a row, the one that
counts), `answers` (a row that was asked, with its label where one is known), and `daily` (a line for each version and
day).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from sabia.contract.inferencelog import (
    LABEL_COLUMNS,
    LABELS,
    LOG,
    LOG_COLUMNS,
    Type,
    day_of,
    feature_columns,
    labels_prefix,
    log_prefix,
)
from sabia.monitoring.archive import ANY, FAILED, LABEL_ORDER, LABELS_VIEW, REFUSED, Archive, quoted, requests_where
from sabia.monitoring.errors import NoExport
from sabia.registry import catalogue
from sabia.store.objects import Store

ENGINES = ("athena", "bigquery", "redshift", "trino")
SCHEMA = "sabia"
# The column `row`, which is a word of SQL.
_ROW = '"row"'

_TYPES: dict[str, dict[Type, str]] = {
    "athena": {Type.STRING: "string", Type.INTEGER: "bigint", Type.DOUBLE: "double", Type.TIME: "timestamp"},
    "bigquery": {Type.STRING: "STRING", Type.INTEGER: "INT64", Type.DOUBLE: "FLOAT64", Type.TIME: "TIMESTAMP"},
    "redshift": {
        Type.STRING: "varchar(65535)",
        Type.INTEGER: "bigint",
        Type.DOUBLE: "double precision",
        Type.TIME: "timestamp",
    },
    "trino": {
        Type.STRING: "varchar",
        Type.INTEGER: "bigint",
        Type.DOUBLE: "double",
        Type.TIME: "timestamp(6) with time zone",
    },
    "postgres": {
        Type.STRING: "text",
        Type.INTEGER: "bigint",
        Type.DOUBLE: "double precision",
        Type.TIME: "timestamptz",
    },
}


def columns_of(store: Store, model: str) -> dict[str, Type]:
    """The columns of a model's log: the fixed ones, and those of every feature that one of its versions has had."""
    columns = dict(LOG_COLUMNS)
    for manifest in catalogue.manifests_of(store, model):
        columns |= dict.fromkeys(feature_columns(each.name for each in manifest.features).values(), Type.DOUBLE)
    return columns


# -- query engines that read the files where they lie ------------------------------------------------------------------


def ddl(store: Store, model: str, engine: str, location: str | None = None) -> str:
    """The statements that make an engine see a model's log and labels.

    Args:
        store: where the log lies, and the manifests that tell its columns.
        model: which model.
        engine: one of `ENGINES`.
        location: the store's root as the engine knows it, where it is not the URL that we have.
    """
    root = (location or store.url).rstrip("/") + "/"
    write = {"athena": _athena, "bigquery": _bigquery, "redshift": _redshift, "trino": _trino}[engine]
    tables = [
        ("inference_log", LOG, columns_of(store, model), log_prefix(model)),
        ("every_label", LABELS, LABEL_COLUMNS, labels_prefix(model)),
    ]
    parts = [
        write(name, f"{root}{prefix}/", columns, model, _days(store, of_model))
        for name, prefix, columns, of_model in tables
    ]
    return "\n".join([*parts, *_views(engine)])


def _days(store: Store, prefix: str) -> list[date]:
    return sorted({day for entry in store.list(prefix) if (day := day_of(entry.key)) is not None})


def _listed(columns: dict[str, Type], engine: str, quote: str) -> str:
    return ",\n".join(f"  {quote}{name}{quote} {_TYPES[engine][kind]}" for name, kind in columns.items())


def _athena(name: str, place: str, columns: dict[str, Type], model: str, days: list[date]) -> str:
    """Partition projection: no crawler, and nothing to be told of a new day."""
    first = days[0].isoformat() if days else "2026-01-01"
    return f"""CREATE EXTERNAL TABLE IF NOT EXISTS {name} (
{_listed(columns, "athena", "`")}
)
PARTITIONED BY (`model` string, `dt` date)
STORED AS PARQUET
LOCATION {quoted(place)}
TBLPROPERTIES (
  'projection.enabled' = 'true',
  'projection.model.type' = 'enum',
  'projection.model.values' = {quoted(model)},
  'projection.dt.type' = 'date',
  'projection.dt.format' = 'yyyy-MM-dd',
  'projection.dt.range' = '{first},NOW',
  'storage.location.template' = {quoted(place + "model=${model}/dt=${dt}/")}
);
"""


def _trino(name: str, place: str, columns: dict[str, Type], model: str, days: list[date]) -> str:
    del model, days
    return f"""CREATE TABLE IF NOT EXISTS {name} (
{_listed(columns | {"model": Type.STRING}, "trino", '"')},
  "dt" date
)
WITH (
  format = 'PARQUET',
  external_location = {quoted(place)},
  partitioned_by = ARRAY['model', 'dt']
);
-- A new day is seen after: CALL system.sync_partition_metadata(CURRENT_SCHEMA, '{name}', 'ADD')
"""


def _redshift(name: str, place: str, columns: dict[str, Type], model: str, days: list[date]) -> str:
    partitions = "".join(
        f"ALTER TABLE spectrum.{name} ADD IF NOT EXISTS PARTITION (model={quoted(model)}, dt='{day}') "
        f"LOCATION {quoted(f'{place}model={model}/dt={day}/')};\n"
        for day in days
    )
    return f"""CREATE EXTERNAL TABLE spectrum.{name} (
{_listed(columns, "redshift", '"')}
)
PARTITIONED BY ("model" varchar(40), "dt" date)
STORED AS PARQUET
LOCATION {quoted(place)};
{partitions}"""


def _bigquery(name: str, place: str, columns: dict[str, Type], model: str, days: list[date]) -> str:
    del model, days
    return f"""CREATE EXTERNAL TABLE IF NOT EXISTS sabia.{name} (
{_listed(columns, "bigquery", "`")}
)
WITH PARTITION COLUMNS (
  model STRING,
  dt DATE
)
OPTIONS (
  format = 'PARQUET',
  uris = [{quoted(place + "*.parquet")}],
  hive_partition_uri_prefix = {quoted(place.rstrip("/"))}
);
"""


_BEFORE = {"bigquery": "sabia.", "redshift": "spectrum.", "trino": "", "athena": ""}


def _views(engine: str) -> Iterable[str]:
    before, after = _BEFORE[engine], "sabia." if engine == "bigquery" else ""
    row = "`row`" if engine == "bigquery" else _ROW
    end = " WITH NO SCHEMA BINDING" if engine == "redshift" else ""
    yield f"""CREATE OR REPLACE VIEW {after}labels AS
SELECT request_id, {row}, label, observed_at, added_at, model
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY model, request_id, {row} ORDER BY {LABEL_ORDER}
  ) AS place
  FROM {before}every_label
) AS numbered
WHERE place = 1{end};
"""
    yield f"""CREATE OR REPLACE VIEW {after}answers AS
SELECT asked.*, known.label, known.observed_at
FROM {before}inference_log AS asked
LEFT JOIN {after}labels AS known
ON known.model = asked.model AND known.request_id = asked.request_id AND known.{row} = asked.{row}{end};
"""
    yield f"""CREATE OR REPLACE VIEW {after}daily AS
{_daily(f"{after}answers", row)}{end};
"""


def _daily(answers: str, row: str) -> str:
    return f"""SELECT model, version, dt,
  {requests_where(ANY, row)} AS requests,
  {requests_where(FAILED, row)} AS failed,
  {requests_where(REFUSED, row)} AS refused,
  avg(CASE WHEN {row} = 0 THEN latency_us END) AS mean_latency_us,
  sum(CASE WHEN label IS NOT NULL AND prediction IS NOT NULL THEN 1 ELSE 0 END) AS labelled,
  avg(CASE WHEN label IS NULL OR prediction IS NULL THEN NULL
    WHEN (prediction >= 0.5 AND label >= 0.5) OR (prediction < 0.5 AND label < 0.5) THEN 1.0 ELSE 0.0 END) AS accuracy
FROM {answers}
GROUP BY model, version, dt"""


# -- databases that get a copy -----------------------------------------------------------------------------------------


def to_duckdb(archive: Archive, path: Path) -> int:
    """Write the days of an archive into a DuckDB file, in place of what was there; returns the rows of the log.

    Raises:
        NoExport: the file cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder, "new.duckdb")
        try:
            archive.execute(f"ATTACH {quoted(str(unfinished))} AS target")
            archive.execute("CREATE TABLE target.inference_log AS SELECT * FROM log ORDER BY ts")
            archive.execute("CREATE TABLE target.every_label AS SELECT * FROM every_label")
            count = int(archive.rows("SELECT count(*) FROM target.inference_log")[0][0])
            archive.execute("DETACH target")
            with duckdb.connect(str(unfinished)) as database:
                database.execute(LABELS_VIEW)
                database.execute(
                    "CREATE VIEW answers AS SELECT asked.*, known.label, known.observed_at FROM inference_log AS asked "
                    'LEFT JOIN labels AS known USING (request_id, "row")'
                )
                database.execute(f"CREATE VIEW daily AS {_daily('answers', _ROW)}")
        except duckdb.Error as error:
            raise NoExport("the file cannot be written") from error
        unfinished.replace(path)
    return count


def to_postgres(archive: Archive, store: Store, url: str) -> int:
    """Load the days of an archive into the schema `sabia` of a PostgreSQL; returns the rows of the log.

    What was there of this model and these days is replaced, in one transaction: whoever reads meanwhile sees all of
    before or all of after. A version with new features adds their columns.

    Raises:
        NoExport: the database does not take it. Nothing was changed.
    """
    columns = columns_of(store, archive.model)
    try:
        with psycopg.connect(url, connect_timeout=10) as connection, tempfile.TemporaryDirectory() as folder:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            # Two exports at once would meet in the middle.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('sabia export'))")
            _table(connection, "inference_log", columns)
            _table(connection, "every_label", LABEL_COLUMNS)
            counts = {}
            for name, source, of in (("inference_log", "log", columns), ("every_label", "every_label", LABEL_COLUMNS)):
                _empty(connection, name, archive)
                counts[name] = _copy(connection, archive, name, source, of, Path(folder))
            for statement in _postgres_views():
                connection.execute(statement)
            return counts["inference_log"]
    except psycopg.OperationalError as error:
        raise NoExport("the database cannot be reached, or does not let this user in") from error
    except psycopg.Error as error:
        told = error.diag.message_primary or type(error).__name__
        raise NoExport(f"the database says {told!r}") from error


def _table(connection: psycopg.Connection, name: str, columns: dict[str, Type]) -> None:
    table = sql.Identifier(SCHEMA, name)
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (model text NOT NULL, dt date NOT NULL)").format(table))
    for column, kind in columns.items():
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                table,
                sql.Identifier(column),
                sql.SQL(_TYPES["postgres"][kind]),
            )
        )
    for fields in (("model", "dt"), ("request_id",)):
        connection.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                sql.Identifier(f"{name}_{'_'.join(fields)}"), table, sql.SQL(", ").join(map(sql.Identifier, fields))
            )
        )


def _empty(connection: psycopg.Connection, name: str, archive: Archive) -> None:
    upper = sql.SQL(" AND dt <= {}").format(sql.Literal(archive.until)) if name == "inference_log" else sql.SQL("")
    connection.execute(
        sql.SQL("DELETE FROM {} WHERE model = {} AND dt >= {}").format(
            sql.Identifier(SCHEMA, name), sql.Literal(archive.model), sql.Literal(archive.since)
        )
        + upper
    )


def _copy(
    connection: psycopg.Connection,
    archive: Archive,
    name: str,
    source: str,
    columns: dict[str, Type],
    folder: Path,
) -> int:
    logged = archive.columns_in(source)
    present = [column for column in columns if column in logged]
    listed = ", ".join(f'"{column}"' for column in present)
    path = folder / f"{name}.csv"
    select = f"SELECT {quoted(archive.model)}, dt, {listed} FROM {source}"
    archive.execute(f"COPY ({select}) TO {quoted(str(path))} (FORMAT csv, HEADER false)")
    fields = sql.SQL(", ").join(map(sql.Identifier, ["model", "dt", *present]))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(SCHEMA, name), fields)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy, path.open("rb") as file:
            while data := file.read(1 << 20):
                copy.write(data)
        return cursor.rowcount


def _postgres_views() -> Iterable[sql.SQL]:
    # Columns may have been added; a view of all of them is made anew.
    yield sql.SQL("DROP VIEW IF EXISTS sabia.daily, sabia.answers, sabia.labels")
    yield sql.SQL(
        'CREATE VIEW sabia.labels AS SELECT DISTINCT ON (model, request_id, "row") model, request_id, "row", label, '
        "observed_at, added_at FROM sabia.every_label "
        f'ORDER BY model, request_id, "row", {LABEL_ORDER}'
    )
    yield sql.SQL(
        "CREATE VIEW sabia.answers AS SELECT asked.*, known.label, known.observed_at FROM sabia.inference_log AS asked "
        'LEFT JOIN sabia.labels AS known USING (model, request_id, "row")'
    )
    yield sql.SQL(f"CREATE VIEW sabia.daily AS {_daily('sabia.answers', _ROW)}")
