"""A report as a table for people, one row for each version."""

from __future__ import annotations

from sabia.monitoring.document import Report

COLUMNS = ("version", "requests", "failed", "accuracy", "drift")


def rows(report: Report) -> list[list[str]]:
    """The cells of `COLUMNS` for each version."""
    cells = []
    for version in report.versions:
        quality = version.quality
        accuracy = "no labels" if quality is None else f"{quality.accuracy.value:.4f} of {quality.rows:,}"
        drift = ", ".join(version.drifted) or ("none" if version.judged else "too few rows")
        cells.append([version.version, f"{version.requests:,.0f}", f"{version.failed:,.0f}", accuracy, drift])
    return cells
