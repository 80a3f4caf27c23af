"""`python -m benchmarks.serving.own`: one `kserve.Model` subclass on Sabiá's server and on KServe's `ModelServer`.

The class is the same file for both. Each server has one core, wrk the other; rounds alternate. Needs wrk and two cores.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.serving.contenders import RIVALS, Call, Contender
from benchmarks.serving.estimators import Estimator
from benchmarks.serving.load import check, closed
from benchmarks.serving.mixed import table_of
from benchmarks.serving.servers import started

_ROW = [0.5] * 10


def _call(count: int) -> Call:
    body = json.dumps({"instances": [_ROW] * count}).encode()
    return Call("/v1/models/sum:predict", {"content-type": "application/json"}, body)


def _ours(python: Path, _: Estimator, port: int) -> list[str]:
    where = ["--host", "127.0.0.1", "--http_port", str(port)]
    return [str(python), "-m", "predictor", "--model-class", "trivial:Sum", "--model_name", "sum", *where]


def _kserve(python: Path, _: Estimator, port: int) -> list[str]:
    return [str(python), str(RIVALS / "trivial.py"), "-", str(port)]


CONTENDERS = [
    Contender("sabia", "Sabiá", _ours, _call),
    Contender("kserve", "KServe ModelServer", _kserve, _call),
]


def main() -> int:
    """Run, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/serving"))
    arguments = parser.parse_args()
    check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    folder: Path = arguments.out.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    nothing = Estimator("sum", folder, folder)
    measured: list[dict[str, Any]] = []
    for number in range(arguments.rounds):
        for contender in CONTENDERS if number % 2 == 0 else CONTENDERS[::-1]:
            with started(contender, nothing, folder, importable=RIVALS) as server:
                result = closed(server, contender.call(1), folder, arguments.seconds)
                measured.append(
                    {"contender": contender.key, "rows": 1, "round": number, "memory": server.memory()}
                    | {"cold_start": server.cold_start}
                    | asdict(result)
                )
                print(measured[-1], file=sys.stderr, flush=True)
    (folder / "own.json").write_text(json.dumps(measured, indent=1) + "\n")
    print(f"## The same `kserve.Model` class, one row a request\n\n{table_of(CONTENDERS, measured, 1)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
