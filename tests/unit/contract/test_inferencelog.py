"""The columns of the inference log, by signature."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from sabia.contract.inferencelog import (
    InputColumn,
    PredictionColumns,
    Type,
    digest,
    input_columns,
    log_columns,
    prediction_columns,
)
from sabia.contract.signature import Bins, DType, Input, LogChoice, Output, Signature

PROBABILITIES = Output(
    name="probabilities", dtype="float32", shape=[None, 3], role="class-probabilities", classes=["a", "b", "c"]
)
LABEL = Output(name="label", dtype="string", role="label", classes=["a", "b", "c"])


def signature(*outputs: Output, inputs: list[Input] | None = None) -> Signature:
    """A signature whose primary output is the first."""
    return Signature(
        inputs=inputs or [Input(name="x", dtype="float64")],
        outputs=list(outputs),
        primary=outputs[0].name,
        bins=Bins(kind="none"),
    )


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        ("float64", Type.DOUBLE),
        ("float32", Type.DOUBLE),
        ("int64", Type.INTEGER),
        ("bool", Type.BOOLEAN),
        ("string", Type.STRING),
        ("timestamp", Type.TIME),
    ],
)
def test_a_column_has_the_type_of_its_input(dtype: DType, kind: Type) -> None:
    assert input_columns([Input(name="Dep Time", dtype=dtype)]) == {
        "Dep Time": InputColumn("dep_time", kind, digest=False)
    }


@pytest.mark.parametrize("log", ["column", "hash"])
def test_bytes_are_logged_as_a_digest(log: LogChoice) -> None:
    assert input_columns([Input(name="x", dtype="bytes", log=log)])["x"] == InputColumn("x", Type.STRING, digest=True)


@pytest.mark.parametrize("dtype", ["float64", "int64", "string", "bool", "timestamp"])
def test_a_hashed_input_has_a_column_of_digests(dtype: DType) -> None:
    each = Input(name="x", dtype=dtype, log="hash")
    assert input_columns([each])["x"] == InputColumn("x", Type.STRING, digest=True)


def test_an_input_that_is_not_logged_has_no_column_and_does_not_rename_another() -> None:
    inputs = [Input(name="a", dtype="float64", log="none"), Input(name="A", dtype="float64")]
    assert input_columns(inputs) == {"A": InputColumn("a_2", Type.DOUBLE, digest=False)}


@pytest.mark.parametrize(
    ("shape", "dtype", "column"),
    [
        ([None, 64], "float32", InputColumn("x", Type.DOUBLES, digest=False)),
        ([None, 8, 8], "int64", InputColumn("x", Type.DOUBLES, digest=False)),
        ([None, 65], "float32", InputColumn("x", Type.STRING, digest=True)),
        ([None, 3, 224, 224], "float32", InputColumn("x", Type.STRING, digest=True)),
        ([None, None], "int64", InputColumn("x", Type.STRING, digest=True)),
        ([None, 2], "string", InputColumn("x", Type.STRING, digest=True)),
    ],
)
def test_tensors_of_at_most_64_numbers_are_listed_and_others_have_a_digest(
    shape: list[int | None], dtype: DType, column: InputColumn
) -> None:
    assert input_columns([Input(name="x", dtype=dtype, shape=shape)])["x"] == column


def test_a_probability_and_a_value_are_numbers() -> None:
    for role in ("probability", "value"):
        output = Output(name="prediction", dtype="float64", role=role)
        assert prediction_columns(signature(output)) == PredictionColumns(prediction="prediction")


def test_a_label_is_a_class_with_the_probabilities_as_scores() -> None:
    assert prediction_columns(signature(LABEL)) == PredictionColumns(predicted_class="label")
    expected = PredictionColumns(predicted_class="label", scores=("probabilities",))
    assert prediction_columns(signature(LABEL, PROBABILITIES)) == expected


def test_class_probabilities_alone_are_scores_also_when_their_shape_does_not_tell_their_number() -> None:
    output = Output(name="p", dtype="float32", shape=[None, None], role="class-probabilities", classes=["a", "b"])
    assert prediction_columns(signature(output)) == PredictionColumns(scores=("p",))


def test_a_vector_is_in_the_scores_or_has_a_digest() -> None:
    short = Output(name="v", dtype="float32", shape=[None, 64], role="vector")
    long = Output(name="v", dtype="float32", shape=[None, 65], role="vector")
    assert prediction_columns(signature(short)) == PredictionColumns(scores=("v",))
    assert prediction_columns(signature(long)) == PredictionColumns(digest="v")


def test_probabilities_of_more_than_64_classes_have_a_digest_when_they_are_all_there_is() -> None:
    classes: list[str | int] = [f"class {at}" for at in range(65)]
    many = Output(name="p", dtype="float32", shape=[None, 65], role="class-probabilities", classes=classes)
    assert prediction_columns(signature(many)) == PredictionColumns(digest="p")
    label = Output(name="label", dtype="string", role="label", classes=classes)
    assert prediction_columns(signature(label, many)) == PredictionColumns(predicted_class="label")


def test_several_values_are_in_the_scores_and_the_primary_one_is_the_prediction() -> None:
    outputs = [Output(name=name, dtype="float64", role="value") for name in ("weight", "waist", "pulse")]
    expected = PredictionColumns(prediction="weight", scores=("weight", "waist", "pulse"))
    assert prediction_columns(signature(*outputs)) == expected


def test_an_opaque_output_has_a_digest() -> None:
    output = Output(name="text", dtype="string", role="opaque")
    assert prediction_columns(signature(output)) == PredictionColumns(digest="text")


def test_inputs_come_after_the_fixed_columns_and_never_take_their_names() -> None:
    names = ("scores", "class", "predicted_class", "prediction")
    inputs = [Input(name=name, dtype="string") for name in names]
    added = list(log_columns(signature(LABEL, inputs=inputs)))[-4:]
    assert added == ["feature_scores", "class", "feature_predicted_class", "feature_prediction"]


def test_a_digest_is_the_sha256_of_the_value() -> None:
    assert digest("größe") == sha256("größe".encode()).hexdigest()
    assert digest(b"\xff") == sha256(b"\xff").hexdigest()
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest(values) == sha256(values.tobytes()).hexdigest()


def test_equal_arrays_have_one_digest_whatever_their_layout() -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest(np.asfortranarray(values)) == digest(values) == digest(values.astype(">f4"))
    texts = np.array(["a", "b"], dtype=object)
    assert digest(texts) == digest(texts.copy()) != digest(np.array(["ab", ""], dtype=object))
