"""Versions of every kind of signature: real graphs, small, published and read back as any version is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sabia.contract import state as states
from sabia.contract.layout import Version
from sabia.contract.manifest import fingerprint
from sabia.contract.reference import SCHEMA_VERSION, Histogram, Reference, encode
from sabia.contract.signature import Bins, Input, Output, Signature, bins_for
from sabia.registry.claim import Draft, publish
from sabia.registry.verification import Artifact, read_version
from sabia.serving.inference.loading import check_draft
from sabia.store.objects import Store
from tests.drafts import EVALUATION, PROVENANCE

_ONNX = {
    "float64": TensorProto.DOUBLE,
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "timestamp": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
    "bytes": TensorProto.STRING,
}
_REFERENCE = Reference(schema_version=SCHEMA_VERSION, rows=0, features={}, prediction=Histogram([], [0]))
CLASSES: list[str | int] = ["Adelie", "Chinstrap", "Gentoo"]


def artifact(signature: Signature, model: bytes, name: str = "toy", *, state: bytes = b'{"params": {}}') -> Artifact:
    """The version 1.0 of these, claimed after the check that publishing makes."""
    drafted = draft(signature, model, name, state=state)
    check_draft(drafted)
    store = Store.open("memory://")
    publish(store, drafted)
    return read_version(store, name, Version(1, 0))


def draft(signature: Signature, model: bytes, name: str = "toy", *, state: bytes = b'{"params": {}}') -> Draft:
    """A draft of a signature and a graph."""
    return Draft(
        name=name,
        created_at="2026-01-01T00:00:00Z",
        methods=fingerprint(signature),
        hyper_params={},
        signature=signature,
        target="y",
        metrics=EVALUATION,
        provenance=PROVENANCE,
        files={"model.onnx": model, "state.json": state, "reference.json": encode(_REFERENCE)},
    )


def graph(
    inputs: Sequence[Input], nodes: Sequence[Any], outputs: Sequence[Output], constants: dict[str, Any] | None = None
) -> bytes:
    """A model whose inputs and outputs are a signature's; a scalar has the shape [rows, 1], or [rows] as an output."""
    made = helper.make_graph(
        list(nodes),
        "toy",
        [_info(each.name, each.dtype, each.shape, column=each.is_scalar) for each in inputs],
        [_info(each.name, each.dtype, each.shape, column=False) for each in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _info(name: str, dtype: str, shape: list[int | None], *, column: bool) -> Any:
    return helper.make_tensor_value_info(name, _ONNX[dtype], [*shape, 1] if column else shape)


def signed(inputs: Sequence[Input], outputs: Sequence[Output], bins: Bins | None = None) -> Signature:
    """A signature whose first output is the primary one."""
    found = bins or bins_for(outputs[0]) or Bins(kind="none")
    return Signature(inputs=list(inputs), outputs=list(outputs), primary=outputs[0].name, bins=found)


MIXED_INPUTS = [
    Input(name="species", dtype="string", categories=CLASSES),
    Input(name="island", dtype="string", nullable=True, fill="", categories=["Biscoe", "Dream"]),
    Input(name="bill length", dtype="float64", nullable=True, minimum=30.0, maximum=60.0),
    Input(name="year", dtype="int64", minimum=2007, maximum=2009),
    Input(name="tagged", dtype="bool"),
    Input(name="seen", dtype="timestamp"),
]


def mixed() -> Artifact:
    """Strings, a float, a whole number, a boolean and a time in; a value out.

    The value is the number of the species, plus 10 if the island is Dream, plus the bill's length (0 if it is null),
    plus 1000 if tagged, plus the years since 2000, plus the seconds since 1970.
    """
    outputs = [Output(name="prediction", dtype="float64", role="value", unit="mm")]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["species"],
            ["species number"],
            domain="ai.onnx.ml",
            keys_strings=CLASSES,
            values_floats=[1.0, 2.0, 3.0],
            default_float=-1.0,
        ),
        helper.make_node(
            "LabelEncoder",
            ["island"],
            ["island number"],
            domain="ai.onnx.ml",
            keys_strings=["Dream"],
            values_floats=[10.0],
            default_float=0.0,
        ),
        helper.make_node("IsNaN", ["bill length"], ["unknown"]),
        helper.make_node("Where", ["unknown", "zero", "bill length"], ["bill"]),
        helper.make_node("Cast", ["tagged"], ["tag"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["tag", "thousand"], ["tag thousand"]),
        helper.make_node("Cast", ["species number"], ["species double"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["island number"], ["island double"], to=TensorProto.DOUBLE),
        helper.make_node("Cast", ["year"], ["year double"], to=TensorProto.DOUBLE),
        helper.make_node("Sub", ["year double", "two thousand"], ["years"]),
        helper.make_node("Cast", ["seen"], ["seen double"], to=TensorProto.DOUBLE),
        helper.make_node("Mul", ["seen double", "millionth"], ["seconds"]),
        helper.make_node(
            "Sum", ["species double", "island double", "bill", "tag thousand", "years", "seconds"], ["total"]
        ),
        helper.make_node("Squeeze", ["total", "one"], ["prediction"]),
    ]
    constants = {
        "zero": np.array(0.0),
        "thousand": np.array(1000.0),
        "two thousand": np.array(2000.0),
        "millionth": np.array(1e-6),
        "one": np.array([1]),
    }
    bins = Bins(kind="edges", edges=[50.0, 100.0])
    return artifact(signed(MIXED_INPUTS, outputs, bins), graph(MIXED_INPUTS, nodes, outputs, constants))


def labelled() -> Artifact:
    """Two floats in, as one matrix; a label of three species and their probabilities out."""
    inputs = [Input(name="bill length", dtype="float32"), Input(name="bill depth", dtype="float32", nullable=True)]
    outputs = [
        Output(name="label", dtype="string", role="label", classes=CLASSES),
        Output(name="probabilities", dtype="float32", shape=[None, 3], role="class-probabilities", classes=CLASSES),
    ]
    weights = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 1.0]], dtype=np.float32)
    made = helper.make_graph(
        [
            helper.make_node("IsNaN", ["features"], ["unknown"]),
            helper.make_node("Where", ["unknown", "zero", "features"], ["known"]),
            helper.make_node("MatMul", ["known", "weights"], ["scores"]),
            helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["scores"], ["number"], axis=1, keepdims=0),
            helper.make_node(
                "LabelEncoder",
                ["number"],
                ["label"],
                domain="ai.onnx.ml",
                keys_int64s=[0, 1, 2],
                values_strings=CLASSES,
            ),
        ],
        "labelled",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 3]),
        ],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array(0, dtype=np.float32), "zero")],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    return artifact(signed(inputs, outputs), model)


