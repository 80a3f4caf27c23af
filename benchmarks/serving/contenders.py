"""Who is compared: how each is started, and how it is asked, each in the form that suits it best."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.serving.estimators import Estimator, rows

RIVALS = Path(__file__).parent / "rivals"
_V1 = "/v1/models/breast-cancer:predict"
_V2 = "/v2/models/breast-cancer/infer"
_JSON = {"content-type": "application/json"}
# From this many rows on, servers that support binary tensors get them.
_BINARY_FROM = 1000

Command = Callable[[Path, Estimator, int], list[str]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request: its path, headers and body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Contender:
    """One server.

    Attributes:
        key: its name in figures and on the command line.
        title: its name for people.
        command: what starts it, given the interpreter of its environment, the model and the port.
        call: the request for a number of rows.
        environment: whose lock it is installed from; None runs where the benchmark runs.
        variables: what else it finds in its environment.
        floor: whether it answers the same without deciding anything.
        how: how it is run, where that is said beside its figures.
    """

    key: str
    title: str
    command: Command
    call: Callable[[int], Call]
    environment: str | None = None
    variables: Callable[[Estimator], dict[str, str]] = field(default=lambda _: {})
    floor: bool = False
    how: str = ""


def _instances(path: str) -> Callable[[int], Call]:
    return lambda count: Call(path, _JSON, json.dumps({"instances": rows(count).tolist()}).encode())


def _tensors(output: str | None = None, *, binary: bool) -> Callable[[int], Call]:
    def call(count: int) -> Call:
        values = rows(count)
        tensor = {"name": "features", "shape": list(values.shape), "datatype": "FP64"}
        outputs = {} if output is None else {"outputs": [{"name": output}]}
        if not binary:
            document = {"inputs": [tensor | {"data": values.ravel().tolist()}]} | outputs
            return Call(_V2, _JSON, json.dumps(document).encode())
        data = np.ascontiguousarray(values, dtype="<f8").tobytes()
        head = json.dumps(
            {
                "inputs": [tensor | {"parameters": {"binary_data_size": len(data)}}],
                "parameters": {"binary_data_output": True},
            }
        ).encode()
        headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
        return Call(_V2, headers, head + data)

    return call


def _v1_or_binary(count: int) -> Call:
    return _tensors(binary=True)(count) if count >= _BINARY_FROM else _instances(_V1)(count)


def _script(name: str) -> Command:
    return lambda python, model, port: [str(python), str(RIVALS / name), str(model.joblib), str(port)]


def ours(*more: str) -> Command:
    """Our predictor with some more arguments."""

    def command(python: Path, model: Estimator, port: int) -> list[str]:
        where = ["--source", str(model.version), "--host", "127.0.0.1", "--http_port", str(port)]
        return [str(python), "-P", "-m", "sabia", "serve", *where, *more]

    return command


def mlserver(name: str) -> Command:
    """MLServer with a scikit-learn estimator of this name."""

    def command(python: Path, model: Estimator, port: int) -> list[str]:
        folder = model.joblib.parent / "mlserver"
        folder.mkdir(exist_ok=True)
        settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
        # Without workers of its own, which would only hand every request to another process of the same core.
        (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0}))
        served = {
            "name": name,
            "implementation": "mlserver_sklearn.SKLearnModel",
            "parameters": {"uri": str(model.joblib.resolve())},
        }
        (folder / "model-settings.json").write_text(json.dumps(served))
        return [str(python.parent / "mlserver"), "start", str(folder)]

    return command


def _bentoml(python: Path, _: Estimator, port: int) -> list[str]:
    where = ["--working-dir", str(RIVALS), "--host", "127.0.0.1", "--port", str(port)]
    return [str(python.parent / "bentoml"), "serve", "bentoml_service:Estimator", *where]


def _granian(python: Path, _: Estimator, port: int) -> list[str]:
    options = [
        "--interface",
        "rsgi",
        "--loop",
        "uvloop",
        "--no-ws",
        "--http",
        "1",
        "--workers",
        "1",
        "--host",
        "127.0.0.1",
    ]
    where = ["--port", str(port), "--working-dir", str(RIVALS), "floor_granian:app"]
    return [str(python.parent / "granian"), *options, *where]


def _floor(name: str) -> Command:
    return lambda python, _, port: [str(python), str(RIVALS / name), str(port)]


OURS = Contender("sabia", "Sabiá", ours(), _v1_or_binary)
CONTENDERS = {
    contender.key: contender
    for contender in (
        OURS,
        Contender("kserve", "KServe ModelServer, joblib", _script("kserve_server.py"), _v1_or_binary),
        Contender("fastapi", "FastAPI with pydantic", _script("fastapi_server.py"), _instances("/predict")),
        Contender(
            "mlserver", "MLServer", mlserver("breast-cancer"), _tensors("predict_proba", binary=False), "mlserver"
        ),
        Contender(
            "bentoml",
            "BentoML",
            _bentoml,
            _instances("/predict"),
            "bentoml",
            lambda model: {"BENCHMARK_ESTIMATOR": str(model.joblib.resolve())},
        ),
        Contender("litserve", "LitServe", _script("litserve_server.py"), _instances("/predict"), "litserve"),
        Contender("ray", "Ray Serve", _script("ray_server.py"), _instances("/predict"), "ray"),
        Contender("floor-ours", "bare reply: our connections", _floor("floor_ours.py"), _instances(_V1), floor=True),
        Contender("floor-uvicorn", "bare reply: uvicorn", _floor("floor_uvicorn.py"), _instances(_V1), floor=True),
        Contender("floor-granian", "bare reply: granian", _granian, _instances(_V1), "granian", floor=True),
    )
}


def interpreter(contender: Contender, folder: Path) -> Path:
    """The Python of a contender's environment, which is made when there is none."""
    if contender.environment is None:
        return Path(sys.executable)
    environment = folder / "environments" / contender.environment
    python = environment / "bin" / "python"
    if not (environment / ".ready").exists():
        print(f"setting up {contender.title} in {environment}", flush=True)
        uv, lock = str(Path(sys.executable).parent / "uv"), str(RIVALS / f"{contender.environment}.lock")
        make = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(environment)]
        subprocess.run(make, check=True)
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
        subprocess.run([*install, "--requirement", lock, "--python", str(python)], check=True)
        (environment / ".ready").touch()
    return python.absolute()
