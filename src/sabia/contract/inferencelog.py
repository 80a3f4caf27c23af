"""The inference log and the labels: keys and columns. Predictors write the log, monitoring reads it.

```
inference-log/v1/model=<name>/dt=<YYYY-MM-DD>/<server>-<uuid>.parquet    one row for each row of a request
labels/v1/model=<name>/dt=<YYYY-MM-DD>/<uuid>.parquet                    ground truth, by request id
reports/v1/model=<name>/dt=<YYYY-MM-DD>/<HHMMSS>.html, .json             reports
```

Keys are partitioned in Hive's layout, with the same partitions in the same order everywhere: an engine that knows it
prunes by model and day. The day of a log file is the one, in UTC, on which its requests arrived; that of a label file
is the one on which the labels were added, which may be much later. Files are written once and never changed.

The version is a column, because versions of a model are compared more often than read alone. Every feature has a
column, named so that no engine needs quotes: see `feature_columns`.

This layout is a format. To change it, increment `v1` and keep reading the old one; a new nullable column is not a
change.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sabia.contract.layout import check_model_name

LOG = "inference-log/v1"
LABELS = "labels/v1"
REPORTS = "reports/v1"


class Type(StrEnum):
    """The type of a column."""

    STRING = "string"
    INTEGER = "integer"  # 64 bits
    DOUBLE = "double"
    TIME = "time"  # microseconds, UTC


# `row` is the index of a row in its request, from 0. `ts` is the arrival of the request's head, `latency_us` the time
# from then to the response. A request with an error response has one row, with the message in `error` and neither
# prediction nor features. `sample_rate` is the share of requests that is logged: a count is a sum of 1 / sample_rate.
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
    "error": Type.STRING,
    "sample_rate": Type.DOUBLE,
}

# `observed_at` is the time of the observation, `added_at` that of adding the label to the store. If a row has several
# labels, the one observed last counts, then the one added last.
LABEL_COLUMNS: dict[str, Type] = {
    "request_id": Type.STRING,
    "row": Type.INTEGER,
    "label": Type.DOUBLE,
    "observed_at": Type.TIME,
    "added_at": Type.TIME,
}

# The columns in the keys.
PARTITIONS = ("model", "dt")

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
        column, number = plain, 1
        while column in taken:
            number += 1
            column = f"{plain}_{number}"
        taken.add(column)
        columns[name] = column
    return columns


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
