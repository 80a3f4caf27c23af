"""`sabia demo`: the whole path of the data on real servers, and two rollouts by evidence; checked at every step."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import requests
from rich.progress import track
from scipy.stats import binom

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.demo.errors import DemoFailed, DemoStopped
from sabia.local import counters as stack_metrics
from sabia.local.composition import Serving
from sabia.local.envoy import Gateway
from sabia.local.signals import Stopped, stop_on_sigterm
from sabia.local.split import EnvoySplit
from sabia.local.stack import Stack
from sabia.local.state import running
from sabia.monitoring import table
from sabia.monitoring.archive import Archive
from sabia.monitoring.labels import add as add_labels
from sabia.monitoring.page import to_html, to_json
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
from sabia.training.datasets import Dataset, load, split
from sabia.training.recipe import BREAST_CANCER, read

# The version that looks healthy and is not, and how it fails: from its 200th call on, so that no probe would see it.
BROKEN, FAULTS = "2.1", "errors=0.08,after=200"
# Short steps; what takes an hour of a real service's traffic takes seconds of the demo's.
_ROLLOUT = {
    "steps": [5, 25, 50],
    "minimum_dwell": "4s",
    "look_every": "1s",
    "warm_up": "3s",
    "deadline": "2m",
    "on_deadline": "roll-back",
    # The talk's models: a line and a logistic curve are meant to answer otherwise.
    "watch": {"errors": {}, "latency": {}, "predictions": {"budget": 0.6}},
}
PHASES = ((90, 10), (50, 50), (0, 100), (90, 10))
# Three of the phases are random; at this level a demo fails by chance once in some 3,000 runs.
CONFIDENCE = 0.9999
_CLIENTS = 4
_LOG_SECONDS = 30.0


@dataclass(slots=True)
class Checks:
    """What the demo promises, each with what was seen."""

    results: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, held: bool, seen: object) -> None:
        """Note one check."""
        self.results.append({"check": name, "held": held, "seen": str(seen)})

    @property
    def held(self) -> bool:
        """Whether every one did."""
        return all(result["held"] for result in self.results)


@dataclass(frozen=True, slots=True)
class Reply:
    """One answered call: the held-out row that was asked, by which version, how, and in what time (seconds)."""

    row: int
    status: int
    version: str
    prediction: float
    seconds: float
    request_id: str


def run(folder: Path, calls: int) -> None:
    """The demo, with `calls` for each split.

    Raises:
        DemoFailed: a check did not hold.
        DemoStopped: a signal arrived.
    """
    stop_on_sigterm()
    checks = Checks()
    started = time.monotonic()
    try:
        with _fresh(folder) as stack:
            summary = _path_of_the_data(stack, checks, calls)
            children = [process.pid for process in stack.processes]
        checks.add("every server was stopped", not any(map(_exists, children)), f"{len(children)} processes ended")
    except (Stopped, KeyboardInterrupt):
        raise DemoStopped from None
    summary |= {"seconds": round(time.monotonic() - started, 1), "checks": checks.results, "held": checks.held}
    path = folder / "summary.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
    print_table(
        ["check", "held", "seen"], [[c["check"], "yes" if c["held"] else "NO", c["seen"]] for c in checks.results]
    )
    print_line(f"{summary['seconds']} s; everything is in {path}")
    if not checks.held:
        raise DemoFailed


@contextmanager
def _fresh(folder: Path) -> Iterator[Stack]:
    """A stack with an empty store."""
    serving = Serving(extra=[BROKEN], faults={BROKEN: FAULTS})
    with Stack(folder, serving=serving, log=log) as stack:
        shutil.rmtree(stack.folder / "objects", ignore_errors=True)
        (stack.folder / "summary.json").unlink(missing_ok=True)
        yield stack


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _path_of_the_data(stack: Stack, checks: Checks, count: int) -> dict[str, Any]:
    store = stack.start_store().open()
    published = _train(store, checks)
    stack.start_predictors()
    gateway = stack.start_gateway()
    recipe = read(BREAST_CANCER)
    held_out = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed).held_out
    client = Client(gateway, stack.model, held_out)
    pinned = _ask_each_version(client, store, stack, checks)
    state = running(stack.folder)
    traffic = EnvoySplit.of(gateway, state)
    phases = [_phase(client, traffic, weights, count, checks) for weights in PHASES]
    live = _live_accuracy(client, checks, pinned)
    source = stack_metrics.pages(gateway, state)
    traffic.set_weights({"1.2": 100})
    rollouts = [
        _roll_out(store, client, traffic, source, checks, stable, canary, end)
        for stable, canary, end in (("1.2", "2.0", "Promoted"), ("2.0", BROKEN, "RolledBack"))
    ]
    return {
        "report": _monitor(store, client, stack.folder, checks),
        "rollouts": rollouts,
        "model": stack.model,
        "published": published,
        "versions": pinned,
        "phases": phases,
        "live_accuracy": live,
    }


def _monitor(store: Store, client: Client, folder: Path, checks: Checks) -> dict[str, Any]:
    """Label what was answered, and make the report from the log; checked against what the client saw."""
    answered = [reply for reply in client.every_reply if reply.status == 200]
    known = {reply.request_id: reply for reply in client.every_reply if reply.request_id}
    log("waiting for the last records of the inference log")
    today = datetime.now(UTC).date()
    began = today - timedelta(days=1)  # it may have been before midnight
    logged = _logged(store, client.model, began, today, set(known))
    checks.add(
        "the inference log has every answered call once",
        logged == Counter(dict.fromkeys(known, 1)),
        f"{logged.total():,} records of {len(known):,} calls",
    )
    path = folder / "labels.csv"
    lines = [f"{reply.request_id},{client.rows.target[reply.row]:g}\n" for reply in answered]
    path.write_text("request_id,label\n" + "".join(lines))
    added = add_labels(store, client.model, path)
    facts = generate(store, client.model, began, today)
    print_table(table.COLUMNS, table.rows(facts), title=f"{facts.model}, from the log")
    seen = {served.version: served for served in facts.versions}
    for version in sorted(seen):
        mine = [reply for reply in answered if reply.version == version]
        quality = seen[version].quality
        right = _accuracy(client, mine)
        same = quality is not None and quality.rows == len(mine) and abs(quality.accuracy.value - right) < 1e-12
        checks.add(f"the report's accuracy of {version} is what the client saw", same, f"{right:.4f} of {len(mine):,}")
    same = all(served.skew is not None and served.skew.largest_difference < 1e-9 for served in facts.versions)
    checks.add("what was served is what the artifacts answer", same, "decided again from the log")
    checks.add("rows like the training rows are called no drift", not facts.drifted, facts.drifted or "none")
    page = folder / "report.html"
    page.write_text(to_html(facts))
    (folder / "report.json").write_bytes(to_json(facts))
    print_line(f"the report is {page}")
    return {"page": str(page), "labels": added.labels, "drift": {name: each.drifted for name, each in seen.items()}}


def _logged(store: Store, model: str, first: date, last: date, wanted: set[str]) -> Counter[str]:
    """How often each call is in the log, once all of them are, or nothing more comes."""
    deadline = time.monotonic() + _LOG_SECONDS
    while True:
        with Archive(store, model, first, last) as archive:
            found = Counter(
                {
                    name: count
                    for name, count in archive.rows("SELECT request_id, count(*) FROM log GROUP BY 1")
                    if name in wanted
                }
            )
        if len(found) == len(wanted) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def _train(store: Store, checks: Checks) -> list[dict[str, Any]]:
    rows = job.train(store, log=log)
    print_table(["version", "change", "note", "accuracy"], [list(row.values())[:4] for row in rows], title="published")
    numbers = [row["version"] for row in rows]
    checks.add("six versions were claimed", numbers == ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"], ", ".join(numbers))
    again = {str(row["change"]) for row in job.train(store, log=log)}
    checks.add("the recipe run again writes nothing", again == {str(Change.NOTHING)}, ", ".join(sorted(again)))
    return rows


class Client:
    """Calls through the gateway with held-out rows, one connection for each of a few clients; no call is retried."""

    def __init__(self, gateway: Gateway, model: str, rows: Dataset) -> None:
        self.rows = rows
        self.replies: list[Reply] = []
        self.every_reply: list[Reply] = []
        self.model = model
        self._url = gateway.url + names.v1_predict(model)
        self._bodies = [msgspec.json.encode({"instances": [row]}) for row in rows.features.tolist()]

    def ask(self, indices: list[int], headers: dict[str, str] | None = None) -> list[Reply]:
        """Ask for these rows, from a few clients at once."""
        shares = [indices[start::_CLIENTS] for start in range(_CLIENTS)]
        with ThreadPoolExecutor(_CLIENTS) as pool:
            return [reply for part in pool.map(lambda share: self._ask(share, headers or {}), shares) for reply in part]

    @contextmanager
    def calling(self) -> Iterator[list[Reply]]:
        """Calls that go on meanwhile, with rows in random order; what they got is complete when this is left."""
        replies: list[Reply] = []
        stop = threading.Event()

        def call(seed: int) -> None:
            order = np.random.default_rng(seed)
            while not stop.is_set():
                replies.extend(self._ask(order.integers(self.rows.rows, size=20).tolist(), {}))

        with ThreadPoolExecutor(_CLIENTS) as pool:
            clients = [pool.submit(call, seed) for seed in range(_CLIENTS)]
            try:
                yield replies
            finally:
                stop.set()
                for done in clients:
                    done.result()

    def _ask(self, indices: list[int], headers: dict[str, str]) -> list[Reply]:
        with requests.Session() as session:
            session.headers.update({"content-type": "application/json", **headers})
            found = [self._reply(session, at) for at in indices]
        self.every_reply.extend(found)
        return found

    def _reply(self, session: requests.Session, at: int) -> Reply:
        started = time.perf_counter()
        try:
            answer = session.post(self._url, data=self._bodies[at], timeout=10)
            prediction = answer.json()["predictions"][0] if answer.ok else float("nan")
            status, version = answer.status_code, answer.headers.get(names.PIN_HEADER, "none")
            request_id = answer.headers.get(names.REQUEST_ID_HEADER, "")
        except requests.RequestException:
            status, version, prediction, request_id = 0, "none", float("nan"), ""
        return Reply(at, status, version, prediction, time.perf_counter() - started, request_id)


def _ask_each_version(client: Client, store: Store, stack: Stack, checks: Checks) -> list[dict[str, Any]]:
    """Ask every held-out row of every version, by the header that pins one."""
    found = []
    for spec in (spec for spec in stack.specs.values() if spec.version != BROKEN):
        replies = client.ask(list(range(client.rows.rows)), {names.PIN_HEADER: spec.version})
        only = {reply.version for reply in replies} == {spec.version}
        checks.add(f"the header pins {spec.version}", only, f"{len(replies)} answers")
        manifest = catalogue.manifest_of(store, stack.model, Version.parse(spec.version))
        accuracy = _accuracy(client, replies)
        same = abs(accuracy - manifest.metrics.accuracy) < 1e-12
        checks.add(f"{spec.version} is as accurate live as when published", same, f"{accuracy:.4f}")
        found.append({"version": spec.version, "accuracy": accuracy, "published_accuracy": manifest.metrics.accuracy})
    return found


def _accuracy(client: Client, replies: list[Reply]) -> float:
    correct = [
        (reply.prediction >= 0.5) == bool(client.rows.target[reply.row]) for reply in replies if reply.status == 200
    ]
    return float(np.mean(correct)) if correct else 0.0


def _phase(client: Client, traffic: EnvoySplit, weights: tuple[int, int], count: int, checks: Checks) -> dict[str, Any]:
    """Set the weights while calls are under way, then count who answers."""
    stable, canary = "1.2", "2.0"
    with ThreadPoolExecutor(1) as pool:
        meanwhile = pool.submit(client.ask, list(islice(cycle(range(client.rows.rows)), count // 4)))
        traffic.set_weights({stable: weights[0], canary: weights[1]})
        during = meanwhile.result()
    rows = list(islice(cycle(range(client.rows.rows)), count))
    replies = client.ask(list(track(rows, f"asking at {weights[0]}/{weights[1]}", console=errors, transient=True)))
    client.replies += replies
    failed = sum(reply.status != 200 for reply in [*during, *replies])
    counts = Counter(reply.version for reply in replies)
    low, high = interval(count, weights[1] / sum(weights))
    name = f"{weights[0]}/{weights[1]}"
    checks.add(
        f"{name}: {canary} gets its share", low <= counts[canary] <= high, f"{counts[canary]} in [{low}, {high}]"
    )
    checks.add(f"{name}: no call failed, the change of weights included", failed == 0, f"{failed} failed")
    times = np.array([reply.seconds for reply in replies]) * 1000
    p50, p99 = np.percentile(times, [50, 99])
    row = [name, counts[stable], counts[canary], f"[{low}, {high}]", f"{p50:.1f} ms", f"{p99:.1f} ms"]
    print_table(["weights", stable, canary, f"{canary} expected", "p50", "p99"], [row])
    return {
        "weights": {stable: weights[0], canary: weights[1]},
        "counts": dict(counts),
        "interval": {"version": canary, "low": low, "high": high, "confidence": CONFIDENCE},
        "failed": failed,
        "latency_ms": {"p50": round(float(p50), 3), "p99": round(float(p99), 3)},
    }


def interval(count: int, share: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """The exact central interval that a binomial count falls into with at least this probability."""
    low, high = binom.interval(confidence, count, share)
    return int(low), int(high)


def _live_accuracy(client: Client, checks: Checks, pinned: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often each version was right among the split calls it happened to get."""
    found = []
    for version in [item["version"] for item in pinned]:
        replies = [reply for reply in client.replies if reply.version == version]
        found.append({"version": version, "answers": len(replies), "accuracy": _accuracy(client, replies)})
    print_table(
        ["version", "answers in the split", "right"],
        [[f["version"], f["answers"], f"{f['accuracy']:.4f}"] for f in found],
    )
    checks.add(
        "both versions answered in the split", all(item["answers"] for item in found), [f["answers"] for f in found]
    )
    return found


