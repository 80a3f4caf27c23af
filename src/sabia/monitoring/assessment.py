"""Quality of one version by its labels, over all and day by day, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sabia.contract.manifest import Manifest
from sabia.monitoring import queries
from sabia.monitoring.archive import Archive
from sabia.monitoring.quality import AnyQuality, Estimate, measure, measure_classes, measure_values
from sabia.monitoring.quality.values import MINIMUM_ROWS
from sabia.monitoring.queries import LabelledRows
from sabia.monitoring.truth import Truth, truth_of

# Quality is computed from at most this many labelled rows of a version.
_LABELLED_ROWS = 2_000_000

NO_LABELS = "no labels yet"


@dataclass(frozen=True, slots=True)
class Assessment:
    """The quality of one version.

    Attributes:
        quality: of all labelled rows.
        reason: why there is no quality; empty if there is.
        sampled: whether quality is computed from a sample of the labelled rows.
        by_day: metrics with their intervals by name, by day (ISO text).
    """

    quality: AnyQuality | None = None
    reason: str = ""
    sampled: bool = False
    by_day: dict[str, dict[str, Estimate]] = field(default_factory=dict)


def assess(archive: Archive, manifest: Manifest) -> Assessment:
    """The quality of a version."""
    output = manifest.signature.primary_output
    truth = truth_of(output)
    if truth is None:
        return Assessment(reason=f"the primary output is {_a(output.role)}, and a label is a class or a number")
    rows = queries.labelled_rows(archive, manifest.version, truth, _LABELLED_ROWS)
    if rows is None:
        return Assessment(reason=_why_none(archive, manifest.version, truth))
    compute = _computation(truth, manifest)
    quality = compute(rows)
    if quality is None:
        return Assessment(reason=f"{len(rows.labels)} labelled row; errors need {MINIMUM_ROWS}")
    by_day = {}
    for day in np.unique(rows.days).tolist():
        measured = compute(_of_day(rows, day))
        if measured is not None:
            by_day[str(day)] = measured.scores
    return Assessment(quality, "", rows.sampled, by_day)


def _a(role: str) -> str:
    return f"{'an' if role == 'opaque' else 'a'} {role}"


def _why_none(archive: Archive, version: str, truth: Truth) -> str:
    labelled, comparable = queries.label_counts(archive, version, truth)
    if not labelled:
        return NO_LABELS
    if not comparable:
        return f"{labelled:,} labels are not numbers"
    return f"there are {labelled:,} labels, but the log has no prediction of their rows"


def _computation(truth: Truth, manifest: Manifest) -> Callable[[LabelledRows], AnyQuality | None]:
    if truth.classes:
        return lambda rows: measure_classes(
            truth.classes, rows.predictions.astype(np.int64), rows.labels.astype(np.int64), rows.probabilities
        )
    if manifest.signature.primary_output.role == "probability":
        return lambda rows: measure(rows.predictions, rows.labels)
    return lambda rows: measure_values(rows.predictions, rows.labels)


def _of_day(rows: LabelledRows, day: str) -> LabelledRows:
    kept = rows.days == day
    probabilities = None if rows.probabilities is None else rows.probabilities[kept]
    return LabelledRows(rows.predictions[kept], rows.labels[kept], probabilities, rows.days[kept], rows.sampled)
