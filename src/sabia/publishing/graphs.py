"""ONNX graphs under construction, and the answers of finished ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from sabia.runtime import open_session

Arrays = dict[str, NDArray[Any]]

# `TreeEnsemble` is of ai.onnx.ml 5; what does without it says so, and an older ONNX Runtime reads it.
OPSET = 17
ML_OPSET = 3
TREES_OPSET = 5
IR_VERSION = 10

ELEMENTS = {
    "float64": TensorProto.DOUBLE,
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
    "bytes": TensorProto.STRING,
    "timestamp": TensorProto.INT64,
}
DTYPES = {
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT: "float32",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
    TensorProto.STRING: "string",
}


class Graph:
    """Nodes and constants, added in order; every value gets a name of its own."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def name(self, prefix: str) -> str:
        """A name that no other value has."""
        self._count += 1
        return f"sabia_{prefix}_{self._count}"

    def constant(self, value: Any, dtype: Any = None) -> str:
        """The name of a constant of this value."""
        name = self.name("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op_type: str, *inputs: str, output: str | None = None, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        output = output or self.name(op_type.lower())
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], domain=domain, **attributes))
        return output

    def cast(self, value: str, dtype: str, output: str | None = None) -> str:
        """Cast a value to a dtype of the signature's."""
        return self.add("Cast", value, output=output, to=ELEMENTS[dtype])

    def input(self, name: str, dtype: str, shape: list[int | None]) -> str:
        """Declare an input of the whole graph."""
        self.inputs.append(helper.make_tensor_value_info(name, ELEMENTS[dtype], shape))
        return name

    def output(self, name: str, dtype: str, shape: list[int | None]) -> None:
        """Declare an output of the whole graph."""
        self.outputs.append(helper.make_tensor_value_info(name, ELEMENTS[dtype], shape))

    def include(self, model: onnx.ModelProto, inputs: Sequence[str]) -> list[str]:
        """Add the nodes of a model whose inputs are values of this graph; the values of its outputs, in order."""
        prefix = self.name("part") + "_"
        part = compose.add_prefix(model, prefix).graph
        # By their order: a converter may change a name that has spaces.
        for theirs, value in zip(part.input, inputs, strict=True):
            self.add("Identity", value, output=theirs.name)
        self.nodes.extend(part.node)
        self.constants.extend(part.initializer)
        return [each.name for each in part.output]

    def model(self, name: str) -> onnx.ModelProto:
        """The finished model, checked, with pinned opsets."""
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        trees = any(node.op_type == "TreeEnsemble" for node in self.nodes)
        others = sorted({node.domain for node in self.nodes} - {"", "ai.onnx.ml"})
        opsets = [
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("ai.onnx.ml", TREES_OPSET if trees else ML_OPSET),
            *(helper.make_opsetid(domain, 1) for domain in others),
        ]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="sabia")
        onnx.checker.check_model(model)
        return model


def run(model: bytes | Path, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """The outputs of a model by name, for inputs by name."""
    opened = open_session(model, threads=0)
    names = [each.name for each in opened.get_outputs()]
    return dict(zip(names, opened.run(names, dict(inputs)), strict=True))
