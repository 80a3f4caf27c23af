"""`python -m benchmarks.serving.images`: images in binary V2, beside ONNX Runtime in a loop.

An image is [1, 3, 224, 224] of float32, 602 kB. The graph is a small network: five convolutions of 3 by 3 with stride 2
and 32, 64, 128, 256 and 512 channels, their rectifiers, the mean of each channel, ten classes: 242 million
multiplications, where MobileNetV2 has 300 million. The server has one core, wrk the other; metrics are on, the
inference log on or off. In each round the loop runs right after the server, on its core. Needs wrk and two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import sabia
from benchmarks.rollouts.figures import table
from benchmarks.serving.contenders import Call, Contender, ours
from benchmarks.serving.estimators import Estimator
from benchmarks.serving.load import check, closed
from benchmarks.serving.servers import calls_a_second, started

SHAPE = (1, 3, 224, 224)
_CHANNELS = (3, 32, 64, 128, 256, 512)
_CLASSES = 10
_OPSET = 17
# The share of ONNX Runtime in a loop that is promised.
_PROMISE = 0.7

Images = NDArray[np.float32]


def network() -> onnx.ModelProto:
    """The graph; its weights are drawn, and the same each time."""
    source = np.random.default_rng(0)
    nodes, weights, before = [], [], "image"
    for at, (inward, outward) in enumerate(itertools.pairwise(_CHANNELS)):
        scale = np.sqrt(2 / (9 * inward))
        kernel = source.normal(0, scale, (outward, inward, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{at}"))
        ends = [before, f"kernel{at}"], [f"sum{at}"]
        nodes.append(helper.make_node("Conv", *ends, strides=[2, 2], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"sum{at}"], [f"map{at}"]))
        before = f"map{at}"
    classes = source.normal(0, 1, (_CHANNELS[-1], _CLASSES)).astype(np.float32)
    weights.append(numpy_helper.from_array(classes, "classes"))
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["means"]),
        helper.make_node("Flatten", ["means"], ["row"]),
        helper.make_node("MatMul", ["row", "classes"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", *SHAPE[1:]])
    answer = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", _CLASSES])
    graph = helper.make_graph(nodes, "network", [image], [answer], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


def images(count: int) -> Images:
    """Some images of noise, shape (count, 3, 224, 224), in [0, 1)."""
    return np.random.default_rng(1).random((count, *SHAPE[1:]), dtype=np.float32)


def make(folder: Path) -> Estimator:
    """Write and import the network."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = folder / "network.onnx"
    onnx.save(network(), model)
    store = sabia.open_store((folder / "store").resolve().as_uri(), make=True)
    published = sabia.import_model(model, store=store, name="images", reference={"image": images(8)})
    return Estimator("images", model, folder / "store" / "models" / "images" / published.manifest.version)


def call(_: int = 1) -> Call:
    """One image in binary V2, which asks for a binary answer."""
    data = images(1).tobytes()
    tensor = {
        "name": "image",
        "shape": list(SHAPE),
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
    return Call("/v2/models/images/infer", headers, head + data)


def in_a_loop(model: Path, seconds: float) -> float:
    """Runs a second of ONNX Runtime with nothing around it, on an image that is ready, on the server's core."""
    import onnxruntime  # noqa: PLC0415  as in `benchmarks.serving`

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    values = {"image": images(1)}
    return calls_a_second(lambda: session.run(None, values), seconds)


def main() -> int:
    """Run, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/serving"))
    arguments = parser.parse_args()
    check()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    folder: Path = arguments.out.resolve() / "images"
    model = make(folder)
    log = (folder / "log").as_uri()
    kinds = {"Sabiá": ours(), "Sabiá, with its log": ours("--log", log)}
    measured: list[dict[str, Any]] = []
    for number in range(arguments.rounds):
        for kind, command in kinds.items():
            with started(Contender("sabia", kind, command, call), model, folder) as server:
                result = closed(server, call(), folder, arguments.seconds)
                memory, ready = server.memory(), server.cold_start
            alone = in_a_loop(model.joblib, arguments.seconds)
            facts = {"kind": kind, "round": number, "loop": alone, "memory": memory, "cold_start": ready}
            measured.append(facts | asdict(result))
            print(measured[-1], file=sys.stderr, flush=True)
    (folder / "images.json").write_text(json.dumps(measured, indent=1) + "\n")
    print(page(measured))
    return 0


def page(measured: list[dict[str, Any]]) -> str:
    """The table: ratios are of the same round."""
    lines = []
    for kind in dict.fromkeys(each["kind"] for each in measured):
        found = [each for each in measured if each["kind"] == kind]
        shares = sorted(each["requests_per_second"] / each["loop"] for each in found)
        lines.append(
            [
                kind,
                f"{median(each['requests_per_second'] for each in found):,.0f}",
                f"{median(each['loop'] for each in found):,.0f}",
                f"{median(shares):.2f} ({shares[0]:.2f} to {shares[-1]:.2f})",
                "yes" if median(shares) >= _PROMISE else "no",
                f"{1000 * median(each['p99'] for each in found):.2f}",
                str(sum(each["failed"] for each in found)),
                f"{median(each['memory'] for each in found) / 2**20:.0f}",
                f"{median(each['cold_start'] for each in found):.2f}",
            ]
        )
    head = ["server", "requests/s", "loop, runs/s", "share", f"≥ {_PROMISE}", "p99, ms", "failed", "MiB"]
    return "## Images of [1, 3, 224, 224] in binary V2\n\n" + table([*head, "first response, s"], lines)


if __name__ == "__main__":
    sys.exit(main())
