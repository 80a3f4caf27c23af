"""The digest of a graph without its weights: other data keeps it, other operations change it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from sabia.publishing.graph import graph_digest

ROWS = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)


def digest_of(estimator: Any, rows: NDArray[np.float32] = ROWS) -> str:
    """The digest of an estimator that was fitted on some rows."""
    target = (rows[:, 0] + rows[:, 1] ** 2 > 0.5).astype(np.int64)
    return graph_digest(bytes(to_onnx(estimator.fit(rows, target), rows[:1]).SerializeToString()))


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        lambda: make_pipeline(StandardScaler(), Ridge()),
        lambda: RandomForestClassifier(n_estimators=5, random_state=0),
        lambda: HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=["logistic", "ridge", "forest", "boosting"],
)
def test_other_data_is_the_same_graph(make: Any) -> None:
    assert digest_of(make()) == digest_of(make(), ROWS[:90])


def test_other_hyper_params_are_the_same_graph() -> None:
    assert digest_of(RandomForestClassifier(n_estimators=3)) == digest_of(RandomForestClassifier(n_estimators=9))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression()), make_pipeline(StandardScaler(), Ridge())),
        (make_pipeline(StandardScaler(), Ridge()), Ridge()),
        (make_pipeline(StandardScaler(), Ridge()), make_pipeline(StandardScaler(), MinMaxScaler(), Ridge())),
        (RandomForestClassifier(n_estimators=5), HistGradientBoostingClassifier(max_iter=5)),
    ],
    ids=["link", "no scaler", "another step", "trees"],
)
def test_another_estimator_is_another_graph(one: Any, other: Any) -> None:
    assert digest_of(one) != digest_of(other)


def network(*, names: str = "a", weight: float = 1.0, axis: int = 1, op: str = "Softmax") -> bytes:
    """X → x @ w → softmax; `names` is the prefix of every name inside."""
    weights = numpy_helper.from_array(np.full((3, 2), weight, dtype=np.float32), f"{names}_w")
    nodes = [
        helper.make_node("MatMul", ["x", f"{names}_w"], [f"{names}_h"]),
        helper.make_node(op, [f"{names}_h"], ["y"], axis=axis),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, size]) for name, size in (("x", 3), ("y", 2))]
    graph = helper.make_graph(nodes, f"{names}_graph", ends[:1], ends[1:], [weights])
    return bytes(helper.make_model(graph).SerializeToString())


def test_names_inside_and_weights_do_not_count() -> None:
    assert graph_digest(network()) == graph_digest(network(names="b", weight=3.0))


@pytest.mark.parametrize("changed", [{"axis": 0}, {"op": "LogSoftmax"}])
def test_operations_and_how_they_compute_count(changed: dict[str, Any]) -> None:
    assert graph_digest(network()) != graph_digest(network(**changed))


def lookup(words: list[str], *, op: str = "Identity") -> bytes:
    """A text → its place in `words`, or their number."""
    places = list(range(len(words)))
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["x"],
            ["h"],
            domain="ai.onnx.ml",
            keys_strings=words,
            values_int64s=places,
            default_int64=len(words),
        ),
        helper.make_node(op, ["h"], ["y"]),
    ]
    ends = [
        helper.make_tensor_value_info("x", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("y", TensorProto.INT64, [None]),
    ]
    return bytes(helper.make_model(helper.make_graph(nodes, "lookup", ends[:1], ends[1:])).SerializeToString())


def test_another_vocabulary_is_the_same_graph() -> None:
    assert graph_digest(lookup(["JFK", "LGA"])) == graph_digest(lookup(["EWR", "JFK", "LGA"]))
    assert graph_digest(lookup(["JFK", "LGA"])) != graph_digest(lookup(["JFK", "LGA"], op="Neg"))
