"""The inference log and the labels: keys and columns. Predictors write the log, monitoring reads it.

```
inference-log/v1/model=<name>/dt=<YYYY-MM-DD>/<server>-<uuid>.parquet    one row for each row of a request
labels/v1/model=<name>/dt=<YYYY-MM-DD>/<uuid>.parquet                    ground truth, by request id
reports/v1/model=<name>/dt=<YYYY-MM-DD>/<HHMMSS>.html, .json             reports
```

Keys are partitioned in Hive's layout, with the same partitions in the same order everywhere: an engine that knows it
prunes by model and day. The day of a log file is the one, in UTC, on which its requests arrived; that of a label file
is the one on which the labels were added, which may be much later. Files are written once and never changed.

The version is a column, because versions of a model are compared more often than read alone. Every input has a column,
named so that no engine needs quotes (`feature_columns`) and of a type that follows from the signature (`input_type`).
What the primary output predicted is in one of four columns, by its kind (`prediction_columns`).

This layout is a format. To change it, increment `v1` and keep reading the old one; a new nullable column is not a
change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from hashlib import sha256
from math import prod
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.contract.layout import check_model_name
from sabia.contract.signature import Input, Output, Signature

LOG = "inference-log/v1"
LABELS = "labels/v1"
REPORTS = "reports/v1"


class Type(StrEnum):
    """The type of a column."""

    STRING = "string"
    INTEGER = "integer"  # 64 bits
    DOUBLE = "double"
    BOOLEAN = "boolean"
    TIME = "time"  # microseconds, UTC
    FLOATS = "floats"  # a list of 32-bit floats
    DOUBLES = "doubles"  # a list of 64-bit floats


# Longer tensors and vectors are logged as a digest; see `digest`.
LISTED_VALUES = 64

# `row` is the index of a row in its request, from 0. `ts` is the arrival of the request's head, `latency_us` the time
# from then to the response. A request with an error response has one row, with the message in `error` and neither
# prediction nor features. `sample_rate` is the share of requests that is logged: a count is a sum of 1 / sample_rate.
# Files that were written before a nullable column existed lack it.
LOG_COLUMNS: dict[str, Type] = {
    "request_id": Type.STRING,
    "row": Type.INTEGER,
    "ts": Type.TIME,
    "version": Type.STRING,
    "server": Type.STRING,
    "route": Type.STRING,
    "status": Type.INTEGER,
    "latency_us": Type.INTEGER,
    "prediction": Type.DOUBLE,
    "predicted_class": Type.STRING,
    "scores": Type.FLOATS,
    "prediction_digest": Type.STRING,
    "error": Type.STRING,
    "sample_rate": Type.DOUBLE,
}

# A label is a number in `label`, the name of a class in `class`, or both: a class may be a number, and where a model
# predicts the probability of the second of two classes, `label` is 1 for it and 0 for the first. `observed_at` is the
# time of the observation, `added_at` that of adding the label to the store. If a row has several labels, the one
# observed last counts, then the one added last. Files that were written before `class` existed lack it.
LABEL_COLUMNS: dict[str, Type] = {
    "request_id": Type.STRING,
    "row": Type.INTEGER,
    "label": Type.DOUBLE,
    "class": Type.STRING,
    "observed_at": Type.TIME,
    "added_at": Type.TIME,
}

# In a file's metadata: the columns that its server's settings leave empty, as a JSON list. Any other column that is
# empty had no value in any row. Files that were written before this key existed lack it.
REDACTED = "sabia.redacted"

# The columns in the keys.
PARTITIONS = ("model", "dt")

# The type of a column of single values. Bytes are logged as a digest.
_VALUE_TYPES = {
    "float64": Type.DOUBLE,
    "float32": Type.DOUBLE,
    "int64": Type.INTEGER,
    "bool": Type.BOOLEAN,
    "string": Type.STRING,
    "timestamp": Type.TIME,
}

_SEPARATORS = re.compile(r"[^a-z0-9]+")
_SERVER = re.compile(r"[^A-Za-z0-9.]+")


def feature_columns(names: Iterable[str]) -> dict[str, str]:
    """The column of each feature: its name in lower case, with one `_` for each run of other characters.

    A name that is then empty, starts with a digit or is the name of another column gets the prefix `feature_`. If two
    features would share a column, the second gets the suffix `_2`, and so on, in the order of the names, which is that
    of the manifest.
    """
    taken = {*LOG_COLUMNS, *PARTITIONS}
    columns: dict[str, str] = {}
    for name in names:
        plain = _SEPARATORS.sub("_", name.lower()).strip("_")
        if not plain or plain[0].isdigit() or plain in {*LOG_COLUMNS, *PARTITIONS}:
            plain = f"feature_{plain}".rstrip("_")
        columns[name] = take(plain, taken)
    return columns


def take(name: str, taken: set[str]) -> str:
    """The name, or the first of `name_2`, `name_3`, … that is not taken; it is then."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


class InputColumn(NamedTuple):
    """The column of one input.

    Attributes:
        digest: whether the column has the sha256 of each value instead of the value.
    """

    name: str
    type: Type
    digest: bool


