"""An estimator or pipeline as one graph: inputs, the pipeline's transformers, its last step, and the outputs by role.

skl2onnx converts the transformers, with our own encoders and imputers, and most last steps. Boosted trees are read from
their libraries. A graph is tried in float64 first, because the sums of linear models need it; where ONNX Runtime has an
operator in float32 only, the next way is taken. The publishing gate compares each with the estimator.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto

from sabia.contract.signature import Input
from sabia.contract.tensors import INPUT, OUTPUT
from sabia.publishing.converters import ensembles, lookups, trees
from sabia.publishing.errors import ConversionRefused
from sabia.publishing.estimators import LABEL, PROBABILITIES, Booster, Subject
from sabia.publishing.graphs import Graph

Precision = Literal["float64", "float32"]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to convert: the dtype in which the transformers compute, and that of the last step."""

    transformers: Precision
    last: Precision


def ways(estimator: Any, *, matrix: Precision | None) -> Iterator[Way]:
    """The ways to convert an estimator, best first. What an ensemble's library computes in float32 counts as such."""
    steps, last = split(estimator)
    ensemble = ensembles.read(last)
    if ensemble is not None:
        yield Way("float64", "float32" if ensemble.in_float32 else "float64")
    elif _is_float32(last):
        # Trees of scikit-learn round their input to float32 themselves.
        yield Way("float64" if steps else "float32", "float32")
    else:
        yield Way("float64", "float64")
        yield Way("float64", "float32")
    if matrix != "float64" or steps:
        yield Way("float32", "float32")


def matrix_dtype(estimator: Any) -> Precision:
    """The dtype of the one matrix of a model whose inputs are all numbers."""
    steps, last = split(estimator)
    return "float32" if not steps and _is_float32(last) else "float64"


