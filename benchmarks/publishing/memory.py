"""`python -m benchmarks.publishing.memory`: memory to import a large model, and to load it, in multiples of its size.

Each runs in a process of its own against a SeaweedFS server: `sabia.import_model`, then `sabia.load` and a prediction.
The peak is that of resident memory, less that of the same process with a small model, which is the libraries' own. The
models are dense layers: many matrices or a single one, with weights in the ONNX file or beside it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from onnx import ModelProto, TensorProto, helper

from sabia.local.objectstore import ObjectStore
from sabia.local.process import environment

MIB = 2**20
SMALL = 1
# The largest multiple that is allowed.
MOST = 1.3
_WIDTH = 2048
_LAYER_BYTES = 4 * _WIDTH**2
# Prints the peak of resident memory in bytes; that of getrusage would begin with the memory of the process that forked.
_MEASURE = """\
import re, sys
from pathlib import Path
import numpy as np
import sabia
action, store, name, model, rows = sys.argv[1:]
if action == "import":
    sabia.import_model(model, store=store, name=name, reference=rows)
else:
    columns = {key: value[:1] for key, value in np.load(rows).items()}
    sabia.load(store, name, "1.0").predict(columns)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""


@dataclass(frozen=True, slots=True)
class Peaks:
    """Peaks of resident memory in bytes, for a model of `size` bytes."""

    size: int
    importing: int
    loading: int


def layers(folder: Path, size: int, *, inside: bool = False) -> Path:
    """A model of as many square matrices of 16 MiB as `size` bytes hold, at least one."""
    count = max(1, size // _LAYER_BYTES)
    return _dense(folder, [_WIDTH] * (count + 1), inside=inside)


def one_matrix(folder: Path, size: int, *, inside: bool = False) -> Path:
    """A model of a single matrix, which maps `_WIDTH` columns to as many as `size` bytes hold."""
    return _dense(folder, [_WIDTH, max(1, size // (4 * _WIDTH))], inside=inside)


def measured(folder: Path, store: str, variables: dict[str, str], name: str, model: Path) -> Peaks:
    """The peaks of importing the model in `folder` and of loading it from the store."""
    rows = folder / "rows.npz"
    np.savez(rows, x=np.random.default_rng(0).standard_normal((2, _WIDTH), dtype=np.float32))

    def peak(action: str) -> int:
        command = [sys.executable, "-c", _MEASURE, action, store, name, str(model), str(rows)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables)
        return int(done.stdout.split()[-1])

    size = sum(each.stat().st_size for each in folder.glob("model.onnx*"))
    return Peaks(size, peak("import"), peak("load"))


def _ratios(root: Path, made: Callable[[Path], Path]) -> tuple[float, float, float]:
    """The size of a model in MiB, and the peaks of importing and of loading it in multiples of its size."""
    (root / "logs").mkdir()
    server = ObjectStore(root / "data", root / "logs")
    try:
        server.wait_until_ready()
        url, reached = server.access.url, environment(server.access.environment())
        small = measured(root / "small", url, reached, "small", layers(root / "small", SMALL))
        large = measured(root / "large", url, reached, "large", made(root / "large"))
    finally:
        server.process.stop(seconds=10)
    size = large.size - small.size
    return large.size / MIB, (large.importing - small.importing) / size, (large.loading - small.loading) / size


def _dense(folder: Path, widths: list[int], *, inside: bool) -> Path:
    folder.mkdir()
    names = ["x", *(f"h{at}" for at in range(1, len(widths) - 1)), "y"]
    shapes = [[before, after] for before, after in pairwise(widths)]
    nodes = [helper.make_node("MatMul", [names[at], f"w{at}"], [names[at + 1]]) for at in range(len(shapes))]
    tensors = [TensorProto(name=f"w{at}", dims=shape, data_type=TensorProto.FLOAT) for at, shape in enumerate(shapes)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name, width in (("x", widths[0]), ("y", widths[-1]))
    ]
    source, model, weights = np.random.default_rng(0), folder / "model.onnx", folder / "model.onnx.weights"
    with weights.open("wb") as file:
        for tensor, (before, after) in zip(tensors, shapes, strict=True):
            # The outputs stay as large as the inputs.
            lines = (source.standard_normal(after, dtype=np.float32) / np.float32(before**0.5) for _ in range(before))
            if inside:
                tensor.raw_data = b"".join(line.tobytes() for line in lines)
                continue
            offset = file.tell()
            file.writelines(line.tobytes() for line in lines)
            tensor.data_location = TensorProto.EXTERNAL
            place = {"location": weights.name, "offset": offset, "length": file.tell() - offset}
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
    graph = helper.make_graph(nodes, "dense", ends[:1], ends[1:], tensors)
    proto: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.write_bytes(proto.SerializeToString())
    return model


def main() -> int:
    """Print the figures; the exit code is 1 when one is past what is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=2200, help="size of each model; the disk holds it four times")
    size = parser.parse_args().mib * MIB
    forms: dict[str, Callable[[Path], Path]] = {
        "many matrices": lambda folder: layers(folder, size),
        "a single matrix": lambda folder: one_matrix(folder, size),
        "many matrices in the ONNX file": lambda folder: layers(folder, min(size, 1900 * MIB), inside=True),
    }
    worst = 0.0
    print("| model | size | import | load and predict |\n|---|---|---|---|")
    for form, made in forms.items():
        with tempfile.TemporaryDirectory(prefix="sabia-memory-") as folder:
            size_in_mib, *ratios = _ratios(Path(folder), made)
        worst = max(worst, *ratios)
        print(f"| {form} | {size_in_mib:,.0f} MiB | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |", flush=True)
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
