"""The second act: flights, whose seasons drift and whose labels are known only after landing."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from threadpoolctl import threadpool_limits

from sabia.demo.act import Act
from sabia.demo.landings import Landings
from sabia.monitoring.document import VersionReport
from sabia.terminal import log, print_table
from sabia.training import job, tables
from sabia.training.recipe import read
from sabia.training.recipes.flights import export

RECIPE = Path(__file__).with_name("flights.yaml")
MODEL = "flights"
THREE = ["1.0", "1.1", "1.2"]
WINTER, SPRING, EAGER = THREE
LANDING = "landing"
# What the season changes; airlines, airports and times of day it does not. Summer has destinations of its own.
SEASONAL = {"temp", "wind_speed", "pressure", "dest", "prediction"}
# Requests a second: enough for labels to decide within seconds, and one sees the flights of two months.
_RATE = 300
# Errors and latency alone would promote any of these versions. The step lasts until most of its flights have landed.
_ROLLOUT: dict[str, Any] = {
    "steps": [50],
    "minimum_dwell": "15s",
    "look_every": "1s",
    "warm_up": "3s",
    "deadline": "2m",
    "on_deadline": "roll-back",
    "watch": {"errors": {}, "latency": {}, "labels": {"batch": "2s", "close_after": "4s"}},
}


@dataclass(slots=True)
class Flights(Act):
    """A run of the second act. `landings` bring the labels; set by `serve`."""

    landings: Landings = field(init=False)


def train(act: Flights) -> None:
    """Publish three versions: trained on winter, on spring too, and with a larger weight of late flights."""
    log("reading 336,776 flights")
    recipe = Path(shutil.copy(RECIPE, export(act.stack.folder / "data").parent / "demo.yaml"))
    act.store = act.stack.start_store().open()
    # Threads of OpenMP spin while they wait for each other: beside other processes, two take many times as long as one.
    with threadpool_limits(1, "openmp"):
        rows = job.train(act.store, recipe, log=log)
    metrics = ("accuracy", "roc_auc", "log_loss")
    cells = [[row["version"], row["note"], *(row["metrics"][name] for name in metrics)] for row in rows]
    print_table(["version", "note", *metrics], cells, title="published; metrics of July to September")
    numbers = [row["version"] for row in rows]
    act.checks.add("three versions of flights are published", numbers == THREE, ", ".join(numbers))
    winter, spring, _ = (row["metrics"]["log_loss"] for row in rows)
    act.checks.add("more months predict the summer better", spring < winter, f"log loss {spring} after {winter}")
    act.summary |= {"model": act.stack.model, "published": rows}


def serve(act: Flights) -> None:
    """Start the predictors and the gateway; the client asks for July's flights in the order of their departure."""
    path = act.stack.folder / "data" / "demo.yaml"
    recipe = read(path)
    if recipe.data is None or recipe.data.columns is None:
        raise RuntimeError("the recipe of the flights has data and columns")
    data = msgspec.structs.replace(recipe.data, columns=[*recipe.data.columns, LANDING])
    later = tables.read(data, recipe=path.parent, seed=recipe.seed).held_out
    instances = later.inputs.drop_columns([LANDING]).to_pylist()
    act.serve(instances, later.target.tolist(), order=range(len(later)), rate=_RATE)
    act.landings = Landings(act.store, act.client, later.inputs[LANDING].to_pylist(), act.stack.folder)


def roll_out(act: Flights) -> None:
    """Two rollouts that labels decide: more months are promoted, late flights that weigh more are rolled back."""
    with act.landings.arriving():
        plan, state = act.roll_out(_ROLLOUT, stable=WINTER, canary=SPRING, phase="Promoted")
        labels = state.lines[SPRING].labels
        compared = labels is not None and min(labels.n0, labels.n1) > 0
        measured = "none" if labels is None else f"wrong: {labels.x1} of {labels.n1} and {labels.x0} of {labels.n0}"
        act.checks.add(f"{SPRING} and {WINTER} are compared by labels", compared, measured)
        plan, state = act.roll_out(_ROLLOUT, stable=SPRING, canary=EAGER, phase="RolledBack")
        log_e = state.lines[EAGER].log_e(plan)
        decided = log_e["labels"] >= -math.log(plan.harm.alpha) > log_e["errors"]
        act.checks.add(f"labels roll {EAGER} back, not failures", decided, state.reason)
        log("waiting for the last flight to land")


def report(act: Flights) -> None:
    """Generate the report: every prediction has its label, and the drift is that of the season."""
    act.check_log()
    count = len(act.successful)
    act.checks.add("every flight that was asked for has landed", act.landings.labels == count, f"{count:,} labels")
    facts = act.report()
    # The third version is stopped after a few days, which are no season.
    for served in facts.versions[:2]:
        named = set(served.drifted)
        held = "temp" in named and named <= SEASONAL
        act.checks.add(f"the drift of {served.version} is the season's", held, ", ".join(served.drifted) or "none")
    delays = [_median(served) for served in facts.versions]
    act.checks.add(
        "labels arrive after landing", min(delays) > 0.5, f"after {min(delays):.1f} to {max(delays):.1f} s (median)"
    )


def _median(served: VersionReport) -> float:
    return served.label_delay.get("0.5", 0.0)


STEPS = (train, serve, roll_out, report)
