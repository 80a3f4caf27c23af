"""The memory that a large model needs to be imported, and to be loaded: at most 1.3 times its size."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from benchmarks.publishing.memory import MIB, MOST, SMALL, layers, measured, one_matrix
from sabia.publishing.importing.weights import Graph, Weights, may_prepack
from tests.graphs import a_graph


@pytest.mark.slow
def test_a_large_model_is_imported_and_loaded_with_its_size_in_memory(tmp_path: Path) -> None:
    """The libraries' own memory, which a small model shows, is not counted."""
    store, variables = (tmp_path / "store").as_uri(), dict(os.environ)
    (tmp_path / "store").mkdir()
    small = measured(tmp_path / "small", store, variables, "small", layers(tmp_path / "small", SMALL))
    for name, made in (("many", layers), ("single", one_matrix)):
        large = measured(tmp_path / name, store, variables, name, made(tmp_path / name, 128 * MIB))
        allowed = MOST * (large.size - small.size)
        assert large.importing - small.importing <= allowed, name
        assert large.loading - small.loading <= allowed, name


@pytest.mark.parametrize(
    ("operators", "sizes", "copied"),
    [
        (["MatMul"], [30], True),
        (["MatMul"], [40], False),
        (["MatMul"] * 3, [40, 40, 40], False),
        (["MatMul"] * 8, [40] * 8, True),
        (["Gather"] + ["MatMul"] * 8, [200] + [40] * 8, True),
        (["Gather", "Gemm"], [40, 40], False),
    ],
    ids=["small", "single", "few", "many", "a table and many", "a table and one"],
)
def test_weights_that_are_much_of_a_large_model_are_not_copied_into_another_order(
    operators: list[str], sizes: list[int], copied: bool
) -> None:
    nodes = [helper.make_node(operator, ["x", f"w{at}"], [f"y{at}"]) for at, operator in enumerate(operators)]
    proto = a_graph(nodes, [("x", TensorProto.FLOAT, ["n", 4])], [("y0", TensorProto.FLOAT, ["n", 4])])
    places = {f"w{at}": Weights(Path("weights"), 0, size * MIB) for at, size in enumerate(sizes)}
    assert may_prepack(Graph(proto, places)) is copied
