"""Files of labels: every value is read as it was written, or refused with its line. No type is guessed.

A CSV file is RFC 4180: commas, a header, doubled quotes. A line of JSON is one object without repeated keys. A file is
opened by its exact name: wildcards in it are not a pattern, and the folders above it are not columns.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sabia.monitoring.errors import InvalidLabels

# The columns that are read, all as text: of a label its exact text, whatever it means.
REQUIRED = ("request_id", "label")
OPTIONAL = ("row", "observed_at")
_COLUMNS = (*REQUIRED, *OPTIONAL)
SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")

_TEXT = pa.string()
_CHUNK_ROWS = 100_000
# A cell is a request id, a label, or a column that is not read; 1 MiB is longer than any of them.
_MOST_CELL = 1 << 20
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,9}))?(?: ?(Z|[+-]\d{2}(?::?\d{2})?))?)?",
    re.ASCII | re.IGNORECASE,
)
# Half of a character, which JSON can write and no other text can.
_SURROGATE = re.compile("[\ud800-\udfff]")
_INDEX = re.compile(r"\+?\d{1,18}(?:\.0*)?", re.ASCII)


def read(path: Path) -> pa.Table:
    """The label columns of a file, as text; a cell without a value is null.

    Returns:
        `request_id` and `label`, and `row` and `observed_at` if the file has them, each string of shape (rows,).

    Raises:
        InvalidLabels: its format is not one of these, it lacks a column, or a line cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidLabels(f"the name of a file of labels ends with one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InvalidLabels("the file does not exist")
    reader: Callable[[Path], pa.Table] = {".parquet": _parquet, ".csv": _csv}.get(suffix, _json_lines)
    try:
        return reader(path)
    except OSError as error:
        raise InvalidLabels(f"the file cannot be read ({error.strerror or suffix})") from error


def time_of(text: str) -> datetime:
    """A date, or a date and a time, as RFC 3339 and ISO 8601 write them; in UTC where it has no time zone.

    Raises:
        ValueError: it is anything else.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, clock, fraction, zone = match.groups()
    written = f"{day}T{clock or '00:00'}" + (f".{fraction[:6]:0<6}" if fraction and clock.count(":") > 1 else "")
    if fraction and clock.count(":") < 2:
        raise ValueError(text)
    found = datetime.fromisoformat(written + (zone or "Z").upper())
    return found.astimezone(UTC)


def index_of(text: str) -> int:
    """The index of a row: a whole number from 0 on; spreadsheets and data frames write 1 as 1.0.

    Raises:
        ValueError: it is anything else.
    """
    if _INDEX.fullmatch(text) is None:
        raise ValueError(text)
    return int(text.partition(".")[0])


def _csv(path: Path) -> pa.Table:
    csv.field_size_limit(_MOST_CELL)
    # A byte-order mark, which spreadsheets write, is no part of the first name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, strict=True)
        try:
            header = next(lines, [])
            at = _positions(header)
            return _table(list(at), _cells(lines, at, len(header)))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidLabels(f"the file cannot be read as .csv, near line {max(lines.line_num, 1)}") from error


def _cells(lines: Iterator[list[str]], at: dict[str, int], width: int) -> Iterator[list[str | None]]:
    number = 0
    for cells in lines:
        if not cells:  # an empty line
            continue
        number += 1
        if len(cells) != width:
            raise InvalidLabels(f"{len(cells)} cells under a header of {width}, in line {number} of the data")
        yield [cells[position] or None for position in at.values()]


def _json_lines(path: Path) -> pa.Table:
    names: list[str] = []
    with path.open("rb") as file:
        objects = _objects(file)
        first = next(objects, None)
        if first is not None:
            names = list(_positions(list(first)))
            return _table(names, _values(first, objects, names))
    raise InvalidLabels(f"the file has no column {REQUIRED[0]!r}")


def _objects(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    number = 0
    for line in lines:
        if not line.strip():
            continue
        number += 1
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            found = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_Written)
        except (ValueError, RecursionError) as error:
            raise InvalidLabels(f"the file cannot be read as .jsonl, in line {number} of the data") from error
        if not isinstance(found, dict):
            raise InvalidLabels(f"the file cannot be read as .jsonl, in line {number} of the data")
        yield found


class _Written(str):
    """A JSON number with a fraction or an exponent, as it was written."""

    __slots__ = ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _values(first: dict[str, Any], rest: Iterator[dict[str, Any]], names: list[str]) -> Iterator[list[str | None]]:
    for number, found in enumerate(chain([first], rest), 1):
        if found.keys() & {*_COLUMNS} != {*names}:
            other = min(found.keys() & {*_COLUMNS} ^ {*names})
            raise InvalidLabels(f"{other!r} is in some lines and not in others, in line {number} of the data")
        yield [_json_text(name, found[name], number) for name in names]


def _json_text(name: str, value: object, number: int) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) and name == "label":
        return str(value).lower()
    if isinstance(value, _Written) and name in ("label", "row"):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and name != "observed_at":
        return str(value)
    if isinstance(value, str) and not isinstance(value, _Written) and not _SURROGATE.search(value):
        return value
    raise InvalidLabels(f"{name} is of the wrong type, or not text, in line {number} of the data")


def _parquet(path: Path) -> pa.Table:
    try:
        # The file itself, not a data set: the names of folders above it are no columns of it.
        with pq.ParquetFile(path) as file:
            names = list(_positions(file.schema_arrow.names))
            table = file.read(columns=names)
        table.validate(full=True)
    except pa.ArrowException as error:
        raise InvalidLabels("the file cannot be read as .parquet") from error
    return pa.table({name: _arrow_text(name, table[name].combine_chunks()) for name in names})


def _arrow_text(name: str, values: Any) -> Any:
    """A column of Parquet as text; the numbers of whole floats have no fraction."""
    if isinstance(values.type, pa.BaseExtensionType):
        values = values.storage
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _arrow_text(name, values.dictionary_decode())
    if pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        text = values.cast(_TEXT)
        return pc.if_else(pc.equal(text, ""), pa.scalar(None, _TEXT), text)
    if name == "request_id" and pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16:
        return pc.replace_substring_regex(
            pa.array([None if value is None else value.hex() for value in values.to_pylist()], _TEXT),
            "^(.{8})(.{4})(.{4})(.{4})(.{12})$",
            r"\1-\2-\3-\4-\5",
        )
    if name == "observed_at" and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        moments = values.cast(
            pa.timestamp("us", tz="UTC") if getattr(kind, "tz", None) else pa.timestamp("us"), safe=False
        )
        return pa.array([None if each is None else each.isoformat() for each in moments.to_pylist()], _TEXT)
    whole, fractional = pa.types.is_integer(kind), pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if (whole and name != "observed_at") or (fractional and name in ("label", "row")):
        # Python writes a float as the shortest text that is the same float.
        return pa.array([_number_text(each) for each in values.to_pylist()], _TEXT)
    if pa.types.is_boolean(kind) and name == "label":
        return values.cast(_TEXT)
    raise InvalidLabels(f"the column {name!r} is of the wrong type ({kind})")


def _number_text(value: Any) -> str | None:
    # Data frames write a number that is missing as NaN.
    return None if value is None or value != value else str(value)  # noqa: PLR0124


def _positions(header: list[str]) -> dict[str, int]:
    """Where the columns that are read are."""
    for name in REQUIRED:
        if name not in header:
            raise InvalidLabels(f"the file has no column {name!r}")
    for name in _COLUMNS:
        if header.count(name) > 1:
            raise InvalidLabels(f"the file has the column {name!r} twice")
    return {name: header.index(name) for name in _COLUMNS if name in header}


def _table(names: list[str], rows: Iterator[list[str | None]]) -> pa.Table:
    """A table of text, made in parts, so that a file of millions of lines is not held as Python's strings."""
    schema = pa.schema([(name, _TEXT) for name in names])
    parts, held = [], []
    for row in rows:
        held.append(row)
        if len(held) == _CHUNK_ROWS:
            parts.append(_part(held, schema))
            held = []
    if held:
        parts.append(_part(held, schema))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _part(rows: list[list[str | None]], schema: pa.Schema) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)
