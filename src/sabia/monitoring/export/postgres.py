"""A period of the log in a schema of a PostgreSQL."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import duckdb
import psycopg
from psycopg import sql

from sabia.contract.inferencelog import LABEL_COLUMNS, Type
from sabia.monitoring.archive import Archive
from sabia.monitoring.errors import NoExport
from sabia.monitoring.export.columns import columns_of, exported, role_of
from sabia.monitoring.sql import LABEL_ORDER, daily, quoted
from sabia.store.objects import Store

SCHEMA = "sabia"
_TYPES: dict[Type, str] = {
    Type.STRING: "text",
    Type.INTEGER: "bigint",
    Type.DOUBLE: "double precision",
    Type.BOOLEAN: "boolean",
    Type.TIME: "timestamptz",
    Type.FLOATS: "real[]",
    Type.DOUBLES: "double precision[]",
}


def to_postgres(archive: Archive, store: Store, url: str) -> int:
    """Load an archive into the schema `sabia` of a PostgreSQL database and return the number of its log rows.

    Replaces the rows of this model and these days in one transaction: concurrent readers see all of the old or all of
    the new rows. A version with new features adds their columns.

    Raises:
        NoExport: the database cannot be reached or rejects the export. Nothing was changed.
    """
    columns = columns_of(store, archive.model)
    names = exported(columns)
    try:
        with psycopg.connect(url, connect_timeout=10) as connection, tempfile.TemporaryDirectory() as folder:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            # Concurrent exports would interleave.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('sabia export'))")
            _table(connection, "inference_log", columns, names)
            _table(connection, "every_label", LABEL_COLUMNS, {})
            _set_role(connection, archive.model, role_of(store, archive.model))
            counts = {}
            for name, source, of in (("inference_log", "log", columns), ("every_label", "every_label", LABEL_COLUMNS)):
                _delete(connection, name, archive)
                renamed = names if of is columns else {}
                counts[name] = _copy(connection, archive, name, source, of, renamed, Path(folder))
            for statement in _postgres_views():
                connection.execute(statement)
            return counts["inference_log"]
    except psycopg.Error as error:
        # An error of the connection alone has no report of the database. A full disk, too many columns and a timeout
        # are of the same class and have one.
        if isinstance(error, psycopg.OperationalError) and error.diag.message_primary is None:
            raise NoExport("the database cannot be reached or rejects the user") from error
        message = error.diag.message_primary or type(error).__name__
        raise NoExport(f"the database reported {message!r}") from error
    except duckdb.Error as error:
        raise NoExport("a copy of the log cannot be written on this machine: the disk or the memory is full") from error


def _set_role(connection: psycopg.Connection, model: str, role: str) -> None:
    """Record what the model predicts: the view of all models compares labels accordingly."""
    connection.execute("CREATE TABLE IF NOT EXISTS sabia.models (model text PRIMARY KEY, role text NOT NULL)")
    connection.execute(
        "INSERT INTO sabia.models VALUES (%s, %s) ON CONFLICT (model) DO UPDATE SET role = excluded.role",
        (model, role),
    )


def _table(connection: psycopg.Connection, name: str, columns: dict[str, Type], names: Mapping[str, str]) -> None:
    table = sql.Identifier(SCHEMA, name)
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (model text NOT NULL, dt date NOT NULL)").format(table))
    for column, kind in columns.items():
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                table,
                sql.Identifier(names.get(column, column)),
                sql.SQL(_TYPES[kind]),
            )
        )
    for fields in (("model", "dt"), ("request_id",)):
        connection.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(
                sql.Identifier(f"{name}_{'_'.join(fields)}"), table, sql.SQL(", ").join(map(sql.Identifier, fields))
            )
        )


def _delete(connection: psycopg.Connection, name: str, archive: Archive) -> None:
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
    names: Mapping[str, str],
    folder: Path,
) -> int:
    logged = archive.columns_in(source)
    present = [column for column in columns if column in logged]
    listed = ", ".join(_as_csv(column, columns[column]) for column in present)
    path = folder / f"{name}.csv"
    select = f"SELECT {quoted(archive.model)}, dt, {listed} FROM {source}"
    archive.execute(f"COPY ({select}) TO {quoted(str(path))} (FORMAT csv, HEADER false)")
    fields = sql.SQL(", ").join(
        map(sql.Identifier, ["model", "dt", *(names.get(column, column) for column in present)])
    )
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(sql.Identifier(SCHEMA, name), fields)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy, path.open("rb") as file:
            while data := file.read(1 << 20):
                copy.write(data)
        return cursor.rowcount


def _as_csv(column: str, kind: Type) -> str:
    """The expression whose text PostgreSQL reads as a value of this type."""
    if kind in (Type.FLOATS, Type.DOUBLES):
        return f"""'{{' || array_to_string("{column}", ',') || '}}'"""
    return f'"{column}"'


def _postgres_views() -> Iterable[sql.SQL]:
    # Columns may have been added; the view of all of them is created again.
    yield sql.SQL("DROP VIEW IF EXISTS sabia.daily, sabia.responses, sabia.labels")
    yield sql.SQL(
        'CREATE VIEW sabia.labels AS SELECT DISTINCT ON (model, request_id, "row") model, request_id, "row", label, '
        "class, observed_at, added_at FROM sabia.every_label "
        f'ORDER BY model, request_id, "row", {LABEL_ORDER}'
    )
    yield sql.SQL(
        "CREATE VIEW sabia.responses AS SELECT log.*, truth.label, truth.class, truth.observed_at, models.role "
        "FROM sabia.inference_log AS log LEFT JOIN sabia.models USING (model) "
        'LEFT JOIN sabia.labels AS truth USING (model, request_id, "row")'
    )
    yield sql.SQL(f"CREATE VIEW sabia.daily AS {daily('sabia.responses', 'role')}")
