"""What no version can serve, found in a graph without running it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from sabia.publishing.importing.errors import UnsupportedModel

# The domains whose operators ONNX Runtime brings. Any other needs a library, which is code.
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
# A loop of more rounds than this is refused: it could outlast every deadline.
_MOST_ROUNDS = 1_000_000
# The standard operators that hold a subgraph and end with their input; a Loop does within its limit.
_HOLDERS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
# These read no values of their input, so what is computed from them is bounded by the size of a request, which counts
# as 1000 rounds.
_SHAPES = frozenset({"Shape", "Size"})
_SIZE = 1000.0
# These give values of their first input.
_SELECTING = frozenset(
    {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Gather", "Slice"}
    | {"ReduceMax", "ReduceMin", "Abs", "Neg", "Floor"}
)
# From the largest magnitudes of the inputs to that of the output; Div apart.
_ARITHMETIC: dict[str, Callable[[list[float]], float]] = {
    "Add": sum,
    "Sub": sum,
    "Mul": math.prod,
    "Div": max,  # see _of_node
    "Min": max,
    "Max": max,
    "Concat": max,
}
_NUMBERS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL}
)
# A larger tensor is weights, and no number of rounds.
_FEW = 64
# What made a value: a node, or constant numbers; None for a caller.
_Made = NodeProto | NDArray[np.float64] | None


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
    looping = any(_operator(node) == "Loop" for each in proto.functions for node in _nodes(each.node))
    loops = _Loops(frozenset(functions), looping)
    loops.check(proto.graph.node, _values(proto.graph), 1)
    for function in proto.functions:
        loops.check(function.node, {}, 1)
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


@dataclass(frozen=True, slots=True)
class _Loops:
    """Bounds how often the bodies of loops run, with the functions that the model brings."""

    functions: frozenset[tuple[str, str]]
    loop_in_function: bool

    def check(self, nodes: Iterable[NodeProto], made: dict[str, _Made], times: float) -> None:
        """Check nodes that run `times` times for each request; `made` says what made each value in their scope."""
        for node in nodes:
            operator = "" if (node.domain, node.op_type) in self.functions else _operator(node)
            bodies = list(_bodies(node))
            if bodies and operator not in _HOLDERS:
                raise UnsupportedModel(
                    f"uses {node.op_type} ({node.name or 'unnamed'}), whose subgraph runs until its values end it; it "
                    "need not end"
                )
            if times > 1 and not operator and self.loop_in_function:
                raise UnsupportedModel(
                    f"has a Loop in a function, and the function {node.op_type} in a loop; their rounds are not bounded"
                )
            rounds = self._rounds(operator, node, made)
            if times * rounds > _MOST_ROUNDS and operator == "Loop":
                within = f" within loops of {times:.0f}" if times > 1 else ""
                raise UnsupportedModel(
                    f"has a Loop ({node.name or 'unnamed'}) of {rounds:.0f} rounds{within}; {_MOST_ROUNDS} are the most"
                )
            made |= dict.fromkeys(node.output, node)
            for body in bodies:
                self.check(body.node, made | _values(body), times * rounds)

    def _rounds(self, operator: str, node: NodeProto, made: dict[str, _Made]) -> float:
        if operator != "Loop":
            return _SIZE if operator in ("Scan", "SequenceMap") else 1
        if not node.input or not node.input[0]:
            raise UnsupportedModel(f"has a Loop without a limit ({node.name or 'unnamed'}), which need not end")
        found = self._most(node.input[0], made, {})
        if found is None:
            raise UnsupportedModel(
                f"has a Loop ({node.name or 'unnamed'}) whose rounds depend on the values of a request; it need not end"
            )
        return found

    def _most(self, name: str, made: dict[str, _Made], known: dict[str, float | None]) -> float | None:
        """The largest magnitude that a value can have; None where it is not known."""
        if name not in known:
            known[name] = None  # a value that is made of itself
            source = made.get(name)
            known[name] = self._of_node(source, made, known) if isinstance(source, NodeProto) else _largest(source)
        return known[name]

    def _of_node(self, node: NodeProto, made: dict[str, _Made], known: dict[str, float | None]) -> float | None:
        operator = "" if (node.domain, node.op_type) in self.functions else _operator(node)
        if operator == "Constant":
            return _largest(_constant(node))
        if operator in _SHAPES:
            return _SIZE
        if operator in _SELECTING:
            return self._most(node.input[0], made, known)
        parts = [self._most(each, made, known) for each in node.input if each]
        bounds = [each for each in parts if each is not None]
        if operator not in _ARITHMETIC or not parts or len(bounds) < len(parts):
            return None
        if operator == "Div":
            # Only a constant divisor is known not to be near zero.
            divisor = made.get(node.input[1])
            values = _constant(divisor) if isinstance(divisor, NodeProto) else divisor
            return bounds[0] if values is not None and np.abs(values).min(initial=np.inf) >= 1 else None
        return _ARITHMETIC[operator](bounds)


def _operator(node: NodeProto) -> str:
    """The name of a standard operator; empty for one of another domain."""
    return node.op_type if node.domain in ("", "ai.onnx") else ""


def _values(graph: GraphProto) -> dict[str, _Made]:
    """The inputs of a graph, which nothing is known of, and the values of its initializers."""
    given: dict[str, _Made] = dict.fromkeys((each.name for each in graph.input), None)
    return given | {each.name: _number(each) for each in graph.initializer}


def _largest(values: _Made) -> float | None:
    return float(np.abs(values).max(initial=0)) if isinstance(values, np.ndarray) else None


def _constant(node: NodeProto) -> NDArray[np.float64] | None:
    """The numbers of a Constant; None for another node, and for a constant that a function's caller gives."""
    for attribute in node.attribute if _operator(node) == "Constant" else ():
        if attribute.ref_attr_name:
            return None
        if attribute.name == "value":
            return _number(attribute.t)
        if attribute.name in ("value_int", "value_float", "value_ints", "value_floats"):
            return np.array(helper.get_attribute_value(attribute), dtype=np.float64)
    return None


def _number(tensor: TensorProto) -> NDArray[np.float64] | None:
    """The numbers of a small tensor; None for weights and strings."""
    if tensor.data_location == TensorProto.EXTERNAL or int(np.prod(tensor.dims)) > _FEW:
        return None
    if tensor.data_type not in _NUMBERS:
        return None
    return np.asarray(numpy_helper.to_array(tensor), dtype=np.float64)
