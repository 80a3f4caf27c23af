"""Small ONNX graphs like those that other tools export, and the files beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Shape = Sequence[int | str | None]
End = tuple[str, int, Shape]


def a_graph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[End],
    outputs: Sequence[End],
    weights: dict[str, NDArray[Any]] | None = None,
    *,
    opset: int = 17,
    domains: Sequence[str] = (),
) -> ModelProto:
    """A model of these nodes."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
        [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def a_network(
    columns: int = 4, *, answers: int = 1, last: str | None = "Sigmoid", seed: int = 0, hidden: int = 8
) -> ModelProto:
    """Two dense layers, as PyTorch exports them: input `x` [n, columns], output `y` [n, answers], float32."""
    rng = np.random.default_rng(seed)
    weights = {
        "first": rng.standard_normal((columns, hidden), dtype=np.float32) / np.float32(np.sqrt(columns)),
        "second": rng.standard_normal((hidden, answers), dtype=np.float32) / np.float32(np.sqrt(hidden)),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("MatMul", ["t", "second"], ["z" if last else "y"]),
    ]
    if last:
        nodes.append(helper.make_node(last, ["z"], ["y"]))
    given: End = ("x", TensorProto.FLOAT, ["n", columns])
    found: End = ("y", TensorProto.FLOAT, ["n", answers])
    return a_graph(nodes, [given], [found], weights)


def save(model: ModelProto, path: Path, *, weights: str | None = None) -> Path:
    """Write a model, and with `weights` its tensors into a file of that name beside it."""
    if weights is None:
        onnx.save(model, path)
    else:
        onnx.save(model, path, save_as_external_data=True, location=weights, size_threshold=0)
    return path


def save_rows(path: Path, **columns: Any) -> Path:
    """Write columns, arrays or lists, as Parquet or .npz."""
    if path.suffix == ".npz":
        np.savez(path, **columns)
        return path
    plain = {
        name: list(column) if isinstance(column, np.ndarray) and column.ndim > 1 else column
        for name, column in columns.items()
    }
    pq.write_table(pa.table(plain), path)
    return path
