"""Changes to a graph's ends, so that a server finds what it expects: none changes what the model computes.

Everything here works on the graph alone; the weights are not needed.
"""

from __future__ import annotations

from collections.abc import MutableSequence, Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from sabia.contract.tensors import INPUT

# Element types that no request has, and those that requests have instead.
_WIDER: dict[int, int] = {
    TensorProto.FLOAT16: TensorProto.FLOAT,
    TensorProto.BFLOAT16: TensorProto.FLOAT,
    TensorProto.INT8: TensorProto.INT64,
    TensorProto.INT16: TensorProto.INT64,
    TensorProto.INT32: TensorProto.INT64,
    TensorProto.UINT8: TensorProto.INT64,
    TensorProto.UINT16: TensorProto.INT64,
    TensorProto.UINT32: TensorProto.INT64,
    TensorProto.UINT64: TensorProto.INT64,
}


_IR_VERSION, _OPSET = 8, 17


def wider(kind: int) -> int:
    """The element type in which requests and responses carry tensors of this one."""
    return _WIDER.get(kind, kind)


def normalise(proto: ModelProto) -> None:
    """Remove what a tool wrote for people, such as paths of its machine, and make room for the changes below."""
    # From version 4 on, an initializer need not be an input as well.
    proto.ir_version = max(proto.ir_version, _IR_VERSION)
    if not any(each.domain in ("", "ai.onnx") for each in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("", _OPSET))
    proto.ClearField("doc_string")
    del proto.metadata_props[:]
    _strip(proto.graph)
    for function in proto.functions:
        _strip(function)


def _strip(graph: GraphProto | FunctionProto) -> None:
    values: list[ValueInfoProto | TensorProto] = [*graph.value_info]
    if isinstance(graph, GraphProto):
        values += [*graph.input, *graph.output, *graph.initializer]
    for each in (graph, *graph.node, *values):
        each.ClearField("doc_string")
        del each.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
                _strip(body)


def remove_zipmaps(proto: ModelProto) -> dict[str, list[str | int]]:
    """Replace each ZipMap at an output by the tensor that it reads; the classes by the output's name.

    scikit-learn's converter adds it: it makes a list of dictionaries, which no protocol carries.
    """
    classes: dict[str, list[str | int]] = {}
    for at, node in enumerate(proto.graph.node):
        if node.op_type != "ZipMap":
            continue
        for output in proto.graph.output:
            if output.name == node.output[0]:
                classes[output.name] = classes_of(node)
                kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [None, len(classes[output.name])])
                output.type.CopyFrom(kind)
                proto.graph.node[at].CopyFrom(helper.make_node("Identity", list(node.input), list(node.output)))
    return classes


def classes_of(node: NodeProto) -> list[str | int]:
    """The classes of a node of `ai.onnx.ml` that has any."""
    for attribute in node.attribute:
        if attribute.name in ("classlabels_strings", "cats_strings") and attribute.strings:
            return [each.decode("utf-8", "replace") for each in attribute.strings]
        if attribute.name in ("classlabels_int64s", "classlabels_ints", "cats_int64s") and attribute.ints:
            return [int(each) for each in attribute.ints]
    return []


def join_columns(proto: ModelProto, names: Sequence[str], kind: int) -> None:
    """Let the graph take one matrix `features`, one column of it for each of its inputs called `names`."""
    graph, nodes, columns = proto.graph, [], {}
    for at, name in enumerate(names):
        (given,) = (each for each in graph.input if each.name == name)
        flat = len(given.type.tensor_type.shape.dim) == 1
        columns[f"sabia_column_{at}"] = np.array(at if flat else [at], dtype=np.int64)
        inner = f"sabia_input_{at}"
        nodes.append(helper.make_node("Gather", [INPUT, f"sabia_column_{at}"], [inner], axis=1))
        rename_uses(graph, name, inner)
    kept = [each for each in graph.input if each.name not in names]
    matrix = helper.make_tensor_value_info(INPUT, kind, ["rows", len(names)])
    _replace(graph.input, [matrix, *kept])
    _prepend(graph, nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in columns.items())


def rename_input(proto: ModelProto, old: str, new: str) -> None:
    """Give an input another name."""
    rename_uses(proto.graph, old, new)
    for each in proto.graph.input:
        if each.name == old:
            each.name = new


