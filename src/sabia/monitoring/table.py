"""A report as a table for people, one row for each version."""

from __future__ import annotations

from sabia.monitoring.document import Report

COLUMNS = ("version", "requests", "failed", "accuracy", "drift")


def rows(report: Report) -> list[list[str]]:
    """The cells of `COLUMNS` for each version."""
    found = []
    for served in report.versions:
        quality = served.quality
        accuracy = "no labels" if quality is None else f"{quality.accuracy.value:.4f} of {quality.rows:,}"
        drift = ", ".join(served.drifted) or ("none" if served.judged else "too few rows")
        found.append([served.version, f"{served.requests:,.0f}", f"{served.failed:,.0f}", accuracy, drift])
    return found
