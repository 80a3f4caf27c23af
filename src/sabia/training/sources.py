"""The tables of a recipe on this machine, for DuckDB to read.

Remote files are downloaded by the store's own client, and PostgreSQL is read by its own driver, so that a pod without
a way to DuckDB's extensions reads both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import duckdb
import requests

from sabia.store.errors import StoreError
from sabia.store.objects import Store
from sabia.training.data import Option, Source
from sabia.training.errors import InvalidData

# Credentials of the data, where they are not those of the store to publish to: `SABIA_DATA_AWS_ACCESS_KEY_ID`, ...
PREFIX = "SABIA_DATA_"
_HTTP_SECONDS = 60
_READERS = {"csv": "read_csv", "json": "read_json", "parquet": "read_parquet"}
# A type decided by a sample may not hold for a later row.
_OPTIONS: Mapping[str, dict[str, Option]] = {"csv": {"sample_size": -1}, "json": {"sample_size": -1}, "parquet": {}}
_WILDCARD = re.compile(r"[*?\[]")
# By PostgreSQL's object identifiers of types, which never change. Any other type is read as text.
_POSTGRESQL_TYPES = {
    16: "BOOLEAN",
    20: "BIGINT",
    21: "BIGINT",
    23: "BIGINT",
    700: "FLOAT",
    701: "DOUBLE",
    1082: "TIMESTAMP",
    1114: "TIMESTAMP",
    1184: "TIMESTAMP WITH TIME ZONE",
    1700: "DOUBLE",
}


def attach(database: duckdb.DuckDBPyConnection, name: str, source: Source, *, recipe: Path, temporary: Path) -> None:
    """Make the view `name` of a source.

    A relative path starts from the folder `recipe`; downloads are written to `temporary`, which must outlive the view.

    Raises:
        InvalidData: the source cannot be read.
    """
    if source.is_postgresql:
        reader = _postgresql(source, name, temporary)
    else:
        paths = [str(path) for path in _files(source, name, recipe, temporary)]
        options = _OPTIONS[source.kind or "csv"] | {"union_by_name": True} | source.options
        arguments = [_literal(paths), *(f"{option} = {_literal(value)}" for option, value in options.items())]
        reader = f"{_READERS[source.kind or 'csv']}({', '.join(arguments)})"
    database.execute(f'CREATE VIEW "{name}" AS FROM {reader}')


def _files(source: Source, name: str, recipe: Path, temporary: Path) -> list[Path]:
    if source.scheme in ("", "file"):
        path = unquote(urlsplit(source.url).path) if source.scheme else source.url
        files = _glob(recipe / path) if _WILDCARD.search(path) else [recipe / path]
    elif source.scheme in ("http", "https"):
        files = [_download(source, name, temporary)]
    else:
        files = _fetch(source, name, temporary)
    if not files or not all(file.is_file() for file in files):
        raise InvalidData(f"source {name!r} has no file {source.public_url}")
    return files


def _glob(path: Path) -> list[Path]:
    # `Path.glob` takes a relative pattern.
    return sorted(file for file in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if file.is_file())


def _fetch(source: Source, name: str, temporary: Path) -> list[Path]:
    parts = urlsplit(source.url)
    pattern = unquote(parts.path).lstrip("/")
    files = []
    try:
        store = Store.open(f"{parts.scheme}://{parts.netloc}", environment=_environment(os.environ))
        for key in sorted(_keys(store, pattern)):
            files.append(temporary / name / key)
            files[-1].parent.mkdir(parents=True, exist_ok=True)
            with files[-1].open("wb") as file:
                file.writelines(store.pieces(key))
    except StoreError as error:
        raise InvalidData(f"source {name!r} cannot be read: {str(error).rstrip('.')}") from error
    return files


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables for the data, which take precedence over those for the store."""
    return {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}


def _keys(store: Store, pattern: str) -> Iterable[str]:
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        return [pattern]
    matches = glob_pattern(pattern)
    folder = pattern[: wildcard.start()].rpartition("/")[0]
    return [entry.key for entry in store.list(f"{folder}/" if folder else "") if matches.fullmatch(entry.key)]


def glob_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern of keys: `*` and `?` stay within a folder, `**/` is any number of them."""
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(words.get(part) or re.escape(part) for part in parts))


def _download(source: Source, name: str, temporary: Path) -> Path:
    path = temporary / name / Path(urlsplit(source.url).path).name
    path.parent.mkdir()
    try:
        with requests.get(source.url, stream=True, timeout=_HTTP_SECONDS) as response, path.open("wb") as file:
            if not response.ok:
                raise InvalidData(f"source {name!r} cannot be read: its server answered {response.status_code}")
            for piece in response.iter_content(2**20):
                file.write(piece)
    except requests.RequestException as error:
        raise InvalidData(f"source {name!r} cannot be read: its server cannot be reached") from error
    return path


def _postgresql(source: Source, name: str, temporary: Path) -> str:
    """Copy the rows of the query into a CSV file, and return the reader that gives them their types."""
    try:
        import psycopg  # noqa: PLC0415  only some recipes need it
        from psycopg import sql  # noqa: PLC0415
    except ImportError as error:
        raise InvalidData(f"source {name!r} needs the driver of PostgreSQL: pip install 'sabia[training]'") from error
    path = temporary / f"{name}.csv"
    query = sql.SQL((source.query or "").strip().rstrip(";"))
    try:
        with psycopg.connect(source.url, connect_timeout=10) as connection, path.open("wb") as file:
            connection.read_only = True
            cursor = connection.cursor()
            cursor.execute("SET LOCAL TIME ZONE 'UTC'; SET LOCAL datestyle = 'ISO'")
            cursor.execute(sql.SQL("SELECT * FROM ({}) AS rows LIMIT 0").format(query))
            columns = {
                column.name: _POSTGRESQL_TYPES.get(column.type_code, "VARCHAR") for column in cursor.description or ()
            }
            with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)) as copy:
                for piece in copy:
                    file.write(piece)
    except psycopg.OperationalError as error:
        raise InvalidData(f"source {name!r}: the database cannot be reached or rejects the user") from error
    except psycopg.Error as error:
        message = error.diag.message_primary or type(error).__name__
        raise InvalidData(f"source {name!r}: the database reported {message!r}") from error
    types = ", ".join(f"{_literal(column)}: {_literal(kind)}" for column, kind in columns.items())
    # A quoted empty text is a text; without quotes it is a null.
    return (
        f"read_csv({_literal(str(path))}, auto_detect = false, header = false, columns = {{{types}}}, delim = ',', "
        "quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false)"
    )


def _literal(value: Option | list[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_literal(each) for each in value)}]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value).lower()
