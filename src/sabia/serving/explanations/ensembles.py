"""The trees of a graph's `TreeEnsemble`, `TreeEnsembleClassifier` or `TreeEnsembleRegressor` node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sabia.serving.errors import NotExplainable
from sabia.serving.explanations.trees import MEMBER, Floats, Ints, Trees

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

OPERATORS = ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor")
_MODES = (b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ")
_LEAF = b"LEAF"
_SAME = ("Cast", "Identity", "Reshape")
# What each does with a constant beside the sums: a factor and a term.
_ARITHMETIC: dict[str, Callable[[Floats], tuple[Floats | float, Floats | float]]] = {
    "Add": lambda number: (1.0, number),
    "Sub": lambda number: (1.0, -number),
    "Mul": lambda number: (number, 0.0),
    "Div": lambda number: (1.0 / number, 0.0),
}


def read(node: NodeProto) -> Trees:
    """The trees of a node of `OPERATORS`.

    Raises:
        NotExplainable: they are joined by something else than a sum or a mean.
    """
    attributes = _Attributes(node)
    trees = _current(attributes) if node.op_type == "TreeEnsemble" else _former(attributes, node.op_type)
    _check_depth(trees)
    return trees


class _Attributes:
    """A node's attributes as arrays, each made when it is asked for: a forest has millions of numbers."""

    def __init__(self, node: NodeProto) -> None:
        self._attributes = {each.name: each for each in node.attribute}

    def ints(self, name: str, length: int = 0) -> Ints:
        """Integers; zeros where there are none."""
        given = self._attributes.get(name)
        return np.zeros(length, np.int64) if given is None else np.fromiter(given.ints, np.int64, len(given.ints))

    def floats(self, name: str) -> Floats:
        """Floats, of the attribute or of its form as a tensor; empty where there are none."""
        from onnx import numpy_helper  # noqa: PLC0415  an extra

        given = self._attributes.get(f"{name}_as_tensor") or self._attributes.get(name)
        if given is None:
            return np.empty(0)
        if given.HasField("t"):
            return np.asarray(numpy_helper.to_array(given.t), dtype=np.float64).ravel()
        # The attribute is float32, and Python's floats are those numbers.
        return np.fromiter(given.floats, np.float64, len(given.floats))

    def texts(self, name: str) -> NDArray[np.bytes_]:
        """Strings, in UTF-8."""
        given = self._attributes.get(name)
        return np.array([] if given is None else list(given.strings), dtype=np.bytes_)

    def number(self, name: str, default: int) -> int:
        """One integer."""
        given = self._attributes.get(name)
        return default if given is None else int(given.i)

    def text(self, name: str, default: bytes) -> bytes:
        """One string, in UTF-8."""
        given = self._attributes.get(name)
        return default if given is None else bytes(given.s)


def _current(given: _Attributes) -> Trees:
    """Of ai.onnx.ml 5: inner nodes and leaves are numbered apart."""
    features = given.ints("nodes_featureids")
    inner, weights = len(features), given.floats("leaf_weights")
    leaves, count = len(weights), len(features) + len(weights)
    roots = given.ints("tree_roots")
    true, false = (
        _padded(given.ints(f"nodes_{side}nodeids") + inner * given.ints(f"nodes_{side}leafs"), leaves, -1)
        for side in ("true", "false")
    )
    values = np.zeros((count, given.number("n_targets", 1)))
    values[inner + np.arange(leaves), given.ints("leaf_targetids")] = weights
    mode = given.floats("nodes_modes").astype(np.int64)
    scale = _scale(given.number("aggregate_function", 1), len(roots))
    return Trees(
        roots=roots,
        true=true,
        false=false,
        column=_padded(features, leaves, 0),
        mode=_padded(mode, leaves, 0),
        split=_padded(given.floats("nodes_splits"), leaves, 0.0),
        missing_true=_padded(given.ints("nodes_missing_value_tracks_true", inner).astype(np.bool_), leaves, False),
        values=values * scale,
        offset=np.zeros(values.shape[1]),
        **_sets(mode, given.floats("membership_values")),
    )


