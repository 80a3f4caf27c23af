"""Everything that a report says, as facts: made once, written as JSON, shown by a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
import numpy as np

from sabia.contract.layout import Version
from sabia.contract.manifest import Manifest
from sabia.contract.names import SPLIT
from sabia.monitoring import drift, quality
from sabia.monitoring.archive import ANY, FAILED, REFUSED, Archive, quoted, requests_where
from sabia.monitoring.counts import Counted, Distribution, Reference, distribution, reference_of, trained
from sabia.monitoring.errors import NothingLogged
from sabia.monitoring.quality import Estimate, Quality
from sabia.monitoring.rollouts import Rollout, rollouts
from sabia.registry import catalogue
from sabia.registry.verification import Artifact, read_version
from sabia.serving.inference.decision import Decision
from sabia.store.objects import Store

SCHEMA_VERSION = 1
# So many labelled rows are looked at for each version; more are a sample by request id.
_LABELLED_ROWS = 2_000_000
# So many logged rows are decided again.
_AGAIN_ROWS = 1000
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


class Feature(msgspec.Struct, frozen=True):
    """What one feature looked like, beside its drift: shares of the decided rows."""

    name: str
    column: str
    missing: float
    out_of_range: float


class Skew(msgspec.Struct, frozen=True):
    """Logged rows that were decided again by the artifact: is what was served what was published?"""

    rows: int
    largest_difference: float


class Day(msgspec.Struct, frozen=True):
    """One day of one version; `index` is the largest stability index of that day, and `worst` whose it is."""

    day: str
    requests: float
    failed: float
    rows: int
    index: float
    worst: str
    accuracy: Estimate | None
    auc: Estimate | None


class Served(msgspec.Struct, frozen=True):
    """One version.

    Attributes:
        requests, failed, refused: answered requests, those answered 5xx, and those 4xx; where only a sample was logged,
            as many as it stands for.
        rows: rows that were decided and logged.
        latency: seconds by quantile, of requests that came by the split.
        latency_cdf: seconds and shares, for a picture.
        refusals: the sentences that refused requests were told most, and how often.
        published: what the artifact's evaluation says of accuracy and AUC.
        labels: labelled rows; `sampled` when there are more than were looked at.
        label_delay: seconds from request to label, by quantile.
    """

    version: str
    digest: str
    first: str
    last: str
    requests: float
    failed: float
    refused: float
    rows: int
    servers: int
    latency: dict[str, float]
    latency_cdf: list[tuple[float, float]]
    refusals: list[tuple[str, int]]
    features: list[Feature]
    drift: list[drift.Compared]
    skew: Skew | None
    published: dict[str, float]
    quality: Quality | None
    sampled: bool
    label_delay: dict[str, float]
    days: list[Day]

    @property
    def drifted(self) -> list[str]:
        """The names of what has drifted."""
        return drift.names(self.drift)

    @property
    def judged(self) -> bool:
        """Whether there were rows enough for a verdict on anything."""
        return drift.is_judged(self.drift)


class Comparison(msgspec.Struct, frozen=True):
    """Two versions on the period in which both answered, by requests that came by the split.

    Attributes:
        failed: shares of failed requests, second less first.
        latency: quantiles of the second over those of the first.
        accuracy: second less first; None without labels of both.
        pairs: rows that both answered, because requests were copied; how far apart, and how often on the same side.
    """

    first: str
    second: str
    since: str
    until: str
    requests: tuple[float, float]
    failed: Estimate
    latency: dict[str, float]
    accuracy: Estimate | None
    pairs: int
    mean_distance: float
    agreement: Estimate | None


class Facts(msgspec.Struct, frozen=True):
    """A report.

    Attributes:
        rows, files: records of the log, and in how many files they were.
        seconds: what gathering took.
        false_alarms: the probability that a version's drift names anything without there being any.
        unknown: versions that are in the log and not in the store; nothing more is said of them.
    """

    schema_version: int
    model: str
    made_at: str
    since: str
    until: str
    rows: int
    files: int
    seconds: float
    false_alarms: float
    versions: list[Served]
    unknown: list[str]
    comparisons: list[Comparison]
    rollouts: list[Rollout]

    @property
    def drifted(self) -> dict[str, list[str]]:
        """The names of what has drifted, by version; versions without drift are left out."""
        return {served.version: served.drifted for served in self.versions if served.drifted}


def gather(
    store: Store, model: str, since: date, until: date, *, cache: Path | None = None, memory: str = "1GB"
) -> Facts:
    """Everything about one model on some days, both included.

    Raises:
        NothingLogged: no request was logged on them.
        InvalidReference: a version's reference.json is not one.
        ArtifactError, RolloutError: the store failed, or what lies there is not what was published.
    """
    began = perf_counter()
    with Archive(store, model, since, until, cache=cache, memory=memory) as archive:
        artifacts, unknown = _logged(store, archive)
        served = [_served(archive, artifact) for artifact in artifacts.values()]
        comparisons = _comparisons(archive, list(artifacts))
        of_model = rollouts(store, model)
        return Facts(
            schema_version=SCHEMA_VERSION,
            model=model,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            since=since.isoformat(),
            until=until.isoformat(),
            rows=int(archive.rows("SELECT count(*) FROM log")[0][0]),
            files=archive.files,
            seconds=round(perf_counter() - began, 3),
            false_alarms=drift.FALSE_ALARMS,
            versions=served,
            comparisons=comparisons,
            unknown=unknown,
            rollouts=of_model,
        )


def distributions(
    store: Store, model: str, since: date, until: date, *, cache: Path | None = None, memory: str = "1GB"
) -> dict[str, Distribution]:
    """Of a report no more than the drift, by version.

    Raises:
        As `gather`.
    """
    with Archive(store, model, since, until, cache=cache, memory=memory) as archive:
        artifacts, _ = _logged(store, archive)
        return {
            version: distribution(archive, artifact.manifest, reference_of(artifact))
            for version, artifact in artifacts.items()
        }


def _logged(store: Store, archive: Archive) -> tuple[dict[str, Artifact], list[str]]:
    """The versions that are in the log and in the store, in their order, and those that are only in the log."""
    model = archive.model
    found = {str(name) for (name,) in archive.rows("SELECT DISTINCT version FROM log WHERE version IS NOT NULL")}
    if not found:
        raise NothingLogged(model, archive.since.isoformat(), archive.until.isoformat())
    claimed = {str(version) for version in catalogue.versions(store, model)}
    numbers = sorted(map(Version.parse, found & claimed))
    return {str(number): read_version(store, model, number) for number in numbers}, sorted(found - claimed)


def _served(archive: Archive, artifact: Artifact) -> Served:
    manifest, reference = artifact.manifest, reference_of(artifact)
    version = quoted(manifest.version)
    of_version = f"FROM log WHERE version = {version}"
    first, last, requests, failed, refused, servers = archive.rows(
        f"""SELECT min(ts), max(ts), {requests_where(ANY)},
            {requests_where(FAILED)},
            {requests_where(REFUSED)},
            count(DISTINCT server) {of_version}"""
    )[0]
    found = distribution(archive, manifest, reference)
    seen = max(1, found.whole.rows)
    joined, sampled = _labelled(archive, manifest)
    measured = None if joined is None else quality.measure(joined["prediction"], joined["label"])
    return Served(
        version=manifest.version,
        digest=manifest.digest,
        first=_text(first),
        last=_text(last),
        requests=float(requests),
        failed=float(failed),
        refused=float(refused),
        rows=found.whole.rows,
        servers=servers,
        latency=_quantiles(archive, f'{of_version} AND "row" = 0 AND route = {quoted(SPLIT)}', "latency_us / 1e6"),
        latency_cdf=_cdf(archive, f'{of_version} AND "row" = 0 AND route = {quoted(SPLIT)}'),
        refusals=[
            (str(sentence), int(count))
            for sentence, count in archive.rows(
                f"SELECT error, count(*) AS n {of_version} AND error IS NOT NULL GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10"
            )
        ],
        features=[
            Feature(
                name, column, 1 - sum(found.whole.bins.get(name, [])) / seen, found.whole.outside.get(name, 0) / seen
            )
            for name, column in found.columns.items()
        ],
        drift=found.compared,
        skew=_again(archive, artifact, found.columns),
        published={"accuracy": manifest.metrics.accuracy, "roc_auc": manifest.metrics.roc_auc},
        quality=measured,
        sampled=sampled,
        label_delay=_quantiles(
            archive,
            f'FROM log JOIN labels USING (request_id, "row") WHERE version = {version} AND status = 200',
            "epoch(observed_at) - epoch(ts)",
        ),
        days=_days(archive, manifest, reference, found.by_day, joined),
    )


def _labelled(archive: Archive, manifest: Manifest) -> tuple[dict[str, Any] | None, bool]:
    """Predictions, labels and days of labelled rows; at most so many, chosen by request id."""
    if manifest.prediction.kind != "probability":
        return None, False
    joined = (
        f'FROM log JOIN labels USING (request_id, "row") WHERE version = {quoted(manifest.version)} '
        "AND status = 200 AND prediction IS NOT NULL"
    )
    count = int(archive.rows(f"SELECT count(*) {joined}")[0][0])
    if count == 0:
        return None, False
    share = min(1.0, _LABELLED_ROWS / count)
    chosen = "" if share == 1.0 else f" AND hash(request_id) / 18446744073709551616.0 < {share!r}"
    return archive.arrays(f"SELECT prediction, label, CAST(dt AS VARCHAR) AS dt {joined}{chosen}"), share < 1


def _days(
    archive: Archive,
    manifest: Manifest,
    reference: Reference,
    counted: dict[str, Counted],
    joined: dict[str, Any] | None,
) -> list[Day]:
    requests = {
        str(day): (float(all_), float(failed), int(rows))
        for day, all_, failed, rows in archive.rows(
            f"""SELECT CAST(dt AS VARCHAR), {requests_where(ANY)},
                {requests_where(FAILED)},
                count(*) FILTER (WHERE status = 200)
                FROM log WHERE version = {quoted(manifest.version)} GROUP BY dt ORDER BY dt"""
        )
    }
    found = []
    for day, (all_, failed, rows) in requests.items():
        index, worst = 0.0, ""
        for name, bins in counted[day].bins.items() if day in counted else ():
            of_name = drift.stability_index(np.asarray(bins), np.asarray(trained(reference, name)))
            if sum(bins) and float(of_name) > index:
                index, worst = float(of_name), name
        measured = None
        if joined is not None:
            at = joined["dt"] == day
            measured = quality.measure(joined["prediction"][at], joined["label"][at])
        accuracy, auc = (None, None) if measured is None else (measured.accuracy, measured.auc)
        found.append(Day(day, all_, failed, rows, index, worst, accuracy, auc))
    return found


def _again(archive: Archive, artifact: Artifact, columns: dict[str, str]) -> Skew | None:
    """Decide some logged rows again; None when the log does not hold whole rows."""
    names = [feature.name for feature in artifact.manifest.features]
    if set(names) - columns.keys():
        return None
    picked = ", ".join(f'"{columns[name]}"' for name in names)
    whole = " AND ".join(f'"{columns[name]}" IS NOT NULL' for name in names)
    rows = archive.rows(
        f"SELECT prediction, {picked} FROM log WHERE version = {quoted(artifact.manifest.version)} AND status = 200 "
        f"AND prediction IS NOT NULL AND {whole} LIMIT {_AGAIN_ROWS}"
    )
    if not rows:
        return None
    values = np.array(rows, dtype=np.float64)
    again = Decision(artifact).predict(np.ascontiguousarray(values[:, 1:]))
    return Skew(len(rows), float(np.abs(again - values[:, 0]).max()))


def _comparisons(archive: Archive, versions: Sequence[str]) -> list[Comparison]:
    """Every two versions that answered at the same time."""
    spans = {
        str(version): (first, last)
        for version, first, last in archive.rows(
            f"SELECT version, min(ts), max(ts) FROM log WHERE route = {quoted(SPLIT)} GROUP BY version"
        )
    }
    found = []
    for first, second in combinations([version for version in versions if version in spans], 2):
        since, until = max(spans[first][0], spans[second][0]), min(spans[first][1], spans[second][1])
        if since < until and (compared := _compared(archive, first, second, since, until)) is not None:
            found.append(compared)
    return found


def _compared(archive: Archive, first: str, second: str, since: datetime, until: datetime) -> Comparison | None:
    """Two versions between two times; None when one of them answered nothing then."""
    period = f"route = {quoted(SPLIT)} AND ts BETWEEN {quoted(str(since))} AND {quoted(str(until))}"
    arms = {}
    for version in (first, second):
        where = f'FROM log WHERE version = {quoted(version)} AND "row" = 0 AND {period}'
        count, failed = archive.rows(f"SELECT count(*), count(*) FILTER (WHERE status >= 500) {where}")[0]
        right, labelled = archive.rows(
            f"""SELECT count(*) FILTER (WHERE (prediction >= 0.5) = (label >= 0.5)), count(*)
                FROM log JOIN labels USING (request_id, "row")
                WHERE version = {quoted(version)} AND status = 200 AND {period}"""
        )[0]
        arms[version] = (count, failed, right, labelled, _quantiles(archive, where, "latency_us / 1e6"))
    (n0, x0, r0, l0, q0), (n1, x1, r1, l1, q1) = arms[first], arms[second]
    if not n0 or not n1:
        return None
    pairs, distance, agreed = archive.rows(
        f"""SELECT count(*), coalesce(avg(abs(a.prediction - b.prediction)), 0),
            count(*) FILTER (WHERE (a.prediction >= 0.5) = (b.prediction >= 0.5))
            FROM (SELECT request_id, "row", prediction FROM log WHERE version = {quoted(first)} AND status = 200) a
            JOIN (SELECT request_id, "row", prediction FROM log WHERE version = {quoted(second)} AND status = 200) b
            USING (request_id, "row")"""
    )[0]
    return Comparison(
        first=first,
        second=second,
        since=_text(since),
        until=_text(until),
        requests=(float(n0), float(n1)),
        failed=quality.difference(quality.share(x0, n0), quality.share(x1, n1)),
        latency={name: q1[name] / q0[name] for name in q0 if q0[name] > 0 and name in q1},
        accuracy=quality.difference(quality.share(r0, l0), quality.share(r1, l1)) if l0 and l1 else None,
        pairs=pairs,
        mean_distance=float(distance),
        agreement=quality.share(agreed, pairs) if pairs else None,
    )


def _quantiles(archive: Archive, source: str, value: str) -> dict[str, float]:
    found = archive.rows(f"SELECT quantile_disc({value}, {list(_QUANTILES)!r}) {source}")[0][0]
    return {} if found is None else {f"{q:g}": float(v) for q, v in zip(_QUANTILES, found, strict=True)}


def _cdf(archive: Archive, source: str) -> list[tuple[float, float]]:
    shares = [0.001, 0.01, *(at / 20 for at in range(1, 20)), 0.99, 0.995, 0.999, 1.0]
    found = archive.rows(f"SELECT quantile_disc(latency_us / 1e6, {shares!r}) {source}")[0][0]
    return [] if found is None else [(float(v), q) for v, q in zip(found, shares, strict=True)]


def _text(moment: Any) -> str:
    return "" if moment is None else str(moment.astimezone(UTC).isoformat(timespec="milliseconds"))
