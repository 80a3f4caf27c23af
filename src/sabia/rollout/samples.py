"""The samples of a predictor's `/metrics` page, as counters: no I/O."""

from __future__ import annotations

from collections.abc import Iterable

from sabia.contract import metrics
from sabia.contract.durations import LABELS
from sabia.contract.metrics import Sample
from sabia.contract.names import SPLIT
from sabia.rollout.counters import Counters
from sabia.rollout.errors import NotScraped

_BUCKET = {label: at for at, label in enumerate(LABELS)}
_DECISION, _REQUEST = metrics.DECISION_SECONDS + metrics.BUCKET_SUFFIX, metrics.REQUEST_SECONDS + metrics.BUCKET_SUFFIX


def counters_from_samples(samples: Iterable[Sample]) -> Counters:
    """The counters of one replica.

    Raises:
        NotScraped: its durations are in other buckets than the contract's.
    """
    by_class: dict[str, int] = {}
    cumulative: dict[str, dict[int, int]] = {_DECISION: {}, _REQUEST: {}}
    bins: dict[str, int] = {}
    for name, labels, value in samples:
        # Only requests of the split are comparable: pinned and mirrored ones are no random sample.
        if labels.get("route", SPLIT) != SPLIT:
            continue
        if name == metrics.REQUESTS:
            by_class[labels["status_class"]] = int(value)
        elif name == metrics.PREDICTIONS:
            bins[labels["bin"]] = int(value)
        elif name in cumulative:
            bucket = _BUCKET.get(labels["le"])
            if bucket is None:
                raise NotScraped(f"a duration has the bucket {labels['le']}, which is not in the contract")
            cumulative[name][bucket] = int(value)
    return Counters(
        # A refusal is no failure of the version, and may be its fault all the same: refusals are a line of their own.
        requests=by_class.get("2xx", 0) + by_class.get("5xx", 0),
        errors=by_class.get("5xx", 0),
        refused=by_class.get("4xx", 0),
        aside=sum(by_class.get(name, 0) for name in (metrics.DEADLINE_CLASS, metrics.UNSUPPORTED_CLASS)),
        decision=_counts(cumulative[_DECISION]),
        duration=_counts(cumulative[_REQUEST]),
        bins=dict(sorted(bins.items(), key=lambda item: (len(item[0]), item[0]))),
    )


def _counts(cumulative: dict[int, int]) -> dict[int, int]:
    """Counts by bucket from cumulative ones; empty buckets are left out."""
    counts, before = {}, 0
    for bucket in sorted(cumulative):
        if cumulative[bucket] != before:
            counts[bucket] = cumulative[bucket] - before
        before = cumulative[bucket]
    return counts
