"""Counts by input, of narrow and of very wide models."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from sabia.contract.metrics import bin_labels
from sabia.contract.signature import Bins, Input, Output
from sabia.registry.verification import Artifact
from sabia.serving.telemetry.inputs import LISTED, InputCounts
from tests.unit.serving import graphs
from tests.unit.serving.clients import JSON, Client

WIDTH = 5000
WIDE = [f"feature {at}" for at in range(WIDTH)]


def counts(*which: int, width: int = WIDTH) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """One for each of these inputs."""
    return np.bincount(which, minlength=width).astype(np.int64)


def test_a_narrow_model_has_a_count_for_each_input_that_can_have_one() -> None:
    by_input = InputCounts(["a", "b", "c"], [True, False, True])
    part = np.zeros(by_input.size, dtype=np.int64)
    by_input.use(part)
    by_input.add(np.array([1, 7, 2]))
    by_input.add(np.array([1, 0, 0]))
    assert dict(by_input.sums([part])) == {"a": 2, "c": 2}


def test_a_wide_model_has_a_count_for_each_input_that_was_counted() -> None:
    by_input = InputCounts(WIDE, [True] * WIDTH)
    part = np.zeros(by_input.size, dtype=np.int64)
    by_input.use(part)
    by_input.add(counts(17, 4999))
    by_input.add(counts(17))
    assert dict(by_input.sums([part])) == {"feature 17": 2, "feature 4999": 1, "": 0}


STEPS = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, WIDTH - 1), max_size=80)), max_size=15)


@given(STEPS, st.sets(st.integers(0, 14)))
def test_counts_of_a_wide_model_are_complete_bounded_and_never_go_back(
    steps: list[tuple[int, list[int]]], restarts: set[int]
) -> None:
    parts = [np.zeros(2 * LISTED + 1, dtype=np.int64) for _ in range(3)]
    workers = [InputCounts(WIDE, [True] * WIDTH) for _ in parts]
    for worker, part in zip(workers, parts, strict=True):
        worker.use(part)
    before: dict[str, int] = {}
    total = 0
    for at, (which, inputs) in enumerate(steps):
        if at in restarts:  # another process takes the slot
            workers[which] = InputCounts(WIDE, [True] * WIDTH)
            workers[which].use(parts[which])
        workers[which].add(counts(*inputs))
        total += len(inputs)
        after = dict(workers[0].sums(parts))
        assert sum(after.values()) == total
        assert len(after) <= 3 * LISTED + 1
        assert all(after[name] >= count for name, count in before.items())
        before = after


def wide() -> Artifact:
    """A version of 5,000 inputs that may be null, and the sum of those that are not."""
    inputs = [Input(name=name, dtype="float32", nullable=True, minimum=0.0, maximum=1.0) for name in WIDE]
    nodes = [
        helper.make_node("IsNaN", ["features"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "features"], ["known"]),
        helper.make_node("ReduceSum", ["known", "one"], ["prediction"], keepdims=0),
    ]
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, WIDTH])
    prediction = helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None])
    constants = {"zero": np.float32(0), "one": np.array([1])}
    made = helper.make_graph(
        nodes,
        "wide",
        [features],
        [prediction],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    outputs = [Output(name="prediction", dtype="float32", role="value")]
    signature = graphs.signed(inputs, outputs, Bins(kind="edges", edges=[1.0]))
    return graphs.artifact(signature, model.SerializeToString())


def test_a_page_of_five_thousand_inputs_stays_short() -> None:
    client = Client(wide())
    row = [None if at % 2 else 2.0 for at in range(WIDTH)]
    for _ in range(3):
        response = client("POST", "/v1/models/toy:predict", json.dumps({"instances": [row]}).encode(), JSON)
        assert response.json()["predictions"] == [WIDTH]
    page = client("GET", "/metrics").text
    for name in ("sabia_inputs_out_of_range_total{", "sabia_inputs_missing_total{"):
        lines = [line for line in page.splitlines() if line.startswith(name)]
        assert len(lines) == LISTED + 1
        assert sum(float(line.rpartition(" ")[2]) for line in lines) == 3 * WIDTH / 2
    assert len(page) < 96 * 1024


@pytest.mark.parametrize(
    ("bins", "labels"),
    [
        (Bins(kind="equal", count=3, range=(0.0, 1.0)), ["0", "1", "2"]),
        (Bins(kind="edges", edges=[1.0]), ["0", "1"]),
        (Bins(kind="none"), ["0"]),
        (Bins(kind="classes", classes=["a", "b"]), ["a", "b", "other"]),
        (Bins(kind="classes", classes=[0, 1]), ["0", "1", "other"]),
        (Bins(kind="classes", classes=["other", ""]), ["other", '""', "other'"]),
        (Bins(kind="classes", classes=["1", 1]), ["1", "1'", "other"]),
    ],
)
def test_bins_are_labelled_by_class_or_by_number_and_each_differently(bins: Bins, labels: list[str]) -> None:
    assert bin_labels(bins) == labels
