"""Two versions side by side, on the period in which both served."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from sabia.monitoring import queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.document import Comparison
from sabia.monitoring.quality import difference, share
from sabia.monitoring.queries import Period
from sabia.monitoring.times import LEVELS, by_level, iso


def compare_versions(archive: Archive, versions: Sequence[str]) -> list[Comparison]:
    """A comparison of every two versions that served at the same time."""
    periods = queries.periods(archive)
    comparisons = []
    for first, second in combinations([version for version in versions if version in periods], 2):
        shared = _overlap(periods[first], periods[second])
        comparison = None if shared is None else _compare(archive, first, second, shared)
        if comparison is not None:
            comparisons.append(comparison)
    return comparisons


def _overlap(first: Period, second: Period) -> Period | None:
    since, until = max(first.since, second.since), min(first.until, second.until)
    return Period(since, until) if since < until else None


def _compare(archive: Archive, first: str, second: str, period: Period) -> Comparison | None:
    """The two versions in a period; None if one of them had no request in it."""
    one, other = queries.arm(archive, first, period), queries.arm(archive, second, period)
    if not one.requests or not other.requests:
        return None
    before, after = (
        by_level(queries.latency_quantiles(archive, version, LEVELS, period)) for version in (first, second)
    )
    pairs = queries.pairs(archive, first, second)
    return Comparison(
        first=first,
        second=second,
        since=iso(period.since),
        until=iso(period.until),
        requests=(float(one.requests), float(other.requests)),
        failed=difference(share(one.failed, one.requests), share(other.failed, other.requests)),
        latency={level: after[level] / before[level] for level in before if before[level] > 0 and level in after},
        accuracy=difference(share(one.correct, one.labelled), share(other.correct, other.labelled))
        if one.labelled and other.labelled
        else None,
        pairs=pairs.rows,
        mean_distance=pairs.mean_distance,
        agreement=share(pairs.agreeing, pairs.rows) if pairs.rows else None,
    )
