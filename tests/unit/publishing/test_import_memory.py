"""The memory that a large model needs to be imported, and to be loaded: at most 1.3 times its size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from tests.graphs import a_graph, save, save_rows

MIB = 2**20
# Prints the peak of resident memory in bytes; that of getrusage would begin with the memory of this process.
_MEASURE = """\
import re, sys
from pathlib import Path
import sabia
from sabia.__main__ import main
if sys.argv[1] == "load":
    sabia.load(sys.argv[2], "net", "1.0")
else:
    assert main(sys.argv[1:]) == 0
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""


def peak(*arguments: str) -> int:
    """The peak of resident memory of a process of its own, in bytes."""
    command = [sys.executable, "-c", _MEASURE, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def layers(count: int, width: int = 2048) -> ModelProto:
    """Dense layers of 16 MiB each."""
    rng = np.random.default_rng(0)
    weights = {f"w{at}": rng.standard_normal((width, width), dtype=np.float32) / 64 for at in range(count)}
    names = ["x", *(f"h{at}" for at in range(count - 1)), "y"]
    nodes = [helper.make_node("MatMul", [names[at], f"w{at}"], [names[at + 1]]) for at in range(count)]
    return a_graph(nodes, [("x", TensorProto.FLOAT, ["n", width])], [("y", TensorProto.FLOAT, ["n", width])], weights)


@pytest.mark.slow
def test_a_large_model_is_imported_and_loaded_with_its_size_in_memory(tmp_path: Path) -> None:
    """The libraries' own memory, which a small model shows, is not counted."""
    peaks: dict[str, list[int]] = {"import": [], "load": []}
    sizes = []
    rows = save_rows(tmp_path / "rows.npz", x=np.ones((2, 2048), np.float32))
    for count in (1, 16):
        model = save(layers(count), tmp_path / f"{count}.onnx")
        store = (tmp_path / f"store-{count}").as_uri()
        sizes.append(model.stat().st_size)
        options = ["--name", "net", "--reference", str(rows), "--store", store]
        peaks["import"].append(peak("import", str(model), *options))
        peaks["load"].append(peak("load", store))
    assert sizes[1] > 240 * MIB
    for what, (small, large) in peaks.items():
        assert large - small <= 1.3 * (sizes[1] - sizes[0]), (what, small, large, sizes[1])
