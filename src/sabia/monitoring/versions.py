"""The report on one version: traffic, drift, quality, days."""

from __future__ import annotations

from dataclasses import dataclass

from sabia.contract.layout import Version
from sabia.contract.reference import Reference
from sabia.errors import SabiaError
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
from sabia.store.errors import StoreError
from sabia.store.objects import Store

# A note names at most this many features.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Logged:
    """The versions of a log.

    Attributes:
        artifacts: those that the store has, in order.
        references: the distribution of the training rows of each; None if it was published without.
        unknown: the names of those that the store does not have.
        unreadable: by name, why what the store has is not what was published.
    """

    artifacts: dict[str, Artifact]
    references: dict[str, Reference | None]
    unknown: list[str]
    unreadable: dict[str, str]


def logged_versions(store: Store, archive: Archive) -> Logged:
    """The versions in the log. One that cannot be read does not hide the others.

    Raises:
        NothingLogged: the archive has no version.
        StoreError: the store failed.
    """
    model, logged = archive.model, queries.versions(archive)
    if not logged:
        raise NothingLogged(model, archive.since.isoformat(), archive.until.isoformat())
    published = {str(version) for version in catalogue.versions(store, model)}
    found = Logged({}, {}, sorted(logged - published), {})
    for number in sorted(map(Version.parse, logged & published)):
        try:
            artifact = read_version(store, model, number)
            found.references[str(number)] = reference_of(artifact)
        except StoreError:
            raise
        except SabiaError as error:
            found.unreadable[str(number)] = str(error)
        else:
            found.artifacts[str(number)] = artifact
    return found


def report_version(archive: Archive, artifact: Artifact, reference: Reference | None) -> VersionReport:
    """The report on one version."""
    manifest = artifact.manifest
    version = manifest.version
    traffic = queries.traffic(archive, version)
    rows = distribution(archive, manifest, reference)
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
