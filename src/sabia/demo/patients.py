"""The first act: the talk's six versions of a model of tumours; each step does one thing and checks it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import numpy as np
from rich.progress import track

from sabia.contract import names
from sabia.contract.layout import Version
from sabia.demo.act import Act
from sabia.demo.checks import CONFIDENCE, interval
from sabia.demo.client import Reply
from sabia.monitoring.labels import add as add_labels
from sabia.registry import catalogue
from sabia.registry.claim import Change
from sabia.terminal import errors, log, print_table
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


@dataclass(slots=True)
class Patients(Act):
    """A run of the first act. `weighted` are the replies of the traffic phases."""

    weighted: list[Reply] = field(default_factory=list)


def train(act: Patients) -> None:
    """Publish six versions into an empty store; publishing them again writes nothing."""
    act.store = act.stack.start_store().open()
    rows = job.train(act.store, log=log)
    cells = [[row["version"], row["change"], row["note"], row["metrics"]["accuracy"]] for row in rows]
    print_table(["version", "change", "note", "accuracy"], cells, title="published")
    numbers = [row["version"] for row in rows]
    act.checks.add("six versions are published", numbers == SIX, ", ".join(numbers))
    again = {str(row["change"]) for row in job.train(act.store, log=log)}
    act.checks.add("running the recipe again writes nothing", again == {str(Change.NOTHING)}, ", ".join(sorted(again)))
    act.summary |= {"model": act.stack.model, "published": rows}


def serve(act: Patients) -> None:
    """Start the predictors and the gateway; the client has the held-out rows."""
    recipe = read(BREAST_CANCER)
    held_out = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed).held_out
    order = np.random.default_rng(0).permutation(held_out.rows).tolist()
    act.serve(held_out.features.tolist(), held_out.target.tolist(), order=order)


def pin_each_version(act: Patients) -> None:
    """Request every held-out row from every version by the pin header: each is as accurate as when published."""
    versions = []
    for version in [spec.version for spec in act.stack.specs.values() if spec.version != BROKEN]:
        replies = act.client.request(list(range(len(act.client.target))), {names.PIN_HEADER: version})
        only = {reply.version for reply in replies} == {version}
        act.checks.add(f"the header pins {version}", only, f"{len(replies)} responses")
        manifest = catalogue.manifest_of(act.store, act.stack.model, Version.parse(version))
        accuracy = act.client.accuracy(replies)
        published = manifest.metrics.values["accuracy"]
        same = abs(accuracy - published) < 1e-12
        act.checks.add(f"{version} is as accurate live as when published", same, f"{accuracy:.4f}")
        versions.append({"version": version, "accuracy": accuracy, "published_accuracy": published})
    act.summary["versions"] = versions


def split_traffic(act: Patients) -> None:
    """Change the weights under load, several times: each version gets its share, and no request fails."""
    act.summary["phases"] = [_phase(act, stable, canary) for stable, canary in PHASES]


def _phase(act: Patients, stable: int, canary: int) -> dict[str, Any]:
    rows, count, name = len(act.client.target), act.requests, f"{stable}/{canary}"
    with ThreadPoolExecutor(1) as pool:
        during = pool.submit(act.client.request, list(islice(cycle(range(rows)), count // 4)))
        act.traffic.set_weights({STABLE: stable, CANARY: canary})
        changing = during.result()
    indices = track(list(islice(cycle(range(rows)), count)), f"weights {name}", console=errors, transient=True)
    replies = act.client.request(list(indices))
    act.weighted += replies
    failed = sum(reply.status != 200 for reply in [*changing, *replies])
    counts = Counter(reply.version for reply in replies)
    low, high = interval(count, canary / (stable + canary))
    measured = f"{counts[CANARY]} in [{low}, {high}]"
    act.checks.add(f"{name}: {CANARY} gets its share", low <= counts[CANARY] <= high, measured)
    act.checks.add(f"{name}: no request fails, not even during the change", failed == 0, f"{failed} failed")
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


def compare_accuracy(act: Patients) -> None:
    """Compute each version's accuracy on the requests that the weights sent it."""
    versions = []
    for version in [item["version"] for item in act.summary["versions"]]:
        replies = [reply for reply in act.weighted if reply.version == version]
        versions.append({"version": version, "responses": len(replies), "accuracy": act.client.accuracy(replies)})
    rows = [[item["version"], item["responses"], f"{item['accuracy']:.4f}"] for item in versions]
    print_table(["version", "responses by weight", "accuracy"], rows)
    responses = [item["responses"] for item in versions]
    act.checks.add("both versions get requests by weight", all(responses), responses)
    act.summary["live_accuracy"] = versions


def roll_out(act: Patients) -> None:
    """Two rollouts by evidence under load: a good version is promoted, a broken one is rolled back."""
    act.traffic.set_weights({STABLE: 100})
    act.roll_out(_ROLLOUT, stable=STABLE, canary=CANARY, phase="Promoted")
    act.roll_out(_ROLLOUT, stable=CANARY, canary=BROKEN, phase="RolledBack")


def report(act: Patients) -> None:
    """Label the predictions and generate the report from the log; it agrees with what the client measured."""
    act.check_log()
    path = act.stack.folder / "labels.csv"
    lines = [f"{reply.request_id},{act.client.target[reply.row]}\n" for reply in act.successful]
    path.write_text("request_id,label\n" + "".join(lines))
    added = add_labels(act.store, act.client.model, path)
    facts = act.report()
    act.checks.add("rows like the training rows are not reported as drift", not facts.drifted, facts.drifted or "none")
    act.summary["report"]["labels"] = added.labels


STEPS = (train, serve, pin_each_version, split_traffic, compare_accuracy, roll_out, report)