def widen_inputs(proto: ModelProto) -> None:
    """Cast each input of a type that no request has, such as uint8 or float16, from one that requests have."""
    nodes = []
    for at, each in enumerate(proto.graph.input):
        kind = each.type.tensor_type.elem_type
        if kind in _WIDER and each.name not in {tensor.name for tensor in proto.graph.initializer}:
            inner = f"sabia_narrow_{at}"
            rename_uses(proto.graph, each.name, inner)
            nodes.append(helper.make_node("Cast", [each.name], [inner], to=kind))
            each.type.tensor_type.elem_type = _WIDER[kind]
    _prepend(proto.graph, nodes)


def finish_output(proto: ModelProto, name: str, *, new: str, flatten: bool) -> None:
    """Give an output its final name and type, and (`flatten`) make [rows, 1] to [rows]."""
    graph = proto.graph
    (output,) = (each for each in graph.output if each.name == name)
    kind = output.type.tensor_type.elem_type
    if new == name and not flatten and kind not in _WIDER:
        return
    current = f"sabia_output_{name}"
    _rename_values(graph, name, current)
    if flatten:
        graph.initializer.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), f"sabia_shape_{name}"))
        flat = f"sabia_flat_{name}"
        graph.node.append(helper.make_node("Reshape", [current, f"sabia_shape_{name}"], [flat]))
        current = flat
    to = _WIDER.get(kind, kind)
    last = helper.make_node("Identity" if to == kind else "Cast", [current], [new])
    if to != kind:
        last.attribute.append(helper.make_attribute("to", to))
    graph.node.append(last)
    output.name = new
    output.type.tensor_type.elem_type = to
    if flatten:
        output.type.CopyFrom(helper.make_tensor_type_proto(to, ["rows"]))


def add_label(proto: ModelProto, probabilities: str, label: str, classes: Sequence[str | int]) -> None:
    """Add the output `label`: the class of the largest of the probabilities."""
    graph = proto.graph
    strings = isinstance(classes[0], str)
    table: NDArray[np.generic] = np.array(classes, dtype=object if strings else np.int64)
    kind = TensorProto.STRING if strings else TensorProto.INT64
    graph.initializer.append(numpy_helper.from_array(table, "sabia_classes"))
    graph.node.extend(
        [
            helper.make_node("ArgMax", [probabilities], ["sabia_largest"], axis=1, keepdims=0),
            helper.make_node("Gather", ["sabia_classes", "sabia_largest"], [label], axis=0),
        ]
    )
    graph.output.insert(0, helper.make_tensor_value_info(label, kind, ["rows"]))


def producer(proto: ModelProto, name: str) -> NodeProto | None:
    """The node that computes a value, past nodes that only pass it on; None if an input or initializer holds it."""
    passing = {"Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast"}
    made = {output: node for node in proto.graph.node for output in node.output}
    node = made.get(name)
    while node is not None and node.op_type in passing:
        node = made.get(node.input[0])
    return node


def rename_uses(graph: GraphProto, old: str, new: str) -> None:
    """Let each node of the graph and of its subgraphs that reads `old` read `new`, and each output too."""
    for node in graph.node:
        _replace_names(node.input, old, new)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs) if attribute.type in (5, 10) else ():
                if old not in {each.name for each in body.input}:
                    rename_uses(body, old, new)


def _rename_values(graph: GraphProto, old: str, new: str) -> None:
    rename_uses(graph, old, new)
    for node in graph.node:
        _replace_names(node.output, old, new)
    for tensor in graph.initializer:
        if tensor.name == old:
            tensor.name = new


def _replace_names(names: MutableSequence[str], old: str, new: str) -> None:
    for at, name in enumerate(names):
        if name == old:
            names[at] = new


def _prepend(graph: GraphProto, nodes: list[NodeProto]) -> None:
    if nodes:
        _replace(graph.node, [*nodes, *graph.node])


def _replace(container: object, values: Sequence[object]) -> None:
    copies = [type(each)() for each in values]
    for copy, each in zip(copies, values, strict=True):
        copy.CopyFrom(each)  # type: ignore[attr-defined]  # protobuf's messages
    del container[:]  # type: ignore[attr-defined]
    container.extend(copies)  # type: ignore[attr-defined]