def input_columns(inputs: Iterable[Input]) -> dict[str, InputColumn]:
    """The columns of the inputs, by input and in their order; inputs with `log: none` have none."""
    inputs = list(inputs)
    names = feature_columns(each.name for each in inputs)
    return {each.name: _input_column(names[each.name], each) for each in inputs if each.log != "none"}


def _input_column(name: str, each: Input) -> InputColumn:
    kind = Type.STRING if each.log == "hash" else _VALUE_TYPES.get(each.dtype) if each.is_scalar else _list_type(each)
    return InputColumn(name, kind or Type.STRING, each.log == "hash" or kind is None)


def _list_type(each: Input | Output) -> Type | None:
    """The type of a column of short lists of numbers; None where a value may be too long, or is not numbers."""
    lengths = each.shape[1:]
    if isinstance(each, Output) and each.classes and len(lengths) == 1:
        lengths = [len(each.classes)]
    if each.dtype not in ("float64", "float32", "int64") or None in lengths:
        return None
    return Type.DOUBLES if prod(length or 1 for length in lengths) <= LISTED_VALUES else None


def digest(value: str | bytes | NDArray[np.generic]) -> str:
    """The sha256 of a value, in hexadecimal: of a text's UTF-8, of an array's bytes, little-endian and in C order.

    An array of strings is hashed as its JSON. A digest finds equal values; a value that can be guessed is not hidden.
    """
    if not isinstance(value, np.ndarray):
        return sha256(value.encode() if isinstance(value, str) else value).hexdigest()
    if value.dtype.kind == "O":
        return sha256(msgspec.json.encode(value.tolist())).hexdigest()
    # Not copied where the array has that form.
    flat = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).reshape(-1)
    return sha256(flat.view(np.uint8).data).hexdigest()


class PredictionColumns(NamedTuple):
    """Which outputs are in which column of the log; None where a column stays empty.

    Attributes:
        prediction: an output of one number.
        predicted_class: a label.
        scores: the class probabilities, a vector, or, of several outputs of one number, all of them.
        digest: a primary output that no other column holds.
    """

    prediction: str | None = None
    predicted_class: str | None = None
    scores: tuple[str, ...] = ()
    digest: str | None = None


def prediction_columns(signature: Signature) -> PredictionColumns:
    """The columns of the outputs.

    `prediction` has the primary output if its role is probability or value, `predicted_class` if it is label. `scores`
    has the first class probabilities; without them a primary vector of at most `LISTED_VALUES`; without it the outputs
    of role value if there are several, in the order of the signature. A primary output that is in none of them is in
    `prediction_digest`.
    """
    primary = signature.primary_output
    number = primary.name if primary.role in ("probability", "value") else None
    label = primary.name if primary.role == "label" else None
    values = tuple(each.name for each in signature.outputs if each.role == "value")
    probabilities = [each for each in signature.outputs if each.role == "class-probabilities"]
    lists = [*probabilities, primary] if primary.role == "vector" else probabilities
    scores: tuple[str, ...] = next(((each.name,) for each in lists if _list_type(each) is not None), ())
    if not scores and 1 < len(values) <= LISTED_VALUES:
        scores = values
    held = {number, label, *scores}
    return PredictionColumns(number, label, scores, None if primary.name in held else primary.name)


def log_columns(signature: Signature) -> dict[str, Type]:
    """Every column of a version's log and its type, in the order of the files."""
    return LOG_COLUMNS | {column.name: column.type for column in input_columns(signature.inputs).values()}


def log_prefix(model: str, day: date | None = None) -> str:
    """The prefix of a model's log, of one day or of all."""
    return _prefix(LOG, model, day)


def labels_prefix(model: str, day: date | None = None) -> str:
    """The prefix of a model's labels, of one day or of all."""
    return _prefix(LABELS, model, day)


def log_key(model: str, day: date, server: str, unique: UUID) -> str:
    """The key of one file of the log."""
    return f"{log_prefix(model, day)}{_SERVER.sub('-', server).strip('-') or 'server'}-{unique}.parquet"


def labels_key(model: str, day: date, unique: UUID) -> str:
    """The key of one file of labels."""
    return f"{labels_prefix(model, day)}{unique}.parquet"


def report_keys(model: str, made_at: datetime) -> tuple[str, str]:
    """The keys of a report generated at this time, in UTC: its page, and the same as JSON."""
    prefix = f"{_prefix(REPORTS, model, made_at.date())}{made_at:%H%M%S}"
    return f"{prefix}.html", f"{prefix}.json"


def day_of(key: str) -> date | None:
    """The day in a key; None if it is not a key of a log or of labels."""
    for part in key.split("/"):
        name, separator, value = part.partition("=")
        if name == "dt" and separator:
            try:
                return date.fromisoformat(value)
            except ValueError:
                return None
    return None


def _prefix(root: str, model: str, day: date | None) -> str:
    prefix = f"{root}/model={check_model_name(model)}/"
    return prefix if day is None else f"{prefix}dt={day.isoformat()}/"
