"""The scheduled jobs: a report in the store, and the verdict on drift."""

from __future__ import annotations

from datetime import date, datetime

from sabia.contract.inferencelog import report_keys
from sabia.monitoring import drift
from sabia.monitoring.document import Report
from sabia.monitoring.page import to_html, to_json
from sabia.monitoring.report import distributions
from sabia.store.objects import Store


def publish(store: Store, report: Report) -> tuple[str, str]:
    """Write a report to the store, as a page and as JSON, and return the two keys.

    Raises:
        StoreError: the store failed.
    """
    page, document = report_keys(report.model, datetime.fromisoformat(report.made_at))
    store.create(page, to_html(report).encode())
    store.create(document, to_json(report))
    return page, document


def drift_verdict(store: Store, model: str, since: date, until: date, *, memory: str = "512MB") -> dict[str, list[str]]:
    """The drifted features of each version in a period; versions without drift are left out.

    `memory` is the database's memory limit, in DuckDB's notation.

    Raises:
        NothingLogged: the period has no log.
        InvalidReference: a version's reference.json cannot be read.
        SabiaError: the store failed, or its data is not what was published.
    """
    by_version = distributions(store, model, since, until, memory=memory)
    return {version: names for version, rows in by_version.items() if (names := drift.names(rows.drift))}
