"""The report's queries. All of its SQL is in this module; the others compute with the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sabia.contract.names import SPLIT
from sabia.monitoring.archive import Archive
from sabia.monitoring.sql import ANY, FAILED, REFUSED, quoted, requests_where

Array = NDArray[np.float64]

_JOINED = 'FROM log JOIN labels USING (request_id, "row")'
_SECONDS = "latency_us / 1e6"
_COLUMNS_AT_ONCE = 64


class Traffic(NamedTuple):
    """Requests of one version. Where only a sample was logged, counts are scaled up to all requests."""

    first: datetime
    last: datetime
    requests: float
    failed: float
    refused: float
    servers: int


class DailyTraffic(NamedTuple):
    """Requests of one version on one day, and the number of its predictions."""

    day: str
    requests: float
    failed: float
    rows: int


class LabelledRows(NamedTuple):
    """Predictions, labels and days (ISO text) of rows with a label, shape (rows,) each.

    `sampled` is true if there were more rows than the limit.
    """

    predictions: Array
    labels: Array
    days: NDArray[Any]
    sampled: bool


class Period(NamedTuple):
    """From one time to another, both included."""

    since: datetime
    until: datetime


class Arm(NamedTuple):
    """One version in a comparison: requests and failed ones, labelled rows and correct ones."""

    requests: int
    failed: int
    labelled: int
    correct: int


class Pairs(NamedTuple):
    """Rows that two versions both predicted: their number, mean distance, and how many fall on the same side of 0.5."""

    rows: int
    mean_distance: float
    agreeing: int


class DailyHistograms(NamedTuple):
    """Predicted rows of one day: their number, and for each column the count of values in (previous edge, edge]."""

    day: str
    rows: int
    counts: list[dict[float, int]]


def row_count(archive: Archive) -> int:
    """The number of rows in the log."""
    return int(archive.rows("SELECT count(*) FROM log")[0][0])


def versions(archive: Archive) -> set[str]:
    """The versions in the log."""
    return {str(name) for (name,) in archive.rows("SELECT DISTINCT version FROM log WHERE version IS NOT NULL")}


def traffic(archive: Archive, version: str) -> Traffic:
    """All requests of a version."""
    first, last, requests, failed, refused, servers = archive.rows(
        f"""SELECT min(ts), max(ts), {requests_where(ANY)}, {requests_where(FAILED)}, {requests_where(REFUSED)},
            count(DISTINCT server) FROM log WHERE version = {quoted(version)}"""
    )[0]
    return Traffic(first, last, float(requests), float(failed), float(refused), servers)


def daily_traffic(archive: Archive, version: str) -> list[DailyTraffic]:
    """The requests of a version by day, in order."""
    return [
        DailyTraffic(str(day), float(requests), float(failed), int(rows))
        for day, requests, failed, rows in archive.rows(
            f"""SELECT CAST(dt AS VARCHAR), {requests_where(ANY)}, {requests_where(FAILED)},
                count(*) FILTER (WHERE status = 200)
                FROM log WHERE version = {quoted(version)} GROUP BY dt ORDER BY dt"""
        )
    ]


def error_messages(archive: Archive, version: str, limit: int = 10) -> list[tuple[str, int]]:
    """The most frequent error messages of a version, with their counts."""
    found = archive.rows(
        f"SELECT error, count(*) AS n FROM log WHERE version = {quoted(version)} AND error IS NOT NULL "
        f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {limit}"
    )
    return [(str(message), int(count)) for message, count in found]


def latency_quantiles(
    archive: Archive, version: str, levels: Sequence[float], period: Period | None = None
) -> dict[float, float]:
    """Seconds by level, over the requests that followed the weights; empty if there are none."""
    return _quantiles(archive, f'FROM log WHERE {_routed(version, period)} AND "row" = 0', _SECONDS, levels)


def label_delay_quantiles(archive: Archive, version: str, levels: Sequence[float]) -> dict[float, float]:
    """Seconds from request to label, by level; empty if there are no labels."""
    source = f"{_JOINED} WHERE version = {quoted(version)} AND status = 200"
    return _quantiles(archive, source, "epoch(observed_at) - epoch(ts)", levels)


def labelled_rows(archive: Archive, version: str, limit: int) -> LabelledRows | None:
    """Rows of a version with a label, at most about `limit`, sampled by request id; None if there are none."""
    joined = f"{_JOINED} WHERE version = {quoted(version)} AND status = 200 AND prediction IS NOT NULL"
    count = int(archive.rows(f"SELECT count(*) {joined}")[0][0])
    if count == 0:
        return None
    share = min(1.0, limit / count)
    sample = "" if share == 1.0 else f" AND hash(request_id) / 18446744073709551616.0 < {share!r}"
    found = archive.arrays(f"SELECT prediction, label, CAST(dt AS VARCHAR) AS dt {joined}{sample}")
    return LabelledRows(found["prediction"], found["label"], found["dt"], share < 1)


def complete_rows(archive: Archive, version: str, columns: Iterable[str], limit: int) -> tuple[Array, Array]:
    """Predictions and features of rows without missing values: shapes (rows,) and (rows, columns)."""
    names = [f'"{column}"' for column in columns]
    found = archive.rows(
        f"SELECT prediction, {', '.join(names)} FROM log WHERE version = {quoted(version)} AND status = 200 "
        f"AND prediction IS NOT NULL AND {' AND '.join(f'{name} IS NOT NULL' for name in names)} LIMIT {limit}"
    )
    values = np.array(found, dtype=np.float64).reshape(len(found), 1 + len(names))
    return values[:, 0], np.ascontiguousarray(values[:, 1:])


def daily_histograms(archive: Archive, version: str, edges: Mapping[str, Sequence[float]]) -> list[DailyHistograms]:
    """Histograms of some columns by day; bins are closed on the right.

    A query counts a limited number of columns: the database keeps every histogram of a query in memory at once.
    """
    by_day: dict[str, DailyHistograms] = {}
    parts_of = [f'histogram("{column}", {list(inner)!r})' for column, inner in edges.items()]
    for start in range(0, len(parts_of), _COLUMNS_AT_ONCE):
        parts = ", ".join(parts_of[start : start + _COLUMNS_AT_ONCE])
        for day, rows, *maps in archive.rows(
            f"SELECT CAST(dt AS VARCHAR), count(*), {parts} FROM log "
            f"WHERE version = {quoted(version)} AND status = 200 GROUP BY dt ORDER BY dt"
        ):
            counted = by_day.setdefault(str(day), DailyHistograms(str(day), rows, []))
            counted.counts.extend(counts or {} for counts in maps)
    return list(by_day.values())


def distinct_rows(archive: Archive, version: str, columns: Iterable[str]) -> int:
    """The approximate number of different feature rows, of at least one column."""
    row = ", ".join(f'"{column}"' for column in columns)
    where = f"WHERE version = {quoted(version)} AND status = 200"
    return int(archive.rows(f"SELECT approx_count_distinct(hash({row})) FROM log {where}")[0][0])


def periods(archive: Archive) -> dict[str, Period]:
    """By version, the time of its first and last request that followed the weights."""
    return {
        str(version): Period(first, last)
        for version, first, last in archive.rows(
            f"SELECT version, min(ts), max(ts) FROM log WHERE route = {quoted(SPLIT)} GROUP BY version"
        )
    }


def arm(archive: Archive, version: str, period: Period) -> Arm:
    """Requests and labelled rows of a version in a period, over the requests that followed the weights."""
    routed = _routed(version, period)
    requests, failed = archive.rows(
        f'SELECT count(*), count(*) FILTER (WHERE {FAILED}) FROM log WHERE {routed} AND "row" = 0'
    )[0]
    labelled, correct = archive.rows(
        f"""SELECT count(*), count(*) FILTER (WHERE (prediction >= 0.5) = (label >= 0.5))
            {_JOINED} WHERE {routed} AND status = 200"""
    )[0]
    return Arm(requests, failed, labelled, correct)


def pairs(archive: Archive, first: str, second: str) -> Pairs:
    """Rows that two versions both predicted because requests were mirrored."""
    rows, distance, agreeing = archive.rows(
        f"""SELECT count(*), coalesce(avg(abs(a.prediction - b.prediction)), 0),
            count(*) FILTER (WHERE (a.prediction >= 0.5) = (b.prediction >= 0.5))
            FROM (SELECT request_id, "row", prediction FROM log WHERE version = {quoted(first)} AND status = 200) a
            JOIN (SELECT request_id, "row", prediction FROM log WHERE version = {quoted(second)} AND status = 200) b
            USING (request_id, "row")"""
    )[0]
    return Pairs(rows, float(distance), agreeing)


def _routed(version: str, period: Period | None) -> str:
    where = f"version = {quoted(version)} AND route = {quoted(SPLIT)}"
    if period is None:
        return where
    return f"{where} AND ts BETWEEN {quoted(str(period.since))} AND {quoted(str(period.until))}"


def _quantiles(archive: Archive, source: str, value: str, levels: Sequence[float]) -> dict[float, float]:
    found = archive.rows(f"SELECT quantile_disc({value}, {list(levels)!r}) {source}")[0][0]
    return {} if found is None else dict(zip(levels, map(float, found), strict=True))
