"""The report's queries. All of its SQL is in this module; the others compute with the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sabia.contract.names import SPLIT
from sabia.monitoring.archive import Archive
from sabia.monitoring.sql import ANY, FAILED, REFUSED, quoted, requests_where
from sabia.monitoring.truth import Truth

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

    Attributes:
        predictions: numbers, or indices of classes.
        labels: as the predictions.
        probabilities: the predicted probability of the label, NaN where it is unknown; None for numbers.
        sampled: whether there were more rows than the limit.
    """

    predictions: Array
    labels: Array
    probabilities: Array | None
    days: NDArray[Any]
    sampled: bool


class Period(NamedTuple):
    """From one time to another, both included."""

    since: datetime
    until: datetime


class Arm(NamedTuple):
    """One version in a comparison: requests and failed ones; labelled rows, their mean score and its variance."""

    requests: int
    failed: int
    labelled: int
    score: float
    variance: float


class Pairs(NamedTuple):
    """Rows that two versions both predicted: their number, mean distance, and how many agree."""

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


def label_counts(archive: Archive, version: str, truth: Truth) -> tuple[int, int]:
    """The number of predicted rows of a version with a label, and with one that can be compared."""
    where = f"WHERE version = {quoted(version)} AND status = 200"
    labelled, comparable = archive.rows(f"SELECT count(*), count({truth.label}) {_JOINED} {where}")[0]
    return int(labelled), int(comparable)


def labelled_rows(archive: Archive, version: str, truth: Truth, limit: int) -> LabelledRows | None:
    """Rows of a version with a label, at most about `limit`, sampled by request id; None if there are none."""
    joined = (
        f"FROM (SELECT *, {truth.prediction} AS predicted, {truth.label} AS truth "
        f"{_JOINED} WHERE version = {quoted(version)} AND status = 200) "
        "WHERE predicted IS NOT NULL AND truth IS NOT NULL AND isfinite(predicted)"
    )
    count = int(archive.rows(f"SELECT count(*) {joined}")[0][0])
    if count == 0:
        return None
    share = min(1.0, limit / count)
    sample = "" if share == 1.0 else f" AND hash(request_id) / 18446744073709551616.0 < {share!r}"
    score = "scores[CAST(truth AS BIGINT) + 1]::DOUBLE" if truth.classes else "NULL::DOUBLE"
    found = archive.arrays(f"SELECT predicted, truth, {score} AS score, CAST(dt AS VARCHAR) AS dt {joined}{sample}")
    scores = np.ma.filled(np.ma.asarray(found["score"], dtype=np.float64), np.nan) if truth.classes else None
    return LabelledRows(_plain(found["predicted"]), _plain(found["truth"]), scores, found["dt"], share < 1)


def complete_rows(
    archive: Archive, version: str, prediction: str, expressions: Sequence[str], limit: int
) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """Predictions, and the values of expressions, of at most `limit` rows without missing ones."""
    values = [f"{expression} AS v{at}" for at, expression in enumerate(expressions)]
    present = " AND ".join(["logged IS NOT NULL", *(f"v{at} IS NOT NULL" for at in range(len(values)))])
    found = archive.rows(
        f"SELECT * FROM (SELECT {prediction} AS logged, {', '.join(values)} FROM log "
        f"WHERE version = {quoted(version)} AND status = 200) WHERE {present} LIMIT {limit}"
    )
    return [row[0] for row in found], [row[1:] for row in found]