def split(estimator: Any) -> tuple[list[tuple[str, Any]], Any]:
    """The transformers of a pipeline, and what comes last; searches over parameters stand for their best estimator."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    if not hasattr(estimator, "steps"):
        return [], estimator.booster if isinstance(estimator, Booster) else estimator
    steps = [(name, step) for name, step in estimator.steps if step is not None and not isinstance(step, str)]
    inner, last = split(steps[-1][1])
    return [*steps[:-1], *inner], last


def build(subject: Subject, inputs: list[Input], way: Way, *, matrix: bool) -> onnx.ModelProto:
    """The graph: one input `features` of shape (rows, columns) when `matrix`, else one for each of the inputs.

    Raises:
        ConversionRefused: the estimator, or one of its steps, is of a kind that cannot be converted.
    """
    steps, last = split(subject.estimator)
    graph = Graph()
    ensemble = ensembles.read(last)
    by_name = any(hasattr(each, "transformers_") for _, step in steps for each in _inner(step))
    columns = _columns(graph, inputs, matrix=matrix, split=by_name or bool(ensemble and ensemble.categories))
    if steps:
        columns = {INPUT: _transformers(graph, steps, columns, way.transformers)}
    outputs = _last(graph, last, columns, subject, way.last, ensemble)
    _finish(graph, outputs, subject, matrix=matrix and inputs[0].dtype == "float32")
    return graph.model(subject.task)


def _columns(graph: Graph, inputs: list[Input], *, matrix: bool, split: bool) -> dict[str, str]:
    """The columns by name as strings or float64, each of shape (rows, 1); or the whole matrix."""
    if not matrix:
        for each in inputs:
            graph.input(each.name, each.dtype, [None, 1])
        texts = ("string", "bytes")
        return {
            each.name: each.name if each.dtype in texts else _as(graph, each.name, each.dtype, "float64")
            for each in inputs
        }
    graph.input(INPUT, inputs[0].dtype, [None, len(inputs)])
    if not split:
        return {INPUT: INPUT}
    whole = _as(graph, INPUT, inputs[0].dtype, "float64")
    places = {each.name: graph.constant([at], np.int64) for at, each in enumerate(inputs)}
    return {name: graph.add("Gather", whole, place, axis=1) for name, place in places.items()}


def _as(graph: Graph, value: str, dtype: str, desired: str) -> str:
    return value if dtype == desired else graph.cast(value, desired)


def _transformers(graph: Graph, steps: list[tuple[str, Any]], columns: dict[str, str], dtype: Precision) -> str:
    """The matrix that the transformers make, shape (rows, features)."""
    from sklearn.pipeline import Pipeline  # noqa: PLC0415  an extra

    fitted = Pipeline([*steps])
    given = _given(graph, columns, dtype)
    part = _skl2onnx(fitted, {name: kind for name, (_, kind) in given.items()})
    (output,) = graph.include(part, [value for value, _ in given.values()])
    return output


def _given(graph: Graph, columns: dict[str, str], dtype: Precision) -> dict[str, tuple[str, Any]]:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType  # noqa: PLC0415

    texts = {each.name for each in graph.inputs if each.type.tensor_type.elem_type == TensorProto.STRING}
    number = DoubleTensorType if dtype == "float64" else FloatTensorType
    width = next(each.type.tensor_type.shape.dim[1].dim_value for each in graph.inputs) if INPUT in columns else 1
    return {
        name: (value, StringTensorType([None, 1]))
        if value in texts
        else (graph.cast(value, dtype), number([None, width]))
        for name, value in columns.items()
    }


def _skl2onnx(model: Any, types: dict[str, Any], options: dict[int, Any] | None = None) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn  # noqa: PLC0415  slow to import, and an extra
    from sklearn.feature_extraction.text import CountVectorizer  # noqa: PLC0415  TfidfVectorizer is one

    # Slim images lack the locale that skl2onnx asks for by default.
    texts = {id(step): {"locale": "C"} for step in _inner(model) if isinstance(step, CountVectorizer)}
    logging.getLogger("skl2onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted: onnx.ModelProto = convert_sklearn(
                model,
                initial_types=list(types.items()),
                target_opset={"": 17, "ai.onnx.ml": 3},
                custom_conversion_functions=lookups.CONVERTERS,
                custom_shape_calculators=lookups.SHAPES,
                options={**(options or {}), **texts} or None,
            )
    except Exception as error:  # skl2onnx raises what it meets, of any kind
        raise ConversionRefused(type(model).__name__, _reason(model, error)) from error
    return converted


def _reason(model: Any, error: Exception) -> str:
    unknown = [type(step).__name__ for step in _inner(model) if type(step).__name__ in str(error)]
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if "Unable to find a shape calculator" in line and unknown:
        return f"it contains {unknown[-1]}, which no converter knows; put this step in front of the call, or replace it"
    return line[:200]


def _inner(model: Any) -> Iterator[Any]:
    """The estimator and every estimator inside it."""
    yield model
    nested = [step for _, step in getattr(model, "steps", [])]
    nested += [each[1] for each in getattr(model, "transformers_", [])]
    nested += [each[1] for each in getattr(model, "transformer_list", [])]
    for each in nested:
        if not isinstance(each, str) and each is not None:
            yield from _inner(each)


def _last(
    graph: Graph,
    last: Any,
    columns: dict[str, str],
    subject: Subject,
    dtype: Precision,
    ensemble: ensembles.Ensemble | None,
) -> dict[str, str]:
    """The values "label", "probabilities" and "values" that the last step gives, as far as it does."""
    if ensemble is not None:
        return _trees(graph, _coded(graph, columns, ensemble), ensemble, subject)
    matrix = _matrix(graph, columns, dtype)
    if type(last).__module__.partition(".")[0] == "catboost":
        return _catboost(graph, last, matrix, subject)
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType  # noqa: PLC0415

    kind = DoubleTensorType if dtype == "float64" else FloatTensorType
    width = getattr(last, "n_features_in_", None)
    options = {id(last): {"zipmap": False}} if subject.classes and subject.kind != "score" else None
    types = {"X": kind([None, width])}
    try:
        part = _skl2onnx(last, types, options)
    except ConversionRefused as error:
        if "zipmap" not in str(error):
            raise
        part = _skl2onnx(last, types)  # it has no probabilities
    outputs = graph.include(part, [matrix])
    if not subject.classes or subject.kind == "score":
        return {"values": outputs[0]}
    return {"label": outputs[0], "probabilities": outputs[1]} if len(outputs) > 1 else {"label": outputs[0]}


def _matrix(graph: Graph, columns: dict[str, str], dtype: str) -> str:
    values = list(columns.values())
    whole = values[0] if len(values) == 1 else graph.add("Concat", *values, axis=1)
    return graph.cast(whole, dtype)


def _coded(graph: Graph, columns: dict[str, str], ensemble: ensembles.Ensemble) -> str:
    """The float64 matrix that the trees compare: categories by their codes, and NaN for what is none of them."""
    if INPUT in columns and not ensemble.categories:
        matrix = columns[INPUT]
    else:
        if INPUT in columns:
            raise ConversionRefused("the pipeline", "categories that a step before the trees makes are not supported")
        values = [
            _codes(graph, value, ensemble.categories[at]) if at in ensemble.categories else value
            for at, value in enumerate(columns.values())
        ]
        matrix = values[0] if len(values) == 1 else graph.add("Concat", *values, axis=1)
    if ensemble.in_float32:
        matrix = graph.cast(matrix, "float32")
    return graph.cast(matrix, "float64")


def _codes(graph: Graph, column: str, values: list[Any]) -> str:
    codes = np.arange(len(values), dtype=np.float32)
    texts = {each.name for each in graph.inputs if each.type.tensor_type.elem_type == TensorProto.STRING}
    if column in texts:
        keys = [lookups.NULL if lookups.is_null(value) else str(value) for value in values]
        found = graph.add(
            "LabelEncoder",
            column,
            domain="ai.onnx.ml",
            keys_strings=keys,
            values_floats=[
                float("nan") if key == lookups.NULL else code for key, code in zip(keys, codes, strict=True)
            ],
            default_float=float("nan"),
        )
        return graph.cast(found, "float64")
    known = [(float(value), code) for value, code in zip(values, codes, strict=True) if not lookups.is_null(value)]
    numbers = graph.constant([[value for value, _ in known]], np.float64)
    hits = graph.cast(graph.add("Equal", column, numbers), "float64")
    code = graph.add("MatMul", hits, graph.constant([[each] for _, each in known], np.float64))
    met = graph.cast(graph.add("ReduceMax", hits, axes=[1], keepdims=1), "bool")
    return graph.add("Where", met, code, graph.constant(np.nan, np.float64))


def _trees(graph: Graph, matrix: str, ensemble: ensembles.Ensemble, subject: Subject) -> dict[str, str]:
    sums = trees.ensemble(graph, matrix, ensemble.trees, base=ensemble.base)
    if ensemble.link == "exp":
        return {"values": graph.add("Exp", sums)}
    if ensemble.link == "identity":
        return {"values": sums}
    if ensemble.link == "softmax":
        probabilities = graph.add("Softmax", sums, axis=1)
    else:
        second = graph.add("Sigmoid", sums)
        if not subject.classes:
            return {"values": second}
        probabilities = graph.add("Concat", graph.add("Sub", graph.constant(1.0, np.float64), second), second, axis=1)
    return {"probabilities": probabilities}


def _catboost(graph: Graph, model: Any, matrix: str, subject: Subject) -> dict[str, str]:
    if model.get_cat_feature_indices() or model.get_text_feature_indices():
        problem = "CatBoost exports numeric features only; encode its categories in a pipeline in front of it"
        raise ConversionRefused("CatBoost", problem)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        model.save_model(str(path), format="onnx")
        part = onnx.load(str(path))
    # Its classifiers answer a list of dicts by a ZipMap; the matrix of probabilities is the input of that.
    maps = [node for node in part.graph.node if node.op_type == "ZipMap"]
    for node in maps:
        part.graph.node.remove(node)
        for output in part.graph.output:
            if output.name == node.output[0]:
                output.CopyFrom(onnx.helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None))
    outputs = graph.include(part, [graph.cast(matrix, "float32")])
    return {"probabilities": outputs[-1]} if subject.classes and subject.kind != "score" else {"values": outputs[0]}


def _finish(graph: Graph, found: dict[str, str], subject: Subject, *, matrix: bool) -> None:
    """The outputs of the signature. `matrix`: the prediction of a float32 matrix is float32."""
    dtype = "float32" if matrix else "float64"
    if subject.kind == "probability":
        second = graph.add("Gather", found["probabilities"], graph.constant([1], np.int64), axis=1)
        _vector(graph, second, OUTPUT, dtype)
    elif subject.kind == "score":
        one = graph.cast(found["values"], dtype)
        zero, top = (graph.constant(value, np.dtype(dtype)) for value in (0, 1))
        _vector(graph, graph.add("Clip", one, zero, top), OUTPUT, dtype)
    elif subject.kind == "value":
        _vector(graph, found["values"], OUTPUT, dtype)
    elif subject.kind == "values":
        for at, name in enumerate(subject.targets):
            _vector(
                graph, graph.add("Gather", found["values"], graph.constant([at], np.int64), axis=1), name, "float64"
            )
    else:
        _label(graph, found, subject)
        if subject.kind == "probabilities":
            graph.cast(found["probabilities"], "float64", output=PROBABILITIES)
            graph.output(PROBABILITIES, "float64", [None, len(subject.classes)])


def _vector(graph: Graph, value: str, name: str, dtype: str) -> None:
    shaped = graph.add("Reshape", value, graph.constant([-1], np.int64))
    graph.cast(shaped, dtype, output=name)
    graph.output(name, dtype, [None])


def _label(graph: Graph, found: dict[str, str], subject: Subject) -> None:
    is_text = isinstance(subject.classes[0], str)
    if "label" not in found:
        best = graph.add("ArgMax", found["probabilities"], axis=1, keepdims=0)
        classes = graph.constant(subject.classes, object if is_text else np.int64)
        graph.add("Gather", classes, best, axis=0, output=LABEL)
    else:
        shaped = graph.add("Reshape", found["label"], graph.constant([-1], np.int64))
        graph.add("Identity", shaped, output=LABEL) if is_text else graph.cast(shaped, "int64", output=LABEL)
    graph.output(LABEL, "string" if is_text else "int64", [None])


def _is_float32(last: Any) -> bool:
    """Whether the library itself rounds the values to float32."""
    names = {base.__name__ for base in type(last).__mro__}
    rounds = {"BaseForest", "BaseDecisionTree", "BaseGradientBoosting", "CatBoost", "_CatBoostBase"}
    return bool(names & rounds)
