"""Labels that arrive late decide a rollout: which predictions are counted, when, and what follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from numpy.typing import NDArray

from sabia.contract.inferencelog import log_key
from sabia.contract.signature import Bins, Input, Output, Signature
from sabia.monitoring import labels
from sabia.monitoring.labelbatches import with_labels
from sabia.registry.verification import Artifact
from sabia.rollout.engine import Engine, start
from sabia.rollout.plan import Plan, from_mapping
from sabia.rollout.ports import Source
from sabia.store.objects import Store
from tests.conftest import MODEL
from tests.unit.monitoring.logs import write_log
from tests.unit.monitoring.test_typed_reports import ERRORS, label_file
from tests.unit.monitoring.typedlogs import published, write_typed_log
from tests.unit.rollout.fakes import Behaviour, FakeClock, FakeWorld, Rig

# The clock of the rollout starts here.
START = datetime(2026, 1, 1, tzinfo=UTC)
RULES = {"batch": "5m", "close_after": "20m"}


def a_plan(model: str, stable: str, canary: str, **rules: Any) -> Plan:
    """A plan of one long step."""
    watch = {"errors": {}, "labels": RULES | rules}
    versions = {"model": model, "stable": stable, "canary": canary}
    return from_mapping(versions | {"steps": [50], "minimum_dwell": "3h", "look_every": "60s", "watch": watch})


def rig(store: Store, plan: Plan) -> Rig:
    """A rollout of this plan, in a world of two versions that fail alike."""
    world, clock = FakeWorld(5, {version: Behaviour() for version in plan.versions}), FakeClock()
    clock.passed.append(world.pass_time)
    return Rig(world, clock, store, start(store, plan, world.weights(), actor="test", clock=clock))


def source_of(started: Rig, reports: list[str]) -> Source:
    """The counters of the world, with the labels of the store."""
    return with_labels(started.world, started.store, started.record, report=reports.append, now=started.clock.utc)


def run(started: Rig, minutes: float, reports: list[str] | None = None) -> Engine:
    """Carry out the rollout for some minutes; as after a restart, nothing is known that is not recorded."""
    source = source_of(started, [] if reports is None else reports)
    engine = Engine(started.record, started.world, source, clock=started.clock)
    limit = started.clock.seconds + minutes * 60
    engine.run(lambda: started.clock.seconds >= limit)
    return engine


def write_hour(
    store: Store,
    artifact: Artifact,
    trained: NDArray[np.float64],
    folder: Path,
    *,
    wrong: float,
    seed: int,
    route: int = 0,
    minutes: int = 60,
) -> None:
    """Log 30 predictions a minute, a share of them wrong, and add their labels."""
    source, ids, truth = np.random.default_rng(seed), [], []
    for minute in range(minutes):
        predictions = source.integers(0, 2, size=30).astype(np.float64)
        flipped = source.random(30) < wrong
        truth += np.where(flipped, 1 - predictions, predictions).astype(int).tolist()
        at = START + timedelta(minutes=minute)
        ids += write_log(store, artifact, trained[:30], predictions, at=at, server=f"s{seed}", route=route)
    labels.add(store, artifact.manifest.name, label_file(folder, ids, truth), now=START)


def test_a_canary_that_is_wrong_more_often_is_rolled_back_when_its_labels_arrive(
    store: Store, linear: Artifact, logistic: Artifact, trained: NDArray[np.float64], tmp_path: Path
) -> None:
    write_hour(store, linear, trained, tmp_path, wrong=0.05, seed=1)
    write_hour(store, logistic, trained, tmp_path, wrong=0.4, seed=2)
    started = rig(store, a_plan(MODEL, "1.2", "2.0"))
    assert run(started, 20).state.phase == "Stepping"
    engine = run(started, 40)
    assert engine.state.phase == "RolledBack"
    assert "stable predictions were wrong" in str(engine.state.reason)
    line = engine.state.lines["2.0"].labels
    assert line is not None
    assert line.x1 / line.n1 == pytest.approx(0.4, abs=0.1)
    assert line.x0 / line.n0 == pytest.approx(0.05, abs=0.05)


def test_every_batch_is_scored_once_also_by_the_engine_after_a_restart(
    store: Store, linear: Artifact, logistic: Artifact, trained: NDArray[np.float64], tmp_path: Path
) -> None:
    for seed, artifact in enumerate((linear, logistic)):
        write_hour(store, artifact, trained, tmp_path, wrong=0.1, seed=seed)
    started = rig(store, a_plan(MODEL, "1.2", "2.0"))
    for _ in range(5):
        engine = run(started, 15)
    line = engine.state.lines["2.0"].labels
    assert line is not None
    assert len(line.scored) == len(set(line.scored)) >= 9
    # 30 a minute; the edges of batches and the first minute, before the weights moved, are left out.
    assert 0.9 * 30 * 5 * len(line.scored) <= line.n1 <= 30 * 5 * len(line.scored)


@pytest.mark.parametrize("route", [1, 2])
def test_predictions_that_did_not_follow_the_weights_are_not_compared(
    store: Store, linear: Artifact, logistic: Artifact, trained: NDArray[np.float64], tmp_path: Path, route: int
) -> None:
    write_hour(store, linear, trained, tmp_path, wrong=0.05, seed=1)
    write_hour(store, logistic, trained, tmp_path, wrong=1.0, seed=2, route=route)
    engine = run(rig(store, a_plan(MODEL, "1.2", "2.0")), 60)
    line = engine.state.lines["2.0"].labels
    assert line is not None
    assert (line.n1, line.scored, engine.state.phase) == (0, [], "Stepping")


def test_without_labels_the_rest_is_compared_and_nothing_is_concluded_from_them(store: Store) -> None:
    reports: list[str] = []
    engine = run(rig(store, a_plan(MODEL, "1.2", "2.0")), 60, reports)
    assert engine.state.lines["2.0"].errors.n1 > 0
    assert reports == []


def test_a_log_that_cannot_be_read_is_reported_once_and_stops_nothing(store: Store) -> None:
    store.create(log_key(MODEL, START.date(), "s", uuid4()), b"not Parquet")
    reports: list[str] = []
    engine = run(rig(store, a_plan(MODEL, "1.2", "2.0")), 60, reports)
    assert reports == [
        f"labels cannot be read: The log or the labels of {MODEL!r} cannot be read: one of the files is not Parquet."
    ]
    assert engine.state.lines["2.0"].errors.n1 > 0


def test_a_plan_that_leaves_labels_out_reads_no_log(store: Store) -> None:
    plan = from_mapping({"model": MODEL, "stable": "1.2", "canary": "2.0", "watch": {"errors": {}}})
    started = rig(store, plan)
    assert source_of(started, []) is started.world


@pytest.fixture
def values(store: Store, tmp_path: Path) -> Store:
    """Two versions that predict numbers, with errors of 1 and of 3, and the labels of an hour."""
    signature = Signature(
        inputs=[Input(name="x", dtype="float64")],
        outputs=[Output(name="prediction", dtype="float64", role="value")],
        primary="prediction",
        bins=Bins(kind="edges", edges=[0.0]),
    )
    rows = {"x": [float(at) for at in range(30)]}
    for error in (1.0, 3.0):
        content = f'{{"params": {{"error": {error}}}}}'
        manifest = published(store, "numbers", signature, rows, rows["x"], ERRORS, content=content)
        ids: list[str] = []
        for minute in range(60):
            predicted = {"prediction": [value + error for value in rows["x"]]}
            at = START + timedelta(minutes=minute)
            ids += write_typed_log(store, manifest, rows, predicted, at=at, server=f"s{error}")
        labels.add(store, "numbers", label_file(tmp_path, ids, rows["x"] * 60), now=START)
    return store


@pytest.mark.parametrize(
    ("error_beyond", "wrong", "phase"),
    [(2.0, (0, 1), "RolledBack"), (0.5, (1, 1), "Stepping"), (5, (0, 0), "Stepping")],
)
def test_a_value_is_wrong_if_its_error_is_beyond_the_plans_threshold(
    values: Store, error_beyond: float, wrong: tuple[int, int], phase: str
) -> None:
    engine = run(rig(values, a_plan("numbers", "1.0", "1.1", error_beyond=error_beyond)), 60)
    line = engine.state.lines["1.1"].labels
    assert line is not None
    assert [line.x0 / line.n0, line.x1 / line.n1] == list(wrong)
    assert engine.state.phase == phase
    assert ("were wrong by more than 2" in str(engine.state.reason)) is (phase == "RolledBack")


def test_values_are_not_judged_by_a_plan_without_a_threshold(values: Store) -> None:
    engine = run(rig(values, a_plan("numbers", "1.0", "1.1")), 60)
    line = engine.state.lines["1.1"].labels
    assert line is not None
    assert line.n0 == 0
