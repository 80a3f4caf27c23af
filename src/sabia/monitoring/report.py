"""The report on one model: what each version did, how they compare, and how rollouts went."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter

from sabia.monitoring import drift, queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.assessment import Assessment, assess
from sabia.monitoring.comparison import compare_versions
from sabia.monitoring.distribution import Distribution, distribution
from sabia.monitoring.document import SCHEMA_VERSION, Report
from sabia.monitoring.rollouts import rollouts
from sabia.monitoring.versions import logged_versions, report_version
from sabia.store.objects import Store


def generate(
    store: Store, model: str, since: date, until: date, *, cache: Path | None = None, memory: str = "1GB"
) -> Report:
    """Generate the report on a period, `since` and `until` included. The other arguments are those of `Archive`.

    Raises:
        NothingLogged: the period has no log.
        SabiaError: the store failed, or a rollout's record is not what was written.
    """
    started = perf_counter()
    with Archive(store, model, since, until, cache=cache, memory=memory) as archive:
        logged = logged_versions(store, archive)
        artifacts = logged.artifacts.items()
        versions = [report_version(archive, artifact, logged.references[version]) for version, artifact in artifacts]
        comparisons = compare_versions(archive, {version: artifact.manifest for version, artifact in artifacts})
        histories = rollouts(store, model)
        return Report(
            schema_version=SCHEMA_VERSION,
            model=model,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            since=since.isoformat(),
            until=until.isoformat(),
            rows=queries.row_count(archive),
            files=archive.files,
            seconds=round(perf_counter() - started, 3),
            false_alarms=drift.FALSE_ALARMS,
            versions=versions,
            comparisons=comparisons,
            unknown=logged.unknown,
            unreadable=logged.unreadable,
            rollouts=histories,
        )


def distributions(
    store: Store, model: str, since: date, until: date, *, cache: Path | None = None, memory: str = "1GB"
) -> dict[str, Distribution]:
    """The part of a report that concerns drift, by version.

    Raises:
        As `generate`.
    """
    with Archive(store, model, since, until, cache=cache, memory=memory) as archive:
        logged = logged_versions(store, archive)
        return {
            version: distribution(archive, artifact.manifest, logged.references[version])
            for version, artifact in logged.artifacts.items()
        }


def recent(
    store: Store, model: str, since: date, until: date, *, cache: Path | None = None
) -> dict[str, tuple[Distribution, Assessment]]:
    """The parts of a report that a live page shows: drift and quality, by version.

    Raises:
        As `generate`.
    """
    with Archive(store, model, since, until, cache=cache) as archive:
        logged = logged_versions(store, archive)
        return {
            version: (
                distribution(archive, artifact.manifest, logged.references[version]),
                assess(archive, artifact.manifest),
            )
            for version, artifact in logged.artifacts.items()
        }
