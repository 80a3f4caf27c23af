"""Two versions side by side, on the period in which both served."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

from sabia.contract import signature as signatures
from sabia.contract.manifest import Manifest
from sabia.monitoring import queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.document import Comparison
from sabia.monitoring.quality import Estimate, difference, share
from sabia.monitoring.quality.estimates import Z
from sabia.monitoring.queries import Arm, Period
from sabia.monitoring.times import LEVELS, by_level, iso
from sabia.monitoring.truth import truth_of


def compare_versions(archive: Archive, manifests: Mapping[str, Manifest]) -> list[Comparison]:
    """A comparison of every two versions that served at the same time; `manifests` by version, in order."""
    periods = queries.periods(archive)
    comparisons = []
    for first, second in combinations([version for version in manifests if version in periods], 2):
        shared = _overlap(periods[first], periods[second])
        if shared is not None:
            comparison = _compare(archive, manifests[first], manifests[second], shared)
            comparisons += [] if comparison is None else [comparison]
    return comparisons


def _overlap(first: Period, second: Period) -> Period | None:
    since, until = max(first.since, second.since), min(first.until, second.until)
    return Period(since, until) if since < until else None


def _compare(archive: Archive, first: Manifest, second: Manifest, period: Period) -> Comparison | None:
    """The two versions in a period; None if one of them had no request in it."""
    names = first.version, second.version
    different = signatures.difference(first.signature, second.signature)
    truth = None if different else truth_of(second.signature.primary_output)
    one, other = (queries.arm(archive, version, period, truth) for version in names)
    if not one.requests or not other.requests:
        return None
    before, after = (by_level(queries.latency_quantiles(archive, version, LEVELS, period)) for version in names)
    pairs = queries.Pairs(0, 0.0, 0) if truth is None else queries.pairs(archive, *names, truth)
    is_error = truth is not None and truth.is_error
    labelled = difference(_score(one, is_error), _score(other, is_error)) if one.labelled and other.labelled else None
    return Comparison(
        first=first.version,
        second=second.version,
        since=iso(period.since),
        until=iso(period.until),
        requests=(float(one.requests), float(other.requests)),
        failed=difference(share(one.failed, one.requests), share(other.failed, other.requests)),
        latency={level: after[level] / before[level] for level in before if before[level] > 0 and level in after},
        accuracy=None if is_error else labelled,
        error=labelled if is_error else None,
        pairs=pairs.rows,
        mean_distance=pairs.mean_distance if pairs.rows and truth is not None and not truth.classes else None,
        agreement=share(pairs.agreeing, pairs.rows) if pairs.rows and not is_error else None,
        note=f"Their predictions cannot be compared: {different}." if different else "",
    )


def _score(arm: Arm, is_error: bool) -> Estimate:
    if not is_error:
        return share(round(arm.score * arm.labelled), arm.labelled)
    reach = Z * math.sqrt(arm.variance / arm.labelled)
    return Estimate(arm.score, arm.score - reach, arm.score + reach)
