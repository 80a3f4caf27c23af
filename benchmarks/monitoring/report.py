"""`python -m benchmarks.monitoring.report`: time and memory of a report on ten million rows of log.

The log has two versions with thirty features each, over ten days, with a hundred thousand labels; it is generated once
and kept. The report runs in a process of its own on two cores, for which its memory is measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rollouts.figures import table
from sabia.contract.inferencelog import feature_columns, log_key
from sabia.contract.layout import Version
from sabia.monitoring import labels
from sabia.registry.verification import read_version
from sabia.serving.inference.model import Model
from sabia.store.objects import Store
from sabia.training.datasets import load
from sabia.training.recipe import BREAST_CANCER, read
from sabia.training.run import run

MODEL = "breast-cancer"
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 10
FILE_ROWS = 32_768
LABELS = 100_000


def main() -> int:
    """Make the log if it is not there, report, print; 1 when a promise does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/report"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = (arguments.out / f"{arguments.rows}").resolve()
    if arguments.child:
        return _report(folder)
    if not (folder / "complete").exists():
        _make(folder, arguments.rows)
    cores = sorted(os.sched_getaffinity(0))[:2]
    command = [sys.executable, "-m", "benchmarks.monitoring.report", "--child"]
    command += ["--rows", str(arguments.rows), "--out", str(arguments.out)]
    done = subprocess.run(
        ["taskset", "-c", ",".join(map(str, cores)), *command], capture_output=True, text=True, check=True
    )
    seconds, peak, size = map(float, done.stdout.split())
    head = ["rows", "log, GB", "cores", "report, s", "rows a second", "peak memory, GB"]
    line = [f"{arguments.rows:,}", f"{size / 1e9:.2f}", len(cores), f"{seconds:.1f}"]
    print(table(head, [[*line, f"{arguments.rows / seconds:,.0f}", f"{peak / 1e9:.2f}"]]))
    held = seconds < 60 and peak < 2e9
    print(f"promised: under a minute, under 2 GB: {'held' if held else 'NOT HELD'}")
    return 0 if held else 1


def _report(folder: Path) -> int:
    from sabia.monitoring.page import to_html  # noqa: PLC0415  the report pays for its imports
    from sabia.monitoring.report import generate  # noqa: PLC0415

    began = perf_counter()
    last = FIRST.date() + timedelta(days=DAYS - 1)
    report = generate(Store.open((folder / "store").as_uri()), MODEL, FIRST.date(), last)
    (folder / "report.html").write_text(to_html(report))
    seconds = perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(path.stat().st_size for path in (folder / "store" / "inference-log").rglob("*.parquet"))
    print(seconds, peak, size)
    return 0


def _make(folder: Path, rows: int) -> None:
    store = Store.open((folder / "store").as_uri(), make=True)
    for _ in run(read(BREAST_CANCER), store):
        pass
    source = np.random.default_rng(0)
    features = load("sklearn:breast_cancer").features
    deviations = features.std(axis=0)
    labelled: list[tuple[str, float]] = []
    decisions = [Model(read_version(store, MODEL, version)) for version in (Version(1, 2), Version(2, 0))]
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        count = min(FILE_ROWS, rows - start)
        decision, day = decisions[number % 2], FIRST + timedelta(days=number * FILE_ROWS * DAYS // rows)
        # Rows like the real ones, no two alike.
        values = features[source.integers(len(features), size=count)]
        values = values + 0.05 * deviations * source.normal(size=values.shape)
        ids = [f"{number:08x}-{at:x}" for at in range(count)]
        predictions = decision.predict(np.ascontiguousarray(values))
        if len(labelled) < LABELS and number % 7 == 0:
            truth = source.random(count) < predictions
            labelled += zip(ids, truth.astype(float).tolist(), strict=True)
        _write(store, decision, day, ids, values, predictions, source)
    path = folder / "labels.parquet"
    names, truths = zip(*labelled[:LABELS], strict=True)
    pq.write_table(pa.table({"request_id": names, "label": truths}), path)
    labels.add(store, MODEL, path, now=FIRST + timedelta(days=DAYS))
    (folder / "complete").touch()


def _write(
    store: Store,
    decision: Model,
    day: datetime,
    ids: list[str],
    values: np.ndarray,
    predictions: np.ndarray,
    source: np.random.Generator,
) -> None:
    count = len(ids)
    times = int(day.timestamp() * 1e6) + np.sort(source.integers(0, 80_000_000_000, count))
    table_ = pa.table(
        {
            "request_id": ids,
            "row": np.zeros(count, dtype=np.int64),
            "ts": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
            "version": pa.repeat(decision.version, count),
            "server": pa.repeat("server", count),
            "route": pa.repeat("split", count),
            "status": pa.repeat(pa.scalar(200, pa.int64()), count),
            "latency_us": source.gamma(4, 60, count).astype(np.int64),
            "prediction": predictions,
            "error": pa.nulls(count, pa.string()),
            "sample_rate": pa.repeat(1.0, count),
        }
        | {column: values[:, at] for at, column in enumerate(feature_columns(decision.names).values())}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table_, sink, compression="snappy", use_dictionary=["version", "server", "route", "status"])
    store.create_unique(log_key(MODEL, day.date(), "server", uuid4()), sink.getvalue().to_pybytes())


if __name__ == "__main__":
    sys.exit(main())
