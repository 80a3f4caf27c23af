"""A predictor's `/metrics` page, read into counters: no I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sabia.contract.durations import LABELS
from sabia.rollout.counters import Counters
from sabia.rollout.errors import NotScraped

# One sample: name{labels} value. Labels of ours hold no escaped quotes.
_SAMPLE = re.compile(r"(sabia_[a-z_]+)\{([^}]*)\} (\S+)")
_LABEL = re.compile(r'([a-z_]+)="([^"]*)"')
_BUCKET = {label: at for at, label in enumerate(LABELS)}
# Only what the split sent is comparable: a pin chooses its version, and a copy is answered twice.
_SPLIT = "split"

Sample = tuple[str, Mapping[str, str], float]


def samples(text: str) -> Iterable[Sample]:
    """The samples of our metrics: name, labels, value."""
    for name, labels, value in _SAMPLE.findall(text):
        yield name, dict(_LABEL.findall(labels)), float(value)


def counters(found: Iterable[Sample]) -> Counters:
    """The counters of one replica.

    Raises:
        NotScraped: its durations are in buckets that are not ours.
    """
    requests = errors = 0
    cumulative: dict[str, dict[int, int]] = {"decision": {}, "request": {}}
    bins: dict[str, int] = {}
    for name, labels, value in found:
        if labels.get("route", _SPLIT) != _SPLIT:
            continue
        if name == "sabia_requests_total" and labels["status_class"] in ("2xx", "5xx"):
            # A client's fault says nothing of the version.
            requests += int(value)
            errors += int(value) if labels["status_class"] == "5xx" else 0
        elif name == "sabia_predictions_total":
            bins[labels["bin"]] = int(value)
        elif name.endswith("_duration_seconds_bucket"):
            bucket = _BUCKET.get(labels["le"])
            if bucket is None:
                raise NotScraped(f"a duration has the bucket {labels['le']}, which is not one of ours")
            cumulative[name.split("_")[1]][bucket] = int(value)
    return Counters(
        requests=requests,
        errors=errors,
        decision=_apart(cumulative["decision"]),
        duration=_apart(cumulative["request"]),
        bins=dict(sorted(bins.items(), key=lambda item: (len(item[0]), item[0]))),
    )


def _apart(cumulative: dict[int, int]) -> dict[int, int]:
    """Counts by bucket out of cumulative ones; buckets without any are left out."""
    found, before = {}, 0
    for bucket in sorted(cumulative):
        if cumulative[bucket] != before:
            found[bucket] = cumulative[bucket] - before
        before = cumulative[bucket]
    return found
