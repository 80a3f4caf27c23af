"""Ensembles of trees as one `TreeEnsemble` of ai.onnx.ml 5, in float64: the splits and leaves are the library's own.

The converters of the libraries round splits to float32, so that a row between a split and its rounding takes the other
branch, and know nothing of categorical splits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from sabia.publishing.graphs import Graph

LESS_OR_EQUAL, LESS, MEMBER = 0, 1, 6


@dataclass(slots=True)
class Tree:
    """One tree; all arrays have one entry for each node, and node 0 is the root.

    Attributes:
        left, right: the children, -1 of a leaf. A row goes left where its comparison holds.
        feature, mode, split: the comparison: `value <= split`, `value < split`, or the value is one of `members`.
        missing_left: whether a row without the value goes left.
        value: of a leaf.
        target: which output the tree adds to.
        members: the categories of each node that compares with a set, by node.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    mode: NDArray[np.uint8]
    split: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    value: NDArray[np.float64]
    target: int = 0
    members: dict[int, list[int]] = field(default_factory=dict)


def ensemble(graph: Graph, matrix: str, trees: list[Tree], *, base: NDArray[np.float64]) -> str:
    """The sums of the trees' leaves plus `base`, shape (rows, targets), of a float64 matrix (rows, columns)."""
    parts = [_flat(tree) for tree in trees]
    inner = np.cumsum([0, *(len(part["feature"]) for part in parts)])
    leaves = np.cumsum([0, *(len(part["weight"]) for part in parts)])
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    for side in ("true", "false"):
        offsets = np.concatenate(
            [
                np.where(part[f"{side}_leaf"], leaf, node)
                for part, node, leaf in zip(parts, inner[:-1], leaves[:-1], strict=True)
            ]
        )
        joined[side] = joined[side] + offsets
    members = [np.asarray([*sorted(tree.members[at]), np.nan]) for tree in trees for at in sorted(tree.members)]
    attributes: dict[str, Any] = (
        {"membership_values": numpy_helper.from_array(np.concatenate(members))} if members else {}
    )
    sums = graph.add(
        "TreeEnsemble",
        matrix,
        domain="ai.onnx.ml",
        n_targets=len(base),
        aggregate_function=1,  # sum
        post_transform=0,
        tree_roots=inner[:-1].tolist(),
        nodes_featureids=joined["feature"].tolist(),
        nodes_modes=numpy_helper.from_array(joined["mode"]),
        nodes_splits=numpy_helper.from_array(joined["split"]),
        nodes_truenodeids=joined["true"].tolist(),
        nodes_trueleafs=joined["true_leaf"].astype(int).tolist(),
        nodes_falsenodeids=joined["false"].tolist(),
        nodes_falseleafs=joined["false_leaf"].astype(int).tolist(),
        nodes_missing_value_tracks_true=joined["missing"].astype(int).tolist(),
        leaf_targetids=joined["target"].tolist(),
        leaf_weights=numpy_helper.from_array(joined["weight"]),
        **attributes,
    )
    return graph.add("Add", sums, graph.constant(base.reshape(1, -1), np.float64))


def _flat(tree: Tree) -> dict[str, NDArray[np.generic]]:
    """The tree's inner nodes and leaves, numbered apart from 0."""
    if len(tree.left) == 1:  # a tree of one leaf: a node both of whose children are that leaf
        tree = Tree(
            np.array([1, -1, -1]),
            np.array([2, -1, -1]),
            np.zeros(3, np.int64),
            np.zeros(3, np.uint8),
            np.zeros(3),
            np.zeros(3, bool),
            np.repeat(tree.value, 3),
            tree.target,
        )
    is_leaf = tree.left < 0
    inner = np.flatnonzero(~is_leaf)
    number = np.where(is_leaf, np.cumsum(is_leaf), np.cumsum(~is_leaf)) - 1
    return {
        "feature": tree.feature[inner],
        "mode": tree.mode[inner].astype(np.uint8),
        "split": tree.split[inner].astype(np.float64),
        "missing": tree.missing_left[inner],
        "true": number[tree.left[inner]],
        "true_leaf": is_leaf[tree.left[inner]],
        "false": number[tree.right[inner]],
        "false_leaf": is_leaf[tree.right[inner]],
        "weight": tree.value[is_leaf].astype(np.float64),
        "target": np.full(int(is_leaf.sum()), tree.target),
    }
