"""From a trained estimator to `model.onnx`: methods as data, which a server need not trust as code.

Every converted model has one input `features` of shape [rows, columns] and one output `prediction` of shape [rows].
The opsets are pinned: a server of an older release reads what a newer one publishes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from sabia.contract.tensors import INPUT, OUTPUT
from sabia.publishing.model import Array, TrainedModel
from sabia.runtime import open_session

OPSET = {"": 17, "ai.onnx.ml": 1}


def to_onnx(model: TrainedModel, columns: int) -> bytes:
    """The model as ONNX; the same bytes for the same model."""
    if model.estimator is None:
        raise RuntimeError("train() comes before conversion")
    tensor = DoubleTensorType if model.input_dtype == "float64" else FloatTensorType
    final = model.estimator.steps[-1][1]
    converted = convert_sklearn(
        model.estimator,
        name=model.name,
        initial_types=[(INPUT, tensor([None, columns]))],
        target_opset=OPSET,
        options={id(final): {"zipmap": False}} if model.is_classifier else None,
    )
    _pin_opsets(converted)
    _finish(converted, clip=not model.is_classifier, double=model.input_dtype == "float64")
    onnx.checker.check_model(converted)
    return bytes(converted.SerializeToString(deterministic=True))


def _pin_opsets(converted: onnx.ModelProto) -> None:
    """Import exactly `OPSET`: the converter imports what it needed, lower for some models, twice for others.

    The operators that it uses mean the same from there up to `OPSET`; the publishing gate checks the predictions.
    """
    del converted.opset_import[:]
    converted.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in OPSET.items())


def _finish(converted: onnx.ModelProto, *, clip: bool, double: bool) -> None:
    """Make one vector of probabilities the only output of the graph."""
    graph = converted.graph
    kind, dtype = (TensorProto.DOUBLE, np.float64) if double else (TensorProto.FLOAT, np.float32)
    constants: dict[str, NDArray[Any]] = {"sabia_shape": np.array([-1], dtype=np.int64)}
    if clip:
        constants |= {"sabia_zero": np.array(0, dtype=dtype), "sabia_one": np.array(1, dtype=dtype)}
        tail = helper.make_node("Clip", [graph.output[0].name, "sabia_zero", "sabia_one"], ["sabia_column"])
    else:
        constants["sabia_positive"] = np.array([1], dtype=np.int64)
        tail = helper.make_node("Gather", [graph.output[1].name, "sabia_positive"], ["sabia_column"], axis=1)
    graph.node.extend([tail, helper.make_node("Reshape", ["sabia_column", "sabia_shape"], [OUTPUT])])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, kind, [None]))


def run(model_bytes: bytes, features: Array) -> Array:
    """The served model's predictions, shape (rows,), for features of shape (rows, columns)."""
    session = open_session(model_bytes, threads=0)
    dtype = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32
    (prediction,) = session.run([OUTPUT], {INPUT: features.astype(dtype)})
    return np.asarray(prediction, dtype=np.float64)
