"""The inference log and the labels: where they lie, and what their columns are. Predictors write, monitoring reads.

```
inference-log/v1/model=<name>/dt=<YYYY-MM-DD>/<server>-<uuid>.parquet    one row for each row that was asked
labels/v1/model=<name>/dt=<YYYY-MM-DD>/<uuid>.parquet                    what turned out to be true, by request id
reports/v1/model=<name>/dt=<YYYY-MM-DD>/<HHMMSS>.html, .json             what was made of them
```

Keys are partitioned the way Hive does it, with the same keys in the same order everywhere, so that any engine that
knows Hive's layout prunes by model and day. A log's day is the one, in UTC, on which its requests arrived; a label's is
the one on which it was added, which may be much later. Files are written once and never changed.

The version is a column: two versions of a model are compared far more often than one is read alone. Features are
columns of their own, named so that no engine needs quotes: see `feature_columns`.

This layout is a format. To change it, count `v1` up and keep reading the old one; a new column that may be null is no
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
    """What a column holds."""

    STRING = "string"
    INTEGER = "integer"  # 64 bits
    DOUBLE = "double"
    TIME = "time"  # microseconds, UTC


# `row` is the place of a row in its request, from 0. `ts` is when the request's head had arrived; `latency_us` is what
# passed from then to its answer. A request that was refused has one row, with its sentence in `error` and neither
# prediction nor features. `sample_rate` is the share of requests that was logged: a count is a sum of 1 / sample_rate.
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

# `observed_at` is when the truth was known, `added_at` when it was added here. Of several labels of one row the one
# observed last counts, then the one added last.
LABEL_COLUMNS: dict[str, Type] = {
    "request_id": Type.STRING,
    "row": Type.INTEGER,
    "label": Type.DOUBLE,
    "observed_at": Type.TIME,
    "added_at": Type.TIME,
}

# The columns that the keys give.
PARTITIONS = ("model", "dt")

_UNFIT = re.compile(r"[^a-z0-9]+")
_SERVER = re.compile(r"[^A-Za-z0-9.]+")


def feature_columns(names: Iterable[str]) -> dict[str, str]:
    """The column of each feature: its name in lower case, with one `_` for whatever is neither letter nor digit.

    A name that would then be another column's, or begin with a digit, or be empty, gets `feature_` before it; the
    second of two features that would share a column gets `_2` after it, and so on. The order of the names decides, and
    it is the manifest's.
    """
    taken = {*LOG_COLUMNS, *PARTITIONS}
    columns: dict[str, str] = {}
    for name in names:
        plain = _UNFIT.sub("_", name.lower()).strip("_")
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
    """Where a model's log lies, of one day or of all."""
    return _prefix(LOG, model, day)


def labels_prefix(model: str, day: date | None = None) -> str:
    """Where a model's labels lie, of one day or of all."""
    return _prefix(LABELS, model, day)


def log_key(model: str, day: date, server: str, unique: UUID) -> str:
    """The key of one file of the log."""
    return f"{log_prefix(model, day)}{_SERVER.sub('-', server).strip('-') or 'server'}-{unique}.parquet"


def labels_key(model: str, day: date, unique: UUID) -> str:
    """The key of one file of labels."""
    return f"{labels_prefix(model, day)}{unique}.parquet"


def report_keys(model: str, made_at: datetime) -> tuple[str, str]:
    """The keys of a report made at this time, in UTC: of its page, and of the same as JSON."""
    prefix = f"{_prefix(REPORTS, model, made_at.date())}{made_at:%H%M%S}"
    return f"{prefix}.html", f"{prefix}.json"


def day_of(key: str) -> date | None:
    """The day that a key is partitioned by; None when it is no key of a log or of labels."""
    for part in key.split("/"):
        name, found, value = part.partition("=")
        if name == "dt" and found:
            try:
                return date.fromisoformat(value)
            except ValueError:
                return None
    return None


def _prefix(root: str, model: str, day: date | None) -> str:
    prefix = f"{root}/model={check_model_name(model)}/"
    return prefix if day is None else f"{prefix}dt={day.isoformat()}/"
