"""`python -m sabia.monitoring`: the report and the verdict on drift, as jobs that write to the store or fail.

Without arguments beside the model a job looks at the last seven days, in UTC, today among them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from sabia.contract.inferencelog import report_keys
from sabia.monitoring import drift
from sabia.monitoring.counts import Distribution
from sabia.monitoring.errors import MonitoringError
from sabia.monitoring.facts import Facts, distributions, gather
from sabia.monitoring.report import to_html, to_json
from sabia.rollout.errors import RolloutError
from sabia.store.errors import ArtifactError
from sabia.store.objects import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done; 1: something drifted, or it failed, with the sentence that says why."""
    parser = argparse.ArgumentParser(prog="python -m sabia.monitoring", description=__doc__)
    parser.add_argument("job", choices=("report", "drift"), help="write the report to the store, or fail on drift")
    parser.add_argument("model")
    parser.add_argument("--store", default=os.environ.get("SABIA_STORE"), help="URL of the store (SABIA_STORE)")
    parser.add_argument("--days", type=int, default=7, help="how many days, the last one among them")
    parser.add_argument("--until", type=date.fromisoformat, default=None, help="the last day; today without it")
    parser.add_argument("--memory", default="512MB", help="what the database may hold")
    given = parser.parse_args(arguments)
    if given.store is None:
        parser.error("--store, or SABIA_STORE, is needed")
    until = given.until or datetime.now(UTC).date()
    try:
        store, since = Store.open(given.store), until - timedelta(days=given.days - 1)
        if given.job == "drift":
            return _drift(distributions(store, given.model, since, until, memory=given.memory))
        for key in publish(store, gather(store, given.model, since, until, memory=given.memory)):
            print(f"wrote {store.uri(key)}")
    except (ArtifactError, MonitoringError, RolloutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _drift(found: Mapping[str, Distribution]) -> int:
    """1 when anything has drifted, and said what."""
    drifted = {version: names for version, of in found.items() if (names := drift.names(of.compared))}
    for version, names in drifted.items():
        print(f"{version} has drifted: {', '.join(names)}", file=sys.stderr)
    return 1 if drifted else 0


def publish(store: Store, facts: Facts) -> tuple[str, str]:
    """Write a report to the store, as a page and as JSON; returns the keys.

    Raises:
        StoreError: the store failed.
    """
    page, document = report_keys(facts.model, datetime.fromisoformat(facts.made_at))
    store.create(page, to_html(facts).encode())
    store.create(document, to_json(facts))
    return page, document


if __name__ == "__main__":
    sys.exit(main())
