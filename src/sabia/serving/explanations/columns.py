"""Which inputs each column of the matrix that trees compare is made of.

A transformer that makes one column of several inputs, such as a projection, leaves nothing that one of them alone
contributes. What an operator does is known for those that converters write in front of trees; any other counts as
mixing all that it gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import NodeProto

Sources = frozenset[str]
# Of a value of shape (rows, columns): the inputs that each column depends on. Of any other value: one entry.
Columns = list[Sources]
Widths = Mapping[str, int]
Constants = Mapping[str, NDArray[Any]]

_NOTHING: Sources = frozenset()
_EACH_BY_ITSELF = frozenset(
    (
        *("Abs", "Add", "And", "Binarizer", "Cast", "CastLike", "Ceil", "Clip", "Div", "Elu", "Equal", "Erf", "Exp"),
        *("Floor", "Greater", "GreaterOrEqual", "Identity", "Imputer", "IsInf", "IsNaN", "LabelEncoder", "LeakyRelu"),
        *("Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Relu"),
        *("Round", "Scaler", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "StringNormalizer", "Sub", "Sum"),
        *("Tanh", "Where", "Xor"),
    )
)
_JOINS = ("Concat", "FeatureVectorizer")
_SHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
_PICKS = ("Gather", "ArrayFeatureExtractor")


def sources(
    nodes: Sequence[NodeProto], inputs: Mapping[str, Columns], constants: Constants, widths: Widths, output: str
) -> Columns:
    """What each column of `output` depends on.

    Args:
        nodes: of the graph, in the order of computation.
        inputs: what the columns of the graph's inputs are.
        constants: values by name.
        widths: the number of columns of each value that is computed; 1 of one that has no columns.
        output: the value in question.
    """
    known: dict[str, Columns] = dict(inputs)
    for name, value in constants.items():
        known[name] = [_NOTHING] * (max(1, value.shape[-1]) if value.ndim else 1)
    for node in nodes:
        given = [known[name] for name in node.input if name in known]
        # A body of a loop or a branch may use any value.
        has_body = any(each.HasField("g") or each.graphs for each in node.attribute)
        everything = _union(column for columns in (known.values() if has_body else given) for column in columns)
        for at, name in enumerate(node.output):
            width = widths.get(name, 1)
            found = None if has_body or at or not given else _known(node, given, constants, width)
            known[name] = found if found is not None and len(found) == width else [everything] * width
    return known[output]


def _known(node: NodeProto, given: list[Columns], constants: Constants, width: int) -> Columns | None:
    """The columns of a node's first output; None where all may depend on all."""
    kind = node.op_type
    found: Columns | None = None
    if kind == "Mul" and any(name in constants and not constants[name].any() for name in node.input):
        # So the converter of intervals makes a column of ones, of any column that it has.
        found = [_NOTHING] * width
    elif kind in _EACH_BY_ITSELF and all(len(columns) in (1, width) for columns in given):
        # A value of one column counts for every column.
        found = [_union(columns[at if len(columns) > 1 else 0] for columns in given) for at in range(width)]
    elif kind in _JOINS and _attribute(node, "axis", 1) in (1, -1):
        found = [column for columns in given for column in columns]
    elif kind in _SHAPES:
        # The rows stay rows: a server compares a row alone with the same row among others when it loads a version.
        found = given[0]
    elif kind in _PICKS and (kind != "Gather" or _attribute(node, "axis", 0) in (1, -1)):
        places = constants.get(node.input[1])
        found = None if places is None else [given[0][int(place)] for place in places.ravel()]
    elif kind == "MatMul":
        found = _products(given[0], constants.get(node.input[1]))
    return found


def _products(columns: Columns, weights: NDArray[Any] | None) -> Columns | None:
    """The columns of a product with a constant matrix: only weights other than 0 join anything."""
    if weights is None or weights.ndim != 2 or len(weights) != len(columns):
        return None
    return [_union(columns[at] for at in np.flatnonzero(column)) for column in weights.T]


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((each.i for each in node.attribute if each.name == name), default)


def _union(parts: Iterable[Sources]) -> Sources:
    return _NOTHING.union(*parts)
