"""`python -m benchmarks.publishing`: time and memory of publishing every flight of 2013, on two cores.

A pipeline of one-hot strings and gradient boosting is fitted on 336,776 rows of ten columns, and published with these:
signature, conversion, parity on every row, metrics, the reference, and the upload to a store of files. It runs in a
process of its own on two cores, for which its memory is measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import duckdb

import sabia
from benchmarks.rollouts.figures import table
from sabia.training.recipes import flights

LIMIT = 120.0
# As in `flights.yaml`, of every flight: one that did not arrive at all is late.
QUERY = """
    SELECT
      carrier, origin, dest, dayname(time_hour) AS weekday, flights.hour, distance, weather.temp, weather.wind_speed,
      weather.pressure, planes.year AS built, CAST(coalesce(arr_delay > 15, true) AS INTEGER) AS late
    FROM '{folder}/flights.parquet' AS flights
    LEFT JOIN '{folder}/weather.parquet' AS weather USING (origin, time_hour)
    LEFT JOIN '{folder}/planes.parquet' AS planes USING (tailnum)
"""


def main() -> int:
    """Publish in a child process and print what it took; 1 when it took longer than the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    folder: Path | None = parser.parse_args().child
    if folder is not None:
        return _publish(folder)
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "benchmarks.publishing", "--child", temporary]
        done = subprocess.run(
            ["taskset", "-c", ",".join(map(str, cores)), *command], stdout=subprocess.PIPE, text=True, check=True
        )
    rows, read, fitted, published, peak = map(float, done.stdout.split())
    head = ["rows", "cores", "read, s", "fit, s", "publish, s", "rows a second", "peak memory, GB"]
    cells = [f"{rows:,.0f}", len(cores), f"{read:.1f}", f"{fitted:.1f}", f"{published:.1f}", f"{rows / published:,.0f}"]
    print(table(head, [[*map(str, cells), f"{peak:.2f}"]]))
    held = published < LIMIT
    print(f"\npublishing {rows:,.0f} rows in under {LIMIT:.0f} s: {'yes' if held else 'NO'}")
    return 0 if held else 1


def _publish(folder: Path) -> int:
    started = perf_counter()
    flights.export(folder)
    with duckdb.connect() as database:
        rows = database.sql(QUERY.format(folder=folder)).to_arrow_table().to_pandas()
    target = rows.pop("late")
    read = perf_counter()
    estimator = flights.boosting(max_iter=100).fit(rows, target)
    fitted = perf_counter()
    store = sabia.open_store(f"{folder.as_uri()}/store", make=True)
    sabia.publish(
        estimator, rows, target, store=store, name="flights", progress=lambda line: print(line, file=sys.stderr)
    )
    published = perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(len(rows), read - started, fitted - read, published - fitted, peak)
    return 0


if __name__ == "__main__":
    sys.exit(main())
