"""The report on one version: traffic, drift, quality, days."""

from __future__ import annotations

from sabia.contract.layout import Version
from sabia.monitoring import queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.assessment import Assessment, assess
from sabia.monitoring.distribution import Distribution, distribution, largest_index, reference_of
from sabia.monitoring.document import Day, Feature, Skew, VersionReport
from sabia.monitoring.errors import NothingLogged
from sabia.monitoring.skew import measure_skew
from sabia.monitoring.times import CDF_LEVELS, LEVELS, by_level, iso
from sabia.registry import catalogue
from sabia.registry.verification import Artifact, read_version
from sabia.store.objects import Store

# A note names at most this many features.
_NAMED = 5


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
    manifest = artifact.manifest
    version = manifest.version
    traffic = queries.traffic(archive, version)
    rows = distribution(archive, manifest, reference_of(artifact))
    assessed, skew = assess(archive, manifest), measure_skew(archive, artifact, rows.logged)
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
        skew=skew if isinstance(skew, Skew) else None,
        task=manifest.metrics.task,
        unit=manifest.signature.primary_output.unit,
        published=dict(manifest.metrics.values),
        quality=assessed.quality,
        notes=_notes(rows, assessed, skew),
        sampled=assessed.sampled,
        label_delay=by_level(queries.label_delay_quantiles(archive, version, LEVELS)),
        days=[
            Day(*traffic_of_day, *largest_index(rows, traffic_of_day.day), assessed.by_day.get(traffic_of_day.day, {}))
            for traffic_of_day in queries.daily_traffic(archive, version)
        ],
    )


def _notes(rows: Distribution, assessed: Assessment, skew: Skew | str) -> list[str]:
    """What the report cannot judge, and why."""
    notes = [
        f"Drift of {_listed(names)} is unknown: {'each' if len(names) > 1 else 'it'} {reason}."
        for reason, names in rows.unwatched.items()
    ]
    if assessed.reason:
        notes.append(f"Quality is unknown: {assessed.reason}.")
    if isinstance(skew, str):
        notes.append(f"Logged rows were not predicted again: {skew}.")
    return notes


def _listed(names: list[str]) -> str:
    named, more = ", ".join(names[:_NAMED]), len(names) - _NAMED
    return f"{named} and {more:,} more" if more > 0 else named


def _cdf(archive: Archive, version: str) -> list[tuple[float, float]]:
    return [(seconds, share) for share, seconds in queries.latency_quantiles(archive, version, CDF_LEVELS).items()]


def _features(rows: Distribution) -> list[Feature]:
    total, count = rows.total, max(1, rows.total.rows)
    return [
        Feature(name, column, 1 - sum(total.bins.get(name, [])) / count, total.outside.get(name, 0) / count)
        for name, column in rows.columns.items()
    ]