def image() -> Artifact:
    """An image of rank 4 in, the mean of each of its three channels out as a vector."""
    inputs = [Input(name="image", dtype="float32", shape=[None, 3, 4, 4])]
    outputs = [Output(name="means", dtype="float32", shape=[None, 3], role="vector")]
    nodes = [helper.make_node("ReduceMean", ["image"], ["means"], axes=[2, 3], keepdims=0)]
    bins = Bins(kind="edges", edges=[1.0])
    return artifact(signed(inputs, outputs, bins), graph(inputs, nodes, outputs))


def tokens() -> Artifact:
    """Whole numbers of any length in, up to 9; the sum of what a table holds for them out."""
    inputs = [Input(name="ids", dtype="int64", shape=[None, None], minimum=0, maximum=9)]
    outputs = [Output(name="score", dtype="float64", role="value")]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["values"]),
        helper.make_node("ReduceSum", ["values", "one"], ["score"], keepdims=0),
    ]
    constants = {"table": np.arange(10, dtype=np.float64) ** 2, "one": np.array([1])}
    return artifact(signed(inputs, outputs, Bins(kind="edges", edges=[10.0])), graph(inputs, nodes, outputs, constants))


def text() -> Artifact:
    """One string in, and itself out, opaque."""
    inputs = [Input(name="text", dtype="string")]
    outputs = [Output(name="echo", dtype="string", role="opaque")]
    nodes = [helper.make_node("Squeeze", ["text", "one"], ["echo"])]
    return artifact(signed(inputs, outputs), graph(inputs, nodes, outputs, {"one": np.array([1])}))


