"""`python -m benchmarks.serving.inferencelog`: the cost of the inference log on a fully loaded server.

The server has one core, for its answers and for the thread that writes the log; the client has the other. Each sample
is a new process, since two processes of the same program differ by more than the log costs, and the two kinds take
turns. The client's core is kept awake, or the server would pay for waking it, the more the slower it is. The ratio is
of the medians; its interval is the bootstrap's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rollouts.figures import table
from benchmarks.serving.contenders import OURS, Contender, ours
from benchmarks.serving.estimators import Estimator, make
from benchmarks.serving.load import awake, check, closed
from benchmarks.serving.servers import started

_RESAMPLES = 20_000
OFF = "no log"


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/inferencelog"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    check()
    folder = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    model = make(folder / "models")["linear"]
    store = folder / "store"
    kinds = {
        OFF: ours(),
        "every row": ours("--log", store.as_uri()),
        "a tenth": ours("--log", store.as_uri(), "--log_sample", "0.1"),
    }
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for at in range(arguments.rounds):
        for name in list(kinds)[:: 1 if at % 2 else -1]:
            shutil.rmtree(store, ignore_errors=True)
            contender = Contender(OURS.key, OURS.title, kinds[name], OURS.call)
            with awake():
                rates[name].append(_rate(contender, model, folder, arguments.seconds))
        print({name: round(found[-1]) for name, found in rates.items()}, file=sys.stderr, flush=True)
    (folder / "inferencelog.json").write_text(json.dumps(rates, indent=1) + "\n")
    print(table(["inference log", "requests a second", "ratio", "95 % interval"], _lines(rates)))
    return 0


def _rate(contender: Contender, model: Estimator, folder: Path, seconds: float) -> float:
    with started(contender, model, folder) as server:
        return closed(server, contender.call(1), folder, seconds).requests_per_second


def _lines(rates: dict[str, list[float]]) -> list[list[str]]:
    lines = []
    for name, found in rates.items():
        low, high = interval(found, rates[OFF])
        ratio = np.median(found) / np.median(rates[OFF])
        shown = ["1", ""] if name == OFF else [f"{ratio:.3f}", f"{low:.3f} to {high:.3f}"]
        lines.append([name, f"{np.median(found):,.0f}", *shown])
    return lines


def interval(ours_: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """The middle 95 % of ratios of medians of resampled runs."""
    source = np.random.default_rng(0)
    top, bottom = (
        np.median(source.choice(np.asarray(rates), (_RESAMPLES, len(rates))), axis=1) for rates in (ours_, theirs)
    )
    low, high = np.quantile(top / bottom, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
