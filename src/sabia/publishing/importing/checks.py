"""What no version can serve, found in a graph without running it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TypeProto, numpy_helper

from sabia.publishing.importing.errors import UnsupportedModel

# The domains whose operators ONNX Runtime brings. Any other needs a library, which is code.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
# A loop of more rounds than this is refused: it could outlast every deadline.
_MOST_ROUNDS = 1_000_000
# These read no values of their input, so what is computed from them is bounded by the size of a request.
_SHAPES = frozenset({"Shape", "Size"})


@dataclass(frozen=True, slots=True)
class Value:
    """An input or output of the graph: its element type as in onnx.TensorProto, and its dimensions (None: any)."""

    name: str
    kind: int
    shape: list[int | None] | None


def check(proto: ModelProto) -> None:
    """Check the graph.

    Raises:
        UnsupportedModel: an operator is not ONNX Runtime's, a loop need not end, or an input has no batch dimension.
    """
    functions = {(each.domain, each.name) for each in proto.functions}
    graphs = [proto.graph.node, *(each.node for each in proto.functions)]
    for node in (node for nodes in graphs for node in _nodes(nodes)):
        if node.domain not in _DOMAINS and (node.domain, node.op_type) not in functions:
            raise UnsupportedModel(
                f"uses the custom operator {node.domain}::{node.op_type}, which ONNX Runtime does not have"
            )
    _check_loops(proto.graph, {})
    for function in proto.functions:
        _check_loops(GraphProto(node=function.node), {})
    for value in inputs(proto):
        if value.shape is None or not value.shape or value.shape[0] is not None:
            shape = "no shape" if value.shape is None else f"the shape {value.shape}"
            raise UnsupportedModel(
                f"has no batch dimension: input {value.name!r} has {shape}; export it with a dynamic first dimension"
            )


def inputs(proto: ModelProto) -> list[Value]:
    """The inputs that a caller gives: those that no initializer fills.

    Raises:
        UnsupportedModel: there is none, or one is not a tensor.
    """
    filled = {tensor.name for tensor in proto.graph.initializer}
    given = [_value("input", each.name, each.type) for each in proto.graph.input if each.name not in filled]
    if not given:
        raise UnsupportedModel("has no input")
    return given


def outputs(proto: ModelProto) -> list[Value]:
    """The outputs, in order.

    Raises:
        UnsupportedModel: one is not a tensor.
    """
    return [_value("output", each.name, each.type) for each in proto.graph.output]


def _value(side: str, name: str, given: TypeProto) -> Value:
    kind = given.WhichOneof("value")
    if kind != "tensor_type":
        raise UnsupportedModel(f"has the {side} {name!r}, which is not a tensor but a {(kind or 'nothing')[:-5]}")
    tensor = given.tensor_type
    if not tensor.HasField("shape"):
        return Value(name, tensor.elem_type, None)
    return Value(name, tensor.elem_type, [each.dim_value if each.dim_value > 0 else None for each in tensor.shape.dim])


def _nodes(nodes: object) -> Iterator[NodeProto]:
    for node in nodes:  # type: ignore[attr-defined]  # protobuf's containers have no common type
        yield node
        for graph in _bodies(node):
            yield from _nodes(graph.node)


def _bodies(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _check_loops(graph: GraphProto, outer: dict[str, NodeProto | float | None]) -> None:
    """Check each Loop. `outer` names what made each value in scope: a node, a constant number, or (None) a caller."""
    made = outer | dict.fromkeys((each.name for each in graph.input), None)
    for tensor in graph.initializer:
        made[tensor.name] = float(numpy_helper.to_array(tensor).item()) if _is_number(tensor) else 0.0
    for node in graph.node:
        if node.op_type == "Loop" and node.domain in ("", "ai.onnx"):
            _check_loop(node, made)
        made |= dict.fromkeys(node.output, node)
        for body in _bodies(node):
            _check_loops(body, made)


def _check_loop(node: NodeProto, made: dict[str, NodeProto | float | None]) -> None:
    rounds = node.input[0] if node.input else ""
    if not rounds:
        raise UnsupportedModel(f"has a Loop without a limit ({node.name or 'unnamed'}), which need not end")
    pending, done = [rounds], set[str]()
    while pending:
        name = pending.pop()
        source = made.get(name)
        if source is None:
            raise UnsupportedModel(
                f"has a Loop ({node.name or 'unnamed'}) whose rounds depend on the values of a request; it need not end"
            )
        if isinstance(source, float):
            if name == rounds and source > _MOST_ROUNDS:
                raise UnsupportedModel(
                    f"has a Loop ({node.name or 'unnamed'}) of {source:.0f} rounds; {_MOST_ROUNDS} are the most"
                )
            continue
        if source.op_type == "Constant" and name == rounds:
            made |= {name: _constant(source)}
            pending.append(name)
        elif source.op_type not in _SHAPES and name not in done:
            pending.extend(each for each in source.input if each)
        done.add(name)


def _constant(node: NodeProto) -> float:
    for attribute in node.attribute:
        if attribute.name == "value_int":
            return float(attribute.i)
        if attribute.name == "value":
            return float(np.max(numpy_helper.to_array(attribute.t), initial=0))
    return 0.0


def _is_number(tensor: object) -> bool:
    dims = list(tensor.dims)  # type: ignore[attr-defined]
    return dims in ([], [1]) and tensor.data_type in (6, 7)  # type: ignore[attr-defined]
