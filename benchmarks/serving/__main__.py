"""`python -m benchmarks.serving`: Sabiá and other servers on the same models, in turn, in one run.

`--size small` is a look: one short round with the contenders that need no environment of their own. `--size full` is
what the documentation quotes: five alternating rounds of all. Needs wrk and two cores, and the package index once.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.serving import page
from benchmarks.serving.contenders import CONTENDERS, OURS, Contender, interpreter
from benchmarks.serving.estimators import Estimator, make, rows
from benchmarks.serving.load import check, closed
from benchmarks.serving.openloop import opened
from benchmarks.serving.scaling import scaling
from benchmarks.serving.servers import started

ROWS = (1, 32, 1000)


@dataclass(frozen=True, slots=True)
class Size:
    """Rounds and their seconds; requests of many rows run half as long as single rows."""

    rounds: int
    seconds: int
    models: tuple[str, ...]
    contenders: tuple[str, ...]


SIZES = {
    "small": Size(1, 2, ("linear",), ("sabia", "kserve", "fastapi", "floor-ours", "floor-uvicorn")),
    "full": Size(5, 2, ("linear", "forest", "boosting"), tuple(CONTENDERS)),
}


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/serving"))
    parser.add_argument("--only", nargs="*", choices=sorted(CONTENDERS), help="of the contenders, these alone")
    arguments = parser.parse_args()
    check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    size, folder, began = SIZES[arguments.size], arguments.out.resolve(), time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [CONTENDERS[key] for key in arguments.only or size.contenders]
    for contender in chosen:
        interpreter(contender, folder)
    models = make(folder / "models")
    facts: dict[str, Any] = {"size": arguments.size, "rounds": size.rounds, "seconds": size.seconds}
    facts["closed"] = [
        measured
        for number in range(size.rounds)
        for model in size.models
        for contender in (chosen if number % 2 == 0 else chosen[::-1])
        if model == "linear" or not (contender.floor or contender.key == "ray")
        for measured in _closed(contender, models[model], folder, size, number)
    ]
    facts["open"] = _open(facts["closed"], models["linear"], folder, size)
    facts["onnxruntime"] = {name: _in_a_loop(models[name]) for name in size.models}
    found = scaling(models["linear"], folder, size.seconds)
    facts["scaling"] = asdict(found) if found is not None else None
    facts["took"] = round(time.monotonic() - began)
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(page.write(folder, facts))
    return 0


def _closed(contender: Contender, model: Estimator, folder: Path, size: Size, number: int) -> list[dict[str, Any]]:
    found = []
    with started(contender, model, folder) as server:
        for count in ROWS if not (contender.floor or contender.key == "ray") else (1,):
            seconds = size.seconds if count == 1 else max(1, size.seconds // 2)
            result = closed(server, contender.call(count), folder, seconds)
            print(
                f"round {number + 1}: {contender.key}, {model.name}, {count} rows:"
                f" {result.requests_per_second:,.0f} a second, p99 {1000 * result.p99:.2f} ms"
                + (f", {result.failed} FAILED" if result.failed else ""),
                file=sys.stderr,
                flush=True,
            )
            found.append(
                {"contender": contender.key, "model": model.name, "rows": count, "round": number}
                | asdict(result)
                | {"cold_start": server.cold_start, "memory": server.memory()}
            )
    return found


def _open(measured: list[dict[str, Any]], model: Estimator, folder: Path, size: Size) -> list[dict[str, Any]]:
    """Both servers at KServe's maximum rate, and at half of it."""
    most = [
        line["requests_per_second"]
        for line in measured
        if (line["contender"], line["model"], line["rows"]) == ("kserve", "linear", 1)
    ]
    if not most:
        return []
    found = []
    for number in range(size.rounds):
        for share in (1.0, 0.5):
            for contender in (OURS, CONTENDERS["kserve"]):
                with started(contender, model, folder) as server:
                    result = opened(server, contender.call(1), folder, share * median(most), 2 * size.seconds)
                found.append({"contender": contender.key, "share": share, "round": number} | asdict(result))
    return found


def _in_a_loop(model: Estimator) -> dict[str, float]:
    """Rows a second of ONNX Runtime, called in a loop with nothing around it, a thousand rows at a time and singly."""
    import onnxruntime  # noqa: PLC0415

    path = next(model.version.glob("*/model.onnx"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    dtype = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32
    found = {}
    for count in ROWS:
        values, rates = rows(count).astype(dtype), []
        for _ in range(5):
            began, calls = perf_counter(), 0
            while perf_counter() - began < 0.5:
                session.run(["prediction"], {"features": values})
                calls += 1
            rates.append(calls * count / (perf_counter() - began))
        found[str(count)] = median(rates)
    return found


if __name__ == "__main__":
    sys.exit(main())
