"""The scalar signature with nulls, and with many columns."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from sabia.serving.inference.loading import open_model
from sabia.serving.inference.model import FAST_PATH_TOLERANCE, Model
from tests.unit.serving import graphs
from tests.unit.serving.clients import JSON, Client
from tests.unit.serving.test_typed import INFER, PREDICT, predictions, problem


@pytest.fixture(scope="module")
def client() -> Client:
    """A client of a linear version whose three features may be null; its graph puts 5 in the place of a null."""
    return Client(graphs.linear(3, nullable=True))


def test_a_scalar_signature_keeps_its_fast_path_when_features_may_be_null(client: Client) -> None:
    assert isinstance(client.model, Model)
    assert client.model.has_fast_path


@pytest.mark.parametrize("row", [[1.0, None, 2.0], {"x0": 1.0, "x1": None, "x2": 2.0}, {"x0": 1.0, "x2": 2.0}])
def test_what_becomes_of_a_null_is_the_graphs_matter(client: Client, row: Any) -> None:
    assert predictions(client, [row]) == pytest.approx(predictions(client, [[1.0, 5.0, 2.0]]), abs=1e-12)
    assert predictions(client, [[1.0, 5.0, 2.0], row])[1] == pytest.approx(predictions(client, [row])[0], abs=1e-12)


@pytest.mark.parametrize(
    "tensors",
    [
        [{"name": "features", "shape": [1, 3], "datatype": "FP64", "data": [1, None, 2]}],
        [{"name": "features", "shape": [1, 3], "datatype": "INT64", "data": [1, None, 2]}],
        [
            {"name": "x0", "shape": [1, 1], "datatype": "FP64", "data": [1]},
            {"name": "x2", "shape": [1], "datatype": "INT8", "data": [2]},
        ],
    ],
    ids=["null", "null among whole numbers", "absent"],
)
def test_v2_takes_nulls_too(client: Client, tensors: list[dict[str, Any]]) -> None:
    response = client("POST", INFER, json.dumps({"inputs": tensors}).encode(), JSON)
    assert response.status_code == 200, response.text
    assert response.json()["outputs"][0]["data"] == predictions(client, [[1, None, 2]])


def test_a_null_is_refused_where_the_feature_may_not_be_null() -> None:
    strict = Client(graphs.linear(3))
    assert problem(strict, PREDICT, {"instances": [[1, None, 2]]}) == "instances[0][1] is null; a number is needed."
    tensor = {"name": "features", "shape": [1, 3], "datatype": "FP64", "data": [1, None, 2]}
    assert "not numbers" in problem(strict, INFER, {"inputs": [tensor]})


def test_a_linear_version_of_five_thousand_columns_loads_in_a_hundredth_of_the_memory_of_all_pairs() -> None:
    artifact = graphs.linear(5000)
    tracemalloc.start()
    try:
        model = open_model(artifact)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(model, Model)
    # 5,000 by 5,000 float64 are 200 MB, and the check of each column alone took sixteen times that.
    assert peak < 200e6
    row = np.random.default_rng(1).uniform(-1, 1, (1, 5000))
    weights = np.random.default_rng(0).normal(size=5000) / 5000
    assert abs(model.predict(row)[0] - (row @ weights)[0]) < 10 * FAST_PATH_TOLERANCE
