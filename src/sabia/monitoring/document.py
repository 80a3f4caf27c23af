"""The report as a document: computed once, written as JSON, shown as a page."""

from __future__ import annotations

import msgspec

from sabia.monitoring import drift
from sabia.monitoring.drift import FeatureDrift
from sabia.monitoring.quality import AnyQuality, Estimate
from sabia.monitoring.rollouts import Rollout

SCHEMA_VERSION = 2


class Feature(msgspec.Struct, frozen=True):
    """One feature of the predicted rows: shares of missing values, and of values that training did not see.

    `out_of_range` is of numbers outside the training range, or of categories that no training row had.
    """

    name: str
    column: str
    missing: float
    out_of_range: float


class Skew(msgspec.Struct, frozen=True):
    """Logged predictions beside those that the published artifact computes for the same rows.

    Attributes:
        largest_difference: of two predictions; of classes 1 if any is another one, else 0.
        different: rows whose predictions differ by more than rounding.
    """

    rows: int
    largest_difference: float
    different: int


class Day(msgspec.Struct, frozen=True):
    """One day of one version.

    `index` is the largest stability index of that day, and `worst` its feature. `scores` are the metrics by name, those
    with an interval.
    """

    day: str
    requests: float
    failed: float
    rows: int
    index: float
    worst: str
    scores: dict[str, Estimate]


class VersionReport(msgspec.Struct, frozen=True):
    """One version.

    Attributes:
        requests, failed, refused: all requests, those with status 5xx, and those with 4xx; where only a sample was
            logged, scaled up to all requests.
        rows: predicted and logged rows.
        latency: seconds by quantile, of requests that followed the weights.
        latency_cdf: seconds and shares, for the plot.
        refusals: the most frequent error messages, with their counts.
        task: what it predicts, as its manifest names it; `unit` is that of the prediction.
        published: metrics at publishing, by name.
        notes: what the report cannot judge, and why; one sentence each.
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
    task: str
    unit: str
    published: dict[str, float]
    quality: AnyQuality | None
    notes: list[str]
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
        accuracy: difference of the shares of correct predictions, second minus first; None unless both have labels.
        error: difference of the mean absolute errors of predicted numbers, second minus first; None as for accuracy.
        pairs: rows that both predicted because requests were mirrored.
        mean_distance: mean absolute difference of the pairs' predictions; None without pairs, and for classes.
        agreement: share of pairs that predict the same class; None without pairs, and for numbers.
        note: why predictions are not compared; empty if they are.
    """

    first: str
    second: str
    since: str
    until: str
    requests: tuple[float, float]
    failed: Estimate
    latency: dict[str, float]
    accuracy: Estimate | None
    error: Estimate | None
    pairs: int
    mean_distance: float | None
    agreement: Estimate | None
    note: str


class Report(msgspec.Struct, frozen=True):
    """A report on one model.

    Attributes:
        rows, files: rows of the log, and the number of its files.
        seconds: the time that the report took.
        false_alarms: the probability that the report names a drift of a version without any.
        unknown: versions in the log that the store does not have; the report has no more about them.
        unreadable: by version in the log, why what the store has is not what was published; there is no more either.
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
    unreadable: dict[str, str] = {}

    @property
    def unjudged(self) -> str:
        """One sentence on the versions that only the log has; empty without one."""
        if not self.unknown:
            return ""
        return (
            f"In the log, but not in the store: {', '.join(self.unknown)}. Drift and quality are measured against a "
            "published version; own code has one if it is an ArtifactModel."
        )

    @property
    def drifted(self) -> dict[str, list[str]]:
        """The drifted features by version; versions without drift are left out."""
        return {each.version: each.drifted for each in self.versions if each.drifted}
