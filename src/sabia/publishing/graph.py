"""The part of an ONNX graph that belongs to the methods: its operations and how they are joined, without weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import onnx
from onnx import AttributeProto, GraphProto

# Integers of the standard operators say how to compute: axes, kernels, strides. The lists of ai.onnx.ml hold what
# training determined: the nodes of trees, the classes, the vocabulary. So does the default of a lookup: often the size
# of its vocabulary.
_LEARNED = "ai.onnx.ml"


def graph_digest(model: bytes | onnx.ModelProto) -> str:
    """Sha256 of the graph without its weights, the same for the same operations joined in the same way.

    Left out are the values of initializers and constants, floats, what `ai.onnx.ml` operators learned, and every name
    inside the graph; inputs and outputs count by their names and types. Same digest, other weights: new state.
    """
    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
    functions = [
        [each.domain, each.name, _nodes(each.node, {name: name for name in each.input})] for each in proto.functions
    ]
    canonical = json.dumps([_graph(proto.graph), functions], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _graph(graph: GraphProto) -> list[Any]:
    names: dict[str, str] = {each.name: f"input {at}" for at, each in enumerate(graph.input)}
    initializers = [*graph.initializer, *(each.values for each in graph.sparse_initializer)]
    # Weights are distinguished by type and rank, not by size: another vocabulary is other state.
    names |= {each.name: f"weight {each.data_type} {len(each.dims)}" for each in initializers}
    nodes = _nodes(graph.node, names)
    ends = [[each.name, each.type.tensor_type.elem_type] for each in (*graph.input, *graph.output)]
    return [ends, nodes, [names.get(each.name, "") for each in graph.output]]


def _nodes(nodes: Iterable[onnx.NodeProto], names: dict[str, str]) -> list[Any]:
    """Each node by what it does and where its inputs come from; names of values become places."""
    described = []
    for place, node in enumerate(nodes):
        joined = [names.get(name, "outer" if name else "") for name in node.input]
        names |= {name: f"{place} {at}" for at, name in enumerate(node.output)}
        attributes = sorted(_attribute(node, attribute) for attribute in node.attribute)
        described.append([node.domain, node.op_type, joined, len(node.output), attributes])
    return described


def _attribute(node: onnx.NodeProto, attribute: AttributeProto) -> list[Any]:
    kind, name = attribute.type, attribute.name
    if kind == AttributeProto.INT and not (node.domain == _LEARNED and name.startswith("default_")):
        return [name, attribute.i]
    if kind == AttributeProto.STRING:
        return [name, attribute.s.decode("utf-8", "backslashreplace")]
    if kind == AttributeProto.INTS and node.domain != _LEARNED:
        return [name, list(attribute.ints)]
    if kind == AttributeProto.GRAPH:
        return [name, _graph(attribute.g)]
    if kind == AttributeProto.GRAPHS:
        return [name, [_graph(each) for each in attribute.graphs]]
    return [name, "weight"]
