"""The report on one version: traffic, drift, quality, days."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sabia.contract.layout import Version
from sabia.contract.manifest import Manifest
from sabia.contract.reference import Reference
from sabia.monitoring import drift, quality, queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.distribution import BinCounts, Distribution, distribution, reference_of, trained
from sabia.monitoring.document import Day, Feature, VersionReport
from sabia.monitoring.errors import NothingLogged
from sabia.monitoring.queries import LabelledRows
from sabia.monitoring.skew import measure_skew
from sabia.monitoring.times import CDF_LEVELS, LEVELS, by_level, iso
from sabia.registry import catalogue
from sabia.registry.verification import Artifact, read_version
from sabia.store.objects import Store

# Quality is computed from at most this many labelled rows of a version.
_LABELLED_ROWS = 2_000_000


def logged_artifacts(store: Store, archive: Archive) -> tuple[dict[str, Artifact], list[str]]:
    """The logged versions that the store has, in order, and the names of those that it does not have.

    Raises:
        NothingLogged: the archive has no version.
    """
    model, logged = archive.model, queries.versions(archive)
    if not logged:
        raise NothingLogged(model, archive.since.isoformat(), archive.until.isoformat())
    published = {str(version) for version in catalogue.versions(store, model)}
    numbers = sorted(map(Version.parse, logged & published))
    return {str(number): read_version(store, model, number) for number in numbers}, sorted(logged - published)


def report_version(archive: Archive, artifact: Artifact) -> VersionReport:
    """The report on one version."""
    manifest, reference = artifact.manifest, reference_of(artifact)
    version = manifest.version
    traffic = queries.traffic(archive, version)
    rows = distribution(archive, manifest, reference)
    labelled = _labelled(archive, manifest)
    return VersionReport(
        version=version,
        digest=manifest.digest,
        first=iso(traffic.first),
        last=iso(traffic.last),
        requests=traffic.requests,
        failed=traffic.failed,
        refused=traffic.refused,
        rows=rows.total.rows,
        servers=traffic.servers,
        latency=by_level(queries.latency_quantiles(archive, version, LEVELS)),
        latency_cdf=_cdf(archive, version),
        refusals=queries.error_messages(archive, version),
        features=_features(rows),
        drift=rows.drift,
        skew=measure_skew(archive, artifact, rows.columns),
        published=dict(manifest.metrics.values),
        quality=None if labelled is None else quality.measure(labelled.predictions, labelled.labels),
        sampled=labelled is not None and labelled.sampled,
        label_delay=by_level(queries.label_delay_quantiles(archive, version, LEVELS)),
        days=_days(archive, version, reference, rows.by_day, labelled),
    )


def _labelled(archive: Archive, manifest: Manifest) -> LabelledRows | None:
    if manifest.signature.primary_output.role != "probability":
        return None
    return queries.labelled_rows(archive, manifest.version, _LABELLED_ROWS)


def _cdf(archive: Archive, version: str) -> list[tuple[float, float]]:
    return [(seconds, share) for share, seconds in queries.latency_quantiles(archive, version, CDF_LEVELS).items()]


def _features(rows: Distribution) -> list[Feature]:
    total, count = rows.total, max(1, rows.total.rows)
    return [
        Feature(name, column, 1 - sum(total.bins.get(name, [])) / count, total.outside.get(name, 0) / count)
        for name, column in rows.columns.items()
    ]


def _days(
    archive: Archive,
    version: str,
    reference: Reference,
    by_day: Mapping[str, BinCounts],
    labelled: LabelledRows | None,
) -> list[Day]:
    days = []
    for traffic in queries.daily_traffic(archive, version):
        index, worst = _largest_index(by_day.get(traffic.day), reference)
        measured = None if labelled is None else _quality_of_day(labelled, traffic.day)
        accuracy, auc = (None, None) if measured is None else (measured.accuracy, measured.auc)
        days.append(Day(*traffic, index, worst, accuracy, auc))
    return days


def _largest_index(counts: BinCounts | None, reference: Reference) -> tuple[float, str]:
    """The largest stability index of a day and its feature; 0 and "" for no rows."""
    if counts is None:
        return 0.0, ""
    indices = {
        name: float(drift.stability_index(np.asarray(bins), np.asarray(trained(reference, name))))
        for name, bins in counts.bins.items()
        if sum(bins)
    }
    largest = max(indices, key=lambda name: indices[name], default="")
    return (indices[largest], largest) if indices.get(largest, 0.0) > 0 else (0.0, "")


def _quality_of_day(labelled: LabelledRows, day: str) -> quality.Quality | None:
    rows = labelled.days == day
    return quality.measure(labelled.predictions[rows], labelled.labels[rows])
