"""The report as a document: computed once, written as JSON, shown as a page."""

from __future__ import annotations

import msgspec

from sabia.monitoring import drift
from sabia.monitoring.drift import FeatureDrift
from sabia.monitoring.quality import Estimate, Quality
from sabia.monitoring.rollouts import Rollout

SCHEMA_VERSION = 1


class Feature(msgspec.Struct, frozen=True):
    """One feature of the predicted rows: shares of missing values and of values outside the training range."""

    name: str
    column: str
    missing: float
    out_of_range: float


class Skew(msgspec.Struct, frozen=True):
    """Logged predictions beside those that the published artifact computes for the same rows."""

    rows: int
    largest_difference: float


class Day(msgspec.Struct, frozen=True):
    """One day of one version; `index` is the largest stability index of that day, and `worst` its feature."""

    day: str
    requests: float
    failed: float
    rows: int
    index: float
    worst: str
    accuracy: Estimate | None
    auc: Estimate | None


class VersionReport(msgspec.Struct, frozen=True):
    """One version.

    Attributes:
        requests, failed, refused: all requests, those with status 5xx, and those with 4xx; where only a sample was
            logged, scaled up to all requests.
        rows: predicted and logged rows.
        latency: seconds by quantile, of requests that followed the weights.
        latency_cdf: seconds and shares, for the plot.
        refusals: the most frequent error messages, with their counts.
        published: accuracy and AUC at publishing.
        sampled: whether quality is computed from a sample of the labelled rows.
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
    drift: list[FeatureDrift]
    skew: Skew | None
    published: dict[str, float]
    quality: Quality | None
    sampled: bool
    label_delay: dict[str, float]
    days: list[Day]

    @property
    def drifted(self) -> list[str]:
        """The names of the features that drifted."""
        return drift.names(self.drift)

    @property
    def judged(self) -> bool:
        """Whether any feature has enough rows for a verdict."""
        return drift.is_judged(self.drift)


class Comparison(msgspec.Struct, frozen=True):
    """Two versions in the period in which both served requests that followed the weights.

    Attributes:
        failed: difference of the shares of failed requests, second minus first.
        latency: ratio of the quantiles, second over first.
        accuracy: difference, second minus first; None unless both have labels.
        pairs: rows that both predicted because requests were mirrored.
        mean_distance: mean absolute difference of the pairs' predictions.
        agreement: share of pairs on the same side of 0.5; None without pairs.
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


class Report(msgspec.Struct, frozen=True):
    """A report on one model.

    Attributes:
        rows, files: rows of the log, and the number of its files.
        seconds: the time that the report took.
        false_alarms: the probability that the report names a drift of a version without any.
        unknown: versions in the log that the store does not have; the report has no more about them.
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
    versions: list[VersionReport]
    unknown: list[str]
    comparisons: list[Comparison]
    rollouts: list[Rollout]

    @property
    def drifted(self) -> dict[str, list[str]]:
        """The drifted features by version; versions without drift are left out."""
        return {each.version: each.drifted for each in self.versions if each.drifted}
