"""A report as a table for people, one row for each version."""

from __future__ import annotations

from sabia.monitoring.assessment import NO_LABELS
from sabia.monitoring.document import Report, VersionReport

COLUMNS = ("version", "requests", "failed", "quality", "drift")


def rows(report: Report) -> list[list[str]]:
    """The cells of `COLUMNS` for each version; of an unreadable one, its reason."""
    cells = []
    for version in report.versions:
        drift = ", ".join(version.drifted) or ("none" if version.judged else "too few rows")
        cells.append([version.version, f"{version.requests:,.0f}", f"{version.failed:,.0f}", _quality(version), drift])
    return cells + [[version, "", "", "", f"unreadable: {reason}"] for version, reason in report.unreadable.items()]


def _quality(version: VersionReport) -> str:
    """The first metric and the number of labelled rows, or why there is none."""
    if version.quality is None:
        return "no labels" if any(NO_LABELS in note for note in version.notes) else "unknown"
    name, estimate = next(iter(version.quality.scores.items()))
    return f"{name} {estimate.value:.4g} of {version.quality.rows:,}"
