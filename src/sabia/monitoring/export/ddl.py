"""DDL for query engines that read the files in the store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from sabia.contract.inferencelog import LABEL_COLUMNS, LABELS, LOG, Type, day_of, labels_prefix, log_prefix
from sabia.monitoring.export.columns import columns_of
from sabia.monitoring.sql import LABEL_ORDER, ROW, daily, quoted
from sabia.store.objects import Store

ENGINES = ("athena", "bigquery", "redshift", "trino")
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
}


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
    row = "`row`" if engine == "bigquery" else ROW
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
{daily(f"{after}answers", row)}{end};
"""
