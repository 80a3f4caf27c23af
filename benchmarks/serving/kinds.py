"""`python -m benchmarks.serving.kinds`: start and memory of a server of each kind of model.

Scalar is a logistic regression of thirty columns, mixed a pipeline of strings and numbers, image a small network, own
code a class of KServe's interface in a process of its own. Seconds are from exec to the first answered prediction;
memory is that of all its processes then, with shared pages counted once (PSS).
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rollouts.figures import table
from benchmarks.serving import estimators, images, mixed, own
from benchmarks.serving.contenders import OURS, RIVALS, Contender
from benchmarks.serving.estimators import Estimator
from benchmarks.serving.servers import started

Kind = tuple[Contender, Estimator]


def kinds(folder: Path) -> dict[str, Kind]:
    """A server and a model of each kind."""
    pipeline, rows = mixed.make(folder / "mixed")
    image = Contender("sabia", "Sabiá", OURS.command, images.call)
    return {
        "scalar": (OURS, estimators.make(folder / "models")["linear"]),
        "mixed": (mixed.contenders(rows)[0], pipeline),
        "image": (image, images.make(folder / "images")),
        "own code": (own.CONTENDERS[0], Estimator("sum", folder, folder)),
    }


def main() -> int:
    """Run, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/serving"))
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    folder: Path = arguments.out.resolve()
    measured: list[dict[str, Any]] = []
    chosen = kinds(folder)
    for number in range(arguments.rounds):
        for name, (contender, model) in chosen.items():
            with started(contender, model, folder, importable=RIVALS) as server:
                facts = {"kind": name, "round": number, "ready": server.cold_start, "memory": server.memory()}
            measured.append(facts)
            print(measured[-1], file=sys.stderr, flush=True)
    (folder / "kinds.json").write_text(json.dumps(measured, indent=1) + "\n")
    print("## Start and memory by kind of model\n\n" + _table(measured))
    return 0


def _table(measured: list[dict[str, Any]]) -> str:
    lines = []
    for name in dict.fromkeys(each["kind"] for each in measured):
        found = [each for each in measured if each["kind"] == name]
        ready, memory = (median(each[what] for each in found) for what in ("ready", "memory"))
        lines.append([name, f"{ready:.2f}", f"{memory / 2**20:.0f}"])
    return table(["kind", "first response, s", "MiB"], lines)


if __name__ == "__main__":
    sys.exit(main())
