"""The steps of the demo: each does one thing on real servers, checks it, and adds its facts to the summary."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import cycle, islice
from typing import Any

import numpy as np
from rich.progress import track

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.demo.checks import CONFIDENCE, Checks, interval
from sabia.demo.client import Client, Reply
from sabia.local import counters
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.local.state import running
from sabia.monitoring import table
from sabia.monitoring.archive import Archive
from sabia.monitoring.labels import add as add_labels
from sabia.monitoring.page import to_html, to_json
from sabia.monitoring.quality import Quality
from sabia.monitoring.report import generate
from sabia.registry import catalogue
from sabia.registry.claim import Change
from sabia.rollout import engine
from sabia.rollout.plan import from_mapping
from sabia.rollout.ports import Source
from sabia.rollout.record import replay
from sabia.store.objects import Store
from sabia.terminal import errors, log, print_line, print_table
from sabia.training import job
from sabia.training.datasets import load, split
from sabia.training.recipe import BREAST_CANCER, read

SIX = ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]
STABLE, CANARY = "1.2", "2.0"
# A version that looks healthy and is not. It fails from its 200th request on, so that no probe notices.
BROKEN, FAULTS = "2.1", "errors=0.08,after=200"
PHASES = ((90, 10), (50, 50), (0, 100), (90, 10))
# Short steps: what takes an hour of a real service's traffic takes seconds of the demo's.
_ROLLOUT = {
    "steps": [5, 25, 50],
    "minimum_dwell": "4s",
    "look_every": "1s",
    "warm_up": "3s",
    "deadline": "2m",
    "on_deadline": "roll-back",
    # The talk's models: a line and a logistic curve are meant to predict differently.
    "watch": {"errors": {}, "latency": {}, "predictions": {"budget": 0.6}},
}
_LOG_SECONDS = 30.0


@dataclass(slots=True)
class Demo:
    """A run of the demo.

    Attributes:
        stack: the platform, with an empty store.
        requests: how many requests each traffic phase sends.
        summary: the facts of every step so far.
        weighted: replies of the traffic phases.
        store, client, traffic, source: set by `train` and `serve`.
    """

    stack: Stack
    requests: int
    checks: Checks
    summary: dict[str, Any] = field(default_factory=dict)
    weighted: list[Reply] = field(default_factory=list)
    store: Store = field(init=False)
    client: Client = field(init=False)
    traffic: EnvoySplit = field(init=False)
    source: Source = field(init=False)


def train(demo: Demo) -> None:
    """Publish six versions into an empty store; publishing them again writes nothing."""
    demo.store = demo.stack.start_store().open()
    rows = job.train(demo.store, log=log)
    cells = [[row["version"], row["change"], row["note"], row["metrics"]["accuracy"]] for row in rows]
    print_table(["version", "change", "note", "accuracy"], cells, title="published")
    numbers = [row["version"] for row in rows]
    demo.checks.add("six versions are published", numbers == SIX, ", ".join(numbers))
    again = {str(row["change"]) for row in job.train(demo.store, log=log)}
    demo.checks.add("running the recipe again writes nothing", again == {str(Change.NOTHING)}, ", ".join(sorted(again)))
    demo.summary |= {"model": demo.stack.model, "published": rows}


def serve(demo: Demo) -> None:
    """Start the predictors and the gateway."""
    demo.stack.start_predictors()
    gateway = demo.stack.start_gateway()
    recipe = read(BREAST_CANCER)
    held_out = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed).held_out
    state = running(demo.stack.folder)
    demo.client = Client(gateway.url, demo.stack.model, held_out)
    demo.traffic = EnvoySplit.from_state(gateway, state)
    demo.source = counters.pages(gateway, state)


def pin_each_version(demo: Demo) -> None:
    """Request every held-out row from every version by the pin header: each is as accurate as when published."""
    versions = []
    for version in [spec.version for spec in demo.stack.specs.values() if spec.version != BROKEN]:
        replies = demo.client.request(list(range(demo.client.rows.rows)), {names.PIN_HEADER: version})
        only = {reply.version for reply in replies} == {version}
        demo.checks.add(f"the header pins {version}", only, f"{len(replies)} responses")
        manifest = catalogue.manifest_of(demo.store, demo.stack.model, Version.parse(version))
        accuracy = demo.client.accuracy(replies)
        published = manifest.metrics.values["accuracy"]
        same = abs(accuracy - published) < 1e-12
        demo.checks.add(f"{version} is as accurate live as when published", same, f"{accuracy:.4f}")
        versions.append({"version": version, "accuracy": accuracy, "published_accuracy": published})
    demo.summary["versions"] = versions


def split_traffic(demo: Demo) -> None:
    """Change the weights under load, several times: each version gets its share, and no request fails."""
    demo.summary["phases"] = [_phase(demo, stable, canary) for stable, canary in PHASES]


def _phase(demo: Demo, stable: int, canary: int) -> dict[str, Any]:
    rows, count, name = demo.client.rows.rows, demo.requests, f"{stable}/{canary}"
    with ThreadPoolExecutor(1) as pool:
        during = pool.submit(demo.client.request, list(islice(cycle(range(rows)), count // 4)))
        demo.traffic.set_weights({STABLE: stable, CANARY: canary})
        changing = during.result()
    indices = track(list(islice(cycle(range(rows)), count)), f"weights {name}", console=errors, transient=True)
    replies = demo.client.request(list(indices))
    demo.weighted += replies
    failed = sum(reply.status != 200 for reply in [*changing, *replies])
    counts = Counter(reply.version for reply in replies)
    low, high = interval(count, canary / (stable + canary))
    measured = f"{counts[CANARY]} in [{low}, {high}]"
    demo.checks.add(f"{name}: {CANARY} gets its share", low <= counts[CANARY] <= high, measured)
    demo.checks.add(f"{name}: no request fails, not even during the change", failed == 0, f"{failed} failed")
    p50, p99 = np.percentile(np.array([reply.seconds for reply in replies]) * 1000, [50, 99])
    row = [name, counts[STABLE], counts[CANARY], f"[{low}, {high}]", f"{p50:.1f} ms", f"{p99:.1f} ms"]
    print_table(["weights", STABLE, CANARY, f"{CANARY} expected", "p50", "p99"], [row])
    return {
        "weights": {STABLE: stable, CANARY: canary},
        "counts": dict(counts),
        "interval": {"version": CANARY, "low": low, "high": high, "confidence": CONFIDENCE},
        "failed": failed,
        "latency_ms": {"p50": round(float(p50), 3), "p99": round(float(p99), 3)},
    }


def compare_accuracy(demo: Demo) -> None:
    """Compute each version's accuracy on the requests that the weights sent it."""
    versions = []
    for version in [item["version"] for item in demo.summary["versions"]]:
        replies = [reply for reply in demo.weighted if reply.version == version]
        versions.append({"version": version, "responses": len(replies), "accuracy": demo.client.accuracy(replies)})
    rows = [[item["version"], item["responses"], f"{item['accuracy']:.4f}"] for item in versions]
    print_table(["version", "responses by weight", "accuracy"], rows)
    responses = [item["responses"] for item in versions]
    demo.checks.add("both versions get requests by weight", all(responses), responses)
    demo.summary["live_accuracy"] = versions


