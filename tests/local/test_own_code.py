"""A class of a team served by the command: its start, both protocols, gRPC, and its end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
import requests
from numpy.typing import NDArray

from sabia.registry.verification import Artifact
from sabia.serving.protocols import messages
from sabia.training.datasets import load

CLASS = "tests.unit.serving.custom.models:Sums"


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float64]:
    """Real rows, shape (569, 30)."""
    return load("sklearn:breast_cancer").features


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the URL that it logs."""
    with _running(sys.executable, "-m", "predictor", "--host", "127.0.0.1", "--http-port", "0", *arguments) as running:
        yield running


@contextmanager
def _running(*command: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A program that serves, and the URL that it logs."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
                if found:
                    break
            else:
                pytest.fail(f"it ended without serving: {said}")
            yield process, found[0]
        finally:
            process.kill()


def test_a_class_is_served_by_the_command_until_it_is_told_to_end() -> None:
    port = _free_port()
    arguments = ("--model-class", CLASS, "--model-name", "sums", "--model-version", "1.2", "--grpc-port", str(port))
    with _served(*arguments, "--drain-seconds", "0.1") as (process, url):
        response = requests.post(f"{url}/v1/models/sums:predict", json={"instances": [[1, 2]]}, timeout=10)
        assert (response.json()["predictions"], response.headers["x-model-version"]) == ([4.0], "1.2")
        tensor = messages.ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=[1, 2])
        tensor.contents.fp64_contents.extend([1.0, 2.0])
        infer = messages.ModelInferRequest(model_name="sums", id="7", inputs=[tensor])
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")
            answer = messages.ModelInferResponse.FromString(call(infer.SerializeToString(), timeout=10))
        assert (answer.id, answer.model_version, answer.outputs[0].name) == ("7", "1.2", "prediction")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_a_class_around_a_version_is_served_by_the_command(
    folder: Path, logistic: Artifact, rows: NDArray[np.float64], tmp_path_factory: pytest.TempPathFactory
) -> None:
    port, log = _free_port(), tmp_path_factory.mktemp("log")
    name, version = logistic.manifest.name, logistic.manifest.version
    around = ("--model-class", "tests.unit.serving.custom.test_artifact:Percent", "--source", str(folder))
    logging = ("--log", log.as_uri(), "--log-spool", str(log / "spool"))
    with _served(*around, *logging, "--grpc-port", str(port), "--drain-seconds", "0.1") as (process, url):
        response = requests.post(f"{url}/v1/models/{name}:predict", json={"instances": rows[:2].tolist()}, timeout=10)
        assert response.headers["x-model-version"] == version
        percents = response.json()["predictions"]
        infer = messages.ModelInferRequest(model_name=name)
        infer.inputs.add(name="features", datatype="FP64", shape=[2, 30])
        infer.raw_input_contents.append(rows[:2].astype("<f8").tobytes())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")(infer.SerializeToString(), timeout=10)
        assert raised.value.code() is grpc.StatusCode.INTERNAL, "this class has no answer for V2, and that is its fault"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    logged = [row for file in log.rglob("*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
    answered = [row for row in logged if row["status"] == 200]
    assert [100 * row["prediction"] for row in answered] == pytest.approx(percents)
    assert [row["mean_radius"] for row in answered] == rows[:2, 0].tolist()


def test_a_program_serves_an_object_of_its_class_after_it_has_used_a_store(folder: Path) -> None:
    program = f"""
import logging
import sabia
from tests.unit.serving.custom.models import Sums

logging.basicConfig(level=logging.INFO, format="%(message)s")
sabia.load({folder.as_uri()!r})
sabia.serve(Sums("mine"), http_port=0, drain_seconds=0.1, model_version="1.5")
"""
    with _running(sys.executable, "-c", program) as (process, url):
        response = requests.post(f"{url}/v1/models/mine:predict", json={"instances": [[1, 2]]}, timeout=10)
        assert (response.json()["predictions"], response.headers["x-model-version"]) == ([4.0], "1.5")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model-class", "nothing.here:Class"), "Not serving: there is no module nothing.here.\n"),
        (("--model-class", "json:Class"), "Not serving: json has no Class.\n"),
        (("--model-class", "json"), "Not serving: model_class 'json' is not understood; write package.module:Class.\n"),
        (
            ("--model-class", "tests.unit.serving.custom.models:Versioned"),
            "Not serving: Versioned needs a name; set model_name.\n",
        ),
    ],
)
def test_a_class_that_is_not_there_is_one_sentence(arguments: tuple[str, ...], sentence: str) -> None:
    command = [sys.executable, "-m", "predictor", "--host", "127.0.0.1", "--http-port", "0", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (1, sentence)
