"""A class of a team served by the command: its start, both protocols, gRPC, and its end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
import requests

from sabia.serving.protocols import messages

CLASS = "tests.unit.serving.custom.models:Sums"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def _served(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the URL that it logs."""
    command = [sys.executable, "-m", "predictor", "--host", "127.0.0.1", "--http-port", "0", *arguments]
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
