"""`python -m sabia.monitoring`: the report and the verdict on drift, as jobs that write to the store or fail.

Without arguments beside the model a job looks at the last seven days, in UTC, today among them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import date

from sabia.monitoring import jobs
from sabia.monitoring.errors import MonitoringError
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
    try:
        store, (since, until) = Store.open(given.store), jobs.period(given.days, given.until)
        if given.job == "drift":
            drifted = jobs.drift_verdict(store, given.model, since, until, memory=given.memory)
            for version, names in drifted.items():
                print(f"{version} has drifted: {', '.join(names)}", file=sys.stderr)
            return 1 if drifted else 0
        for key in jobs.write_report(store, given.model, since, until, memory=given.memory):
            print(f"wrote {store.uri(key)}")
    except (ArtifactError, MonitoringError, RolloutError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