def blob() -> Artifact:
    """Bytes in; whether they are `ab` or the first byte of no text out."""
    inputs = [Input(name="blob", dtype="bytes")]
    outputs = [Output(name="number", dtype="int64", role="label", classes=[1, 2])]
    encoder = helper.make_node(
        "LabelEncoder",
        ["blob"],
        ["number wide"],
        domain="ai.onnx.ml",
        keys_strings=[b"ab", b"\xff\x00"],
        values_int64s=[1, 2],
        default_int64=7,
    )
    nodes = [encoder, helper.make_node("Squeeze", ["number wide", "one"], ["number"])]
    return artifact(signed(inputs, outputs), graph(inputs, nodes, outputs, {"one": np.array([1])}))


def several() -> Artifact:
    """A float and a string in; two values, a flag, a time and bytes out."""
    inputs = [Input(name="x", dtype="float64"), Input(name="name", dtype="string")]
    outputs = [
        Output(name="double", dtype="float64", role="value"),
        Output(name="triple", dtype="float64", role="value"),
        Output(name="positive", dtype="bool", role="opaque"),
        Output(name="moment", dtype="timestamp", role="opaque"),
        Output(name="raw", dtype="bytes", role="opaque"),
    ]
    nodes = [
        helper.make_node("Squeeze", ["x", "one"], ["flat"]),
        helper.make_node("Mul", ["flat", "two"], ["double"]),
        helper.make_node("Mul", ["flat", "three"], ["triple"]),
        helper.make_node("Greater", ["flat", "zero"], ["positive"]),
        helper.make_node("Cast", ["flat"], ["moment"], to=TensorProto.INT64),
        helper.make_node("Squeeze", ["name", "one"], ["raw"]),
    ]
    constants = {"one": np.array([1]), "two": np.array(2.0), "three": np.array(3.0), "zero": np.array(0.0)}
    bins = Bins(kind="edges", edges=[0.0])
    return artifact(signed(inputs, outputs, bins), graph(inputs, nodes, outputs, constants))


def linear(columns: int, *, nullable: bool = False) -> Artifact:
    """A linear regression of many columns, with its params: `Model` serves it, by the linear fast path."""
    inputs = [
        Input(name=f"x{at}", dtype="float64", minimum=-1.0, maximum=1.0, nullable=nullable) for at in range(columns)
    ]
    outputs = [Output(name="prediction", dtype="float64", role="value")]
    weights = np.random.default_rng(0).normal(size=columns) / columns
    nodes = [
        helper.make_node("IsNaN", ["features"], ["unknown"]),
        helper.make_node("Where", ["unknown", "five", "features"], ["known"]),
        helper.make_node("MatMul", ["known", "weights"], ["score"]),
        helper.make_node("Squeeze", ["score", "one"], ["prediction"]),
    ]
    made = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, columns])],
        [helper.make_tensor_value_info("prediction", TensorProto.DOUBLE, [None])],
        [
            numpy_helper.from_array(weights.reshape(-1, 1), "weights"),
            numpy_helper.from_array(np.array(5.0), "five"),
            numpy_helper.from_array(np.array([1]), "one"),
        ],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    params = {
        "means": [0.0] * columns,
        "scales": [1.0] * columns,
        "coefficients": weights.tolist(),
        "intercept": 0.0,
    }
    state = states.encode(states.State(params=params))
    return artifact(signed(inputs, outputs, Bins(kind="edges", edges=[0.0])), model, state=state)


KINDS: dict[str, Callable[[], Artifact]] = {
    "mixed": mixed,
    "labelled": labelled,
    "image": image,
    "tokens": tokens,
    "text": text,
    "blob": blob,
    "several": several,
}