def _roll_out(
    store: Store,
    client: Client,
    traffic: EnvoySplit,
    source: Source,
    checks: Checks,
    stable: str,
    canary: str,
    end: str,
) -> dict[str, Any]:
    """A rollout by evidence while clients call; checked is its end, and that nobody but the canary failed anybody."""
    plan = from_mapping({"model": client.model, "stable": stable, "canary": canary, **_ROLLOUT})
    began = engine.start(store, plan, traffic.weights(), actor="demo")
    with client.calling() as load:
        state = engine.Engine(began, traffic, source, report=log).run()
    summary = began.head().entry.summary
    print_line(f"{stable} -> {canary}: {summary}")
    failed = [reply for reply in load if reply.status != 200]
    others = [reply for reply in failed if reply.version != canary]
    what = "promoted" if end == "Promoted" else "rolled back"
    checks.add(f"{canary} is {what} by evidence", state.phase == end, f"{state.phase} after {state.elapsed:.0f} s")
    checks.add(
        f"moving to {canary} failed no request by itself",
        not others,
        f"{len(others)} of {len(load)}; {len(failed)} by {canary} itself",
    )
    same = [item.same for item in replay(began)]
    checks.add(f"a replay of {stable} -> {canary} decides the same", all(same), f"{len(same)} records")
    weights = traffic.weights()
    return {
        "stable": stable,
        "canary": canary,
        "phase": state.phase,
        "summary": summary,
        "records": len(same),
        "weights": weights,
        "requests": len(load),
        "failed": len(failed),
    }
