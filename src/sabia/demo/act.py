"""An act of the demo: one model on a stack of its own, with what the steps of every act need."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sabia.demo.checks import Checks
from sabia.demo.client import Client, Reply
from sabia.local import counters
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.local.state import running
from sabia.monitoring import table
from sabia.monitoring.archive import Archive
from sabia.monitoring.document import Report
from sabia.monitoring.labelbatches import with_labels
from sabia.monitoring.page import to_html, to_json
from sabia.monitoring.quality import Quality
from sabia.monitoring.report import generate
from sabia.rollout import engine
from sabia.rollout.plan import Plan, from_mapping
from sabia.rollout.ports import Source
from sabia.rollout.record import replay
from sabia.rollout.state import State
from sabia.store.objects import Store
from sabia.terminal import log, print_line, print_table

_LOG_SECONDS = 30.0


@dataclass(slots=True)
class Act:
    """A run of one act.

    Attributes:
        stack: the platform, with an empty store.
        requests: how many requests each traffic phase sends.
        summary: the facts of every step so far.
        store, client, traffic, source: set by the steps that train and `serve`.
    """

    stack: Stack
    requests: int
    checks: Checks
    summary: dict[str, Any] = field(default_factory=dict)
    store: Store = field(init=False)
    client: Client = field(init=False)
    traffic: EnvoySplit = field(init=False)
    source: Source = field(init=False)

    def serve(
        self,
        instances: Sequence[object],
        target: Sequence[int],
        *,
        order: Sequence[int],
        rate: float | None = None,
    ) -> None:
        """Start the predictors, the gateway, and a client; for its arguments see `Client`."""
        self.stack.start_predictors()
        gateway = self.stack.start_gateway()
        state = running(self.stack.folder)
        self.client = Client(gateway.url, self.stack.model, instances, target, order=order, rate=rate)
        self.traffic = EnvoySplit.from_state(gateway, state)
        self.source = counters.pages(gateway, state)

    def roll_out(self, rules: Mapping[str, Any], *, stable: str, canary: str, phase: str) -> tuple[Plan, State]:
        """Roll out a canary by evidence under load, check that it ends in `phase`, and add its facts to the summary."""
        plan = from_mapping({"model": self.client.model, "stable": stable, "canary": canary, **rules})
        started = engine.start(self.store, plan, self.traffic.weights(), actor="demo")
        with self.client.load() as replies:
            source = with_labels(self.source, self.store, started, report=log)
            state = engine.Engine(started, self.traffic, source, report=log).run()
        summary = started.head().entry.summary
        print_line(f"{stable} -> {canary}: {summary}")
        failed = [reply for reply in replies if reply.status != 200]
        others = [reply for reply in failed if reply.version != canary]
        what = "promoted" if phase == "Promoted" else "rolled back"
        self.checks.add(
            f"{canary} is {what} by evidence", state.phase == phase, f"{state.phase} after {state.elapsed:.0f} s"
        )
        measured = f"{len(others)} of {len(replies)}; {len(failed)} by {canary} itself"
        self.checks.add(f"moving to {canary} fails no request of another version", not others, measured)
        same = [item.same for item in replay(started)]
        self.checks.add(f"a replay of {stable} -> {canary} computes the same states", all(same), f"{len(same)} entries")
        self.summary.setdefault("rollouts", []).append(
            {
                "stable": stable,
                "canary": canary,
                "phase": state.phase,
                "summary": summary,
                "records": len(same),
                "weights": self.traffic.weights(),
                "requests": len(replies),
                "failed": len(failed),
            }
        )
        return plan, state

    def check_log(self) -> None:
        """Check that the inference log gets every request once."""
        request_ids = {reply.request_id for reply in self.client.replies if reply.request_id}
        log("waiting for the last records of the inference log")
        logged = self._logged(request_ids)
        self.checks.add(
            "the inference log has every request with a response once",
            logged == Counter(dict.fromkeys(request_ids, 1)),
            f"{logged.total():,} records of {len(request_ids):,} requests",
        )

    def report(self) -> Report:
        """Generate the report and check that it agrees with what the client measured."""
        facts = generate(self.store, self.client.model, *_days())
        print_table(table.COLUMNS, table.rows(facts), title=f"{facts.model}, from the log")
        for served in facts.versions:
            mine = [reply for reply in self.successful if reply.version == served.version]
            quality, accuracy = served.quality, self.client.accuracy(mine)
            same = (
                isinstance(quality, Quality)
                and quality.rows == len(mine)
                and abs(quality.accuracy.value - accuracy) < 1e-12
            )
            name = f"the report's accuracy of {served.version} is the client's"
            self.checks.add(name, same, f"{accuracy:.4f} of {len(mine):,}")
        same = all(served.skew is not None and served.skew.largest_difference < 1e-9 for served in facts.versions)
        self.checks.add("served predictions are those of the artifacts", same, "predicted again from the log")
        page = self.stack.folder / "report.html"
        page.write_text(to_html(facts))
        (self.stack.folder / "report.json").write_bytes(to_json(facts))
        print_line(f"the report is {page}")
        drift = {served.version: served.drifted for served in facts.versions}
        self.summary["report"] = {"page": str(page), "drift": drift}
        return facts

    @property
    def successful(self) -> list[Reply]:
        """The replies with a prediction."""
        return [reply for reply in self.client.replies if reply.status == 200]

    def _logged(self, request_ids: set[str]) -> Counter[str]:
        """The number of records of each request, once every request has one, or after a while."""
        deadline = time.monotonic() + _LOG_SECONDS
        while True:
            with Archive(self.store, self.client.model, *_days()) as archive:
                rows = archive.rows("SELECT request_id, count(*) FROM log GROUP BY 1")
            counts = Counter({request_id: count for request_id, count in rows if request_id in request_ids})
            if len(counts) == len(request_ids) or time.monotonic() > deadline:
                return counts
            time.sleep(0.5)


def _days() -> tuple[date, date]:
    """The days of the log: the demo may have started before midnight."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=1), today
