"""The scheduled jobs: a report written to the store, and the verdict on drift."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from sabia.contract.inferencelog import report_keys
from sabia.monitoring import drift
from sabia.monitoring.document import Report
from sabia.monitoring.page import to_html, to_json
from sabia.monitoring.report import distributions, generate
from sabia.store.objects import Store

MEMORY = "512MB"


def period(days: int, until: date | None = None) -> tuple[date, date]:
    """The first and the last of `days` days, both in UTC; `until` is the last one, today by default."""
    last = until or datetime.now(UTC).date()
    return last - timedelta(days=days - 1), last


def write_report(store: Store, model: str, since: date, until: date, *, memory: str = MEMORY) -> tuple[str, str]:
    """Write the report of a period to the store and return its keys: the page's, and that of the same as JSON.

    `memory` is the limit of the database, in DuckDB's notation.

    Raises:
        NothingLogged: the period has no log.
        InvalidReference: a version's reference.json cannot be read.
        SabiaError: the store failed, or its data is not what was published.
    """
    return publish(store, generate(store, model, since, until, memory=memory))


def publish(store: Store, report: Report) -> tuple[str, str]:
    """Write a report to the store, as a page and as JSON, and return the two keys.

    Raises:
        StoreError: the store failed.
    """
    page, document = report_keys(report.model, datetime.fromisoformat(report.made_at))
    store.create(page, to_html(report).encode())
    store.create(document, to_json(report))
    return page, document


def drift_verdict(store: Store, model: str, since: date, until: date, *, memory: str = MEMORY) -> dict[str, list[str]]:
    """The drifted features of each version in a period; versions without drift are left out.

    Raises:
        As `write_report`.
    """
    by_version = distributions(store, model, since, until, memory=memory)
    return {version: names for version, found in by_version.items() if (names := drift.names(found.drift))}
