"""A report as a table for people, one row for each version."""

from __future__ import annotations

from sabia.monitoring.assessment import NO_LABELS
from sabia.monitoring.document import Report
from sabia.monitoring.quality import AnyQuality

COLUMNS = ("version", "requests", "failed", "quality", "drift")


def rows(report: Report) -> list[list[str]]:
    """The cells of `COLUMNS` for each version; of an unreadable one, its reason."""
    cells = []
    for version in report.versions:
        drift = ", ".join(version.drifted) or ("none" if version.judged else "too few rows")
        cells.append(
            [
                version.version,
                f"{version.requests:,.0f}",
                f"{version.failed:,.0f}",
                quality(version.quality, " ".join(version.notes)),
                drift,
            ]
        )
    return cells + [[version, "", "", "", f"unreadable: {reason}"] for version, reason in report.unreadable.items()]


def quality(measured: AnyQuality | None, reason: str) -> str:
    """The first metric and the number of labelled rows; without any, whether that is for want of labels."""
    if measured is None:
        return "no labels" if NO_LABELS in reason else "unknown"
    name, estimate = next(iter(measured.scores.items()))
    return f"{name} {estimate.value:.4g} of {measured.rows:,}"