def _sets(mode: Ints, values: Floats) -> dict[str, NDArray[Any]]:
    """The sets of the nodes that compare with one: in the order of the nodes, NaN after each."""
    nodes = np.flatnonzero(mode == MEMBER)
    ends = np.isnan(values)
    known, place = np.unique(values[~ends], return_inverse=True)
    sets = np.zeros((len(nodes), len(known) + 1), dtype=np.bool_)
    sets[np.cumsum(ends)[~ends], place] = True
    set_of = np.zeros(len(mode), dtype=np.int64)
    set_of[nodes] = np.arange(len(nodes))
    return {"known": known, "sets": sets, "set_of": set_of}


def _former(given: _Attributes, operator: str) -> Trees:
    """Of ai.onnx.ml 1 and 3: leaves are nodes, numbered in each tree."""
    tree, number = given.ints("nodes_treeids"), given.ints("nodes_nodeids")
    width = int(number.max()) + 1
    keys = tree * width + number
    order = np.argsort(keys)

    def place(trees: Ints, numbers: Ints) -> Ints:
        return order[np.searchsorted(keys, trees * width + numbers, sorter=order)]

    modes = given.texts("nodes_modes")
    is_leaf = modes == _LEAF
    true, false = (np.where(is_leaf, -1, place(tree, given.ints(f"nodes_{side}nodeids"))) for side in ("true", "false"))
    is_root = np.ones(len(tree), dtype=np.bool_)
    is_root[true[~is_leaf]] = is_root[false[~is_leaf]] = False
    roots = np.flatnonzero(is_root)
    prefix = "class" if operator == "TreeEnsembleClassifier" else "target"
    targets = given.ints(f"{prefix}_ids")
    base = given.floats("base_values")
    if prefix == "class":
        classes = len(given.texts("classlabels_strings")) or len(given.ints("classlabels_int64s"))
        # Of two classes, weights may be given for one only.
        single = classes == 2 and bool((targets == targets[0]).all())
        count = 1 if single else classes
        targets = np.zeros_like(targets) if single else targets
        base = base[-1:] if single else base
    else:
        count = given.number("n_targets", 1)
    values = np.zeros((len(tree), count))
    at = place(given.ints(f"{prefix}_treeids"), given.ints(f"{prefix}_nodeids"))
    np.add.at(values, (at, targets), given.floats(f"{prefix}_weights"))
    functions = {b"AVERAGE": 0, b"SUM": 1}
    scale = _scale(functions.get(given.text("aggregate_function", b"SUM"), -1), len(roots))
    return Trees(
        roots=roots,
        true=true,
        false=false,
        column=given.ints("nodes_featureids"),
        mode=np.select([modes == name for name in _MODES], range(len(_MODES)), default=0),
        split=given.floats("nodes_values"),
        missing_true=given.ints("nodes_missing_value_tracks_true", len(tree)).astype(np.bool_),
        values=values * scale,
        offset=np.zeros(count) + (base if len(base) in (1, count) else 0.0),
    )


def behind(trees: Trees, value: str, graph: GraphProto) -> Trees:
    """The trees with what the graph does to their sums `value`, as long as it adds or multiplies by constants."""
    from onnx import numpy_helper  # noqa: PLC0415  an extra

    constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    while True:
        users = [node for node in graph.node if value in node.input]
        if len(users) != 1 or users[0].op_type not in (*_SAME, *_ARITHMETIC):
            return trees
        node = users[0]
        if node.op_type in _ARITHMETIC:
            number = constants.get(node.input[1])
            if node.input[0] != value or number is None or number.size not in (1, len(trees.offset)):
                return trees
            factor, term = _ARITHMETIC[node.op_type](np.asarray(number, dtype=np.float64).ravel())
            trees = replace(trees, values=trees.values * factor, offset=trees.offset * factor + term)
        value = node.output[0]


def _scale(function: int, trees: int) -> float:
    if function not in (0, 1):
        raise NotExplainable("its trees are joined by a minimum or a maximum, not by a sum")
    return 1.0 if function else 1.0 / trees


def _padded(values: NDArray[Any], leaves: int, fill: Any) -> NDArray[Any]:
    return np.concatenate([values, np.full(leaves, fill, dtype=values.dtype)])


def _check_depth(trees: Trees) -> None:
    """Refuse what is not a forest: a walk down it need not end."""
    level, nodes = trees.roots, 0
    while len(level):
        nodes += len(level)
        if nodes > 2 * len(trees.true):
            raise NotExplainable("its trees share nodes")
        level = level[trees.true[level] >= 0]
        level = np.concatenate([trees.true[level], trees.false[level]])