def roll_out(demo: Demo) -> None:
    """Two rollouts by evidence under load: a good version is promoted, a broken one is rolled back."""
    demo.traffic.set_weights({STABLE: 100})
    demo.summary["rollouts"] = [
        _roll_out(demo, STABLE, CANARY, "Promoted"),
        _roll_out(demo, CANARY, BROKEN, "RolledBack"),
    ]


def _roll_out(demo: Demo, stable: str, canary: str, phase: str) -> dict[str, Any]:
    plan = from_mapping({"model": demo.client.model, "stable": stable, "canary": canary, **_ROLLOUT})
    started = engine.start(demo.store, plan, demo.traffic.weights(), actor="demo")
    with demo.client.load() as replies:
        state = engine.Engine(started, demo.traffic, demo.source, report=log).run()
    summary = started.head().entry.summary
    print_line(f"{stable} -> {canary}: {summary}")
    failed = [reply for reply in replies if reply.status != 200]
    others = [reply for reply in failed if reply.version != canary]
    what = "promoted" if phase == "Promoted" else "rolled back"
    demo.checks.add(
        f"{canary} is {what} by evidence", state.phase == phase, f"{state.phase} after {state.elapsed:.0f} s"
    )
    measured = f"{len(others)} of {len(replies)}; {len(failed)} by {canary} itself"
    demo.checks.add(f"moving to {canary} fails no request of another version", not others, measured)
    same = [item.same for item in replay(started)]
    demo.checks.add(f"a replay of {stable} -> {canary} computes the same states", all(same), f"{len(same)} entries")
    return {
        "stable": stable,
        "canary": canary,
        "phase": state.phase,
        "summary": summary,
        "records": len(same),
        "weights": demo.traffic.weights(),
        "requests": len(replies),
        "failed": len(failed),
    }