def daily_histograms(
    archive: Archive, version: str, wanted: Sequence[tuple[str, Sequence[float]]]
) -> list[DailyHistograms]:
    """Histograms by day, each of an expression by its edges; bins are closed on the right.

    A query counts a limited number of them: the database keeps every histogram of a query in memory at once.
    """
    by_day: dict[str, DailyHistograms] = {}
    histograms = [f"histogram({expression}, {list(edges)!r})" for expression, edges in wanted] or ["NULL"]
    for start in range(0, len(histograms), _COLUMNS_AT_ONCE):
        parts = ", ".join(histograms[start : start + _COLUMNS_AT_ONCE])
        for day, rows, *maps in archive.rows(
            f"SELECT CAST(dt AS VARCHAR), count(*), {parts} FROM log "
            f"WHERE version = {quoted(version)} AND status = 200 GROUP BY dt ORDER BY dt"
        ):
            counted = by_day.setdefault(str(day), DailyHistograms(str(day), rows, []))
            counted.counts.extend(counts or {} for counts in maps if wanted)
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


def arm(archive: Archive, version: str, period: Period, truth: Truth | None) -> Arm:
    """Requests and labelled rows of a version in a period, over the requests that followed the weights.

    Without `truth` labels are not compared.
    """
    routed = _routed(version, period)
    requests, failed = archive.rows(
        f'SELECT count(*), count(*) FILTER (WHERE {FAILED}) FROM log WHERE {routed} AND "row" = 0'
    )[0]
    if truth is None:
        return Arm(requests, failed, 0, 0.0, 0.0)
    labelled, score, variance = archive.rows(
        f"""SELECT count(score), coalesce(avg(score), 0), coalesce(var_samp(score), 0)
            FROM (SELECT {truth.score} AS score {_JOINED} WHERE {routed} AND status = 200)"""
    )[0]
    return Arm(requests, failed, labelled, float(score), float(variance))


def pairs(archive: Archive, first: str, second: str, truth: Truth) -> Pairs:
    """Rows that two versions both predicted because requests were mirrored."""
    predicted = f'SELECT request_id, "row", {truth.prediction} AS predicted FROM log WHERE status = 200'
    rows, distance, agreeing = archive.rows(
        f"""SELECT count(*), coalesce(avg(abs(a.predicted - b.predicted)), 0), count(*) FILTER (WHERE {truth.agreement})
            FROM ({predicted} AND version = {quoted(first)}) a
            JOIN ({predicted} AND version = {quoted(second)}) b USING (request_id, "row")
            WHERE a.predicted IS NOT NULL AND b.predicted IS NOT NULL"""
    )[0]
    return Pairs(rows, float(distance), agreeing)


def wrong_predictions(
    archive: Archive, versions: Sequence[str], period: Period, wrong: str
) -> dict[str, tuple[int, int]]:
    """Labelled requests of each version in a period, the end not included, and those with a wrong prediction.

    A request counts once, by its first row, and if it followed the weights. `wrong` is an expression on a row of the
    log joined with its label: whether the prediction was wrong, NULL where that is unknown.
    """
    counts = dict.fromkeys(versions, (0, 0))
    names = ", ".join(map(quoted, versions))
    for version, labelled, failed in archive.rows(
        f"""SELECT version, count(wrong), count(*) FILTER (WHERE wrong)
            FROM (SELECT version, {wrong} AS wrong {_JOINED}
              WHERE version IN ({names}) AND route = {quoted(SPLIT)} AND status = 200 AND "row" = 0
              AND ts >= {quoted(str(period.since))} AND ts < {quoted(str(period.until))})
            GROUP BY version"""
    ):
        counts[str(version)] = (int(labelled), int(failed))
    return counts


def _plain(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64)


def _routed(version: str, period: Period | None) -> str:
    where = f"version = {quoted(version)} AND route = {quoted(SPLIT)}"
    if period is None:
        return where
    return f"{where} AND ts BETWEEN {quoted(str(period.since))} AND {quoted(str(period.until))}"


def _quantiles(archive: Archive, source: str, value: str, levels: Sequence[float]) -> dict[float, float]:
    found = archive.rows(f"SELECT quantile_disc({value}, {list(levels)!r}) {source}")[0][0]
    return {} if found is None else dict(zip(levels, map(float, found), strict=True))
