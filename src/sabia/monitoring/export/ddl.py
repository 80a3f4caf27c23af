"""DDL for query engines that read the files in the store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sabia.contract.inferencelog import LABEL_COLUMNS, LABELS, LOG, Type, day_of, labels_prefix, log_prefix
from sabia.monitoring.export.columns import columns_of, exported, role_of
from sabia.monitoring.sql import LABEL_ORDER, ROW, daily, quoted
from sabia.store.objects import Store

ENGINES = ("athena", "bigquery", "redshift", "trino")
_TYPES: dict[str, dict[Type, str]] = {
    "athena": {
        Type.STRING: "string",
        Type.INTEGER: "bigint",
        Type.DOUBLE: "double",
        Type.BOOLEAN: "boolean",
        Type.TIME: "timestamp",
        Type.FLOATS: "array<float>",
        Type.DOUBLES: "array<double>",
    },
    "bigquery": {
        Type.STRING: "STRING",
        Type.INTEGER: "INT64",
        Type.DOUBLE: "FLOAT64",
        Type.BOOLEAN: "BOOL",
        Type.TIME: "TIMESTAMP",
        Type.FLOATS: "ARRAY<FLOAT64>",
        Type.DOUBLES: "ARRAY<FLOAT64>",
    },
    "redshift": {
        Type.STRING: "varchar(65535)",
        Type.INTEGER: "bigint",
        Type.DOUBLE: "double precision",
        Type.BOOLEAN: "boolean",
        Type.TIME: "timestamp",
        Type.FLOATS: "array<real>",
        Type.DOUBLES: "array<double precision>",
    },
    "trino": {
        Type.STRING: "varchar",
        Type.INTEGER: "bigint",
        Type.DOUBLE: "double",
        Type.BOOLEAN: "boolean",
        Type.TIME: "timestamp(6) with time zone",
        Type.FLOATS: "array(real)",
        Type.DOUBLES: "array(double)",
    },
}


def ddl(store: Store, model: str, engine: str, location: str | None = None) -> str:
    """The statements that define a model's log and labels in an engine.

    Args:
        store: the store of the log, and of the manifests that define its columns.
        model: which model.
        engine: one of `ENGINES`.
        location: the store's root as the engine knows it; the store's URL by default.
    """
    root = (location or store.url).rstrip("/") + "/"
    write = {"athena": _athena, "bigquery": _bigquery, "redshift": _redshift, "trino": _trino}[engine]
    columns = columns_of(store, model)
    tables = [
        ("inference_log", LOG, columns, log_prefix(model)),
        ("every_label", LABELS, LABEL_COLUMNS, labels_prefix(model)),
    ]
    parts = [
        write(name, f"{root}{prefix}/", of, model, _days(store, of_model)) for name, prefix, of, of_model in tables
    ]
    return "\n".join([*parts, *_views(engine, exported(columns, longest=None), quoted(role_of(store, model)))])


def _days(store: Store, prefix: str) -> list[date]:
    return sorted({day for entry in store.list(prefix) if (day := day_of(entry.key)) is not None})


def _column_list(columns: dict[str, Type], engine: str, quote: str) -> str:
    return ",\n".join(f"  {quote}{name}{quote} {_TYPES[engine][kind]}" for name, kind in columns.items())


def _athena(name: str, place: str, columns: dict[str, Type], model: str, days: list[date]) -> str:
    """Partition projection: no crawler, and nothing to update for a new day."""
    first = days[0].isoformat() if days else "2026-01-01"
    return f"""CREATE EXTERNAL TABLE IF NOT EXISTS {name} (
{_column_list(columns, "athena", "`")}
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
{_column_list(columns | {"model": Type.STRING}, "trino", '"')},
  "dt" date
)
WITH (
  format = 'PARQUET',
  external_location = {quoted(place)},
  partitioned_by = ARRAY['model', 'dt']
);
-- To add new days: CALL system.sync_partition_metadata(CURRENT_SCHEMA, '{name}', 'ADD')
"""


def _redshift(name: str, place: str, columns: dict[str, Type], model: str, days: list[date]) -> str:
    partitions = "".join(
        f"ALTER TABLE spectrum.{name} ADD IF NOT EXISTS PARTITION (model={quoted(model)}, dt='{day}') "
        f"LOCATION {quoted(f'{place}model={model}/dt={day}/')};\n"
        for day in days
    )
    return f"""CREATE EXTERNAL TABLE spectrum.{name} (
{_column_list(columns, "redshift", '"')}
)
PARTITIONED BY ("model" varchar(40), "dt" date)
STORED AS PARQUET
LOCATION {quoted(place)};
{partitions}"""


def _bigquery(name: str, place: str, columns: dict[str, Type], model: str, days: list[date]) -> str:
    del model, days
    return f"""CREATE EXTERNAL TABLE IF NOT EXISTS sabia.{name} (
{_column_list(columns, "bigquery", "`")}
)
WITH PARTITION COLUMNS (
  model STRING,
  dt DATE
)
OPTIONS (
  format = 'PARQUET',
  enable_list_inference = true,
  uris = [{quoted(place + "*.parquet")}],
  hive_partition_uri_prefix = {quoted(place.rstrip("/"))}
);
"""


_SOURCES = {"bigquery": "sabia.", "redshift": "spectrum.", "trino": "", "athena": ""}


def _views(engine: str, names: dict[str, str], role: str) -> Iterable[str]:
    source, target = _SOURCES[engine], "sabia." if engine == "bigquery" else ""
    row = "`row`" if engine == "bigquery" else ROW
    quote = "`" if engine == "bigquery" else '"'
    # A file's columns have their own names; in the view they get those that do not clash with a label's.
    logged = "log.*"
    if any(column != name for column, name in names.items()):
        renamed = (f"log.{quote}{column}{quote} AS {quote}{name}{quote}" for column, name in names.items())
        logged = ", ".join([*renamed, "log.model", "log.dt"])
    end = " WITH NO SCHEMA BINDING" if engine == "redshift" else ""
    yield f"""CREATE OR REPLACE VIEW {target}labels AS
SELECT request_id, {row}, label, class, observed_at, added_at, model
FROM (
  SELECT *, row_number() OVER (
    PARTITION BY model, request_id, {row} ORDER BY {LABEL_ORDER}
  ) AS place
  FROM {source}every_label
) AS numbered
WHERE place = 1{end};
"""
    yield f"""CREATE OR REPLACE VIEW {target}responses AS
SELECT {logged}, truth.label, truth.class, truth.observed_at
FROM {source}inference_log AS log
LEFT JOIN {target}labels AS truth
ON truth.model = log.model AND truth.request_id = log.request_id AND truth.{row} = log.{row}{end};
"""
    yield f"""CREATE OR REPLACE VIEW {target}daily AS
{daily(f"{target}responses", role, row)}{end};
"""