def report(demo: Demo) -> None:
    """Label the predictions and generate the report from the log; it agrees with what the client measured."""
    client, store, folder = demo.client, demo.store, demo.stack.folder
    successful = [reply for reply in client.replies if reply.status == 200]
    request_ids = {reply.request_id for reply in client.replies if reply.request_id}
    log("waiting for the last records of the inference log")
    today = datetime.now(UTC).date()
    first = today - timedelta(days=1)  # the demo may have started before midnight
    logged = _logged(store, client.model, first, today, request_ids)
    demo.checks.add(
        "the inference log has every request with a response once",
        logged == Counter(dict.fromkeys(request_ids, 1)),
        f"{logged.total():,} records of {len(request_ids):,} requests",
    )
    path = folder / "labels.csv"
    lines = [f"{reply.request_id},{client.rows.target[reply.row]:g}\n" for reply in successful]
    path.write_text("request_id,label\n" + "".join(lines))
    added = add_labels(store, client.model, path)
    facts = generate(store, client.model, first, today)
    print_table(table.COLUMNS, table.rows(facts), title=f"{facts.model}, from the log")
    for served in facts.versions:
        mine = [reply for reply in successful if reply.version == served.version]
        quality, accuracy = served.quality, client.accuracy(mine)
        same = (
            isinstance(quality, Quality)
            and quality.rows == len(mine)
            and abs(quality.accuracy.value - accuracy) < 1e-12
        )
        name = f"the report's accuracy of {served.version} is the client's"
        demo.checks.add(name, same, f"{accuracy:.4f} of {len(mine):,}")
    same = all(served.skew is not None and served.skew.largest_difference < 1e-9 for served in facts.versions)
    demo.checks.add("served predictions are those of the artifacts", same, "predicted again from the log")
    demo.checks.add("rows like the training rows are not reported as drift", not facts.drifted, facts.drifted or "none")
    page = folder / "report.html"
    page.write_text(to_html(facts))
    (folder / "report.json").write_bytes(to_json(facts))
    print_line(f"the report is {page}")
    drift = {served.version: served.drifted for served in facts.versions}
    demo.summary["report"] = {"page": str(page), "labels": added.labels, "drift": drift}


def _logged(store: Store, model: str, first: date, last: date, request_ids: set[str]) -> Counter[str]:
    """The number of records of each request, once every request has one, or after a while."""
    deadline = time.monotonic() + _LOG_SECONDS
    while True:
        with Archive(store, model, first, last) as archive:
            rows = archive.rows("SELECT request_id, count(*) FROM log GROUP BY 1")
        counts = Counter({request_id: count for request_id, count in rows if request_id in request_ids})
        if len(counts) == len(request_ids) or time.monotonic() > deadline:
            return counts
        time.sleep(0.5)


STEPS = (train, serve, pin_each_version, split_traffic, compare_accuracy, roll_out, report)
