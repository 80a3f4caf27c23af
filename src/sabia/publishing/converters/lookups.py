"""Encoders and imputers of scikit-learn as tables that are looked up, for skl2onnx's conversion of pipelines.

The table of an encoder is what the encoder itself makes of each category, and of a value that it never met. So rare
categories, dropped ones and missing ones come out as they do in scikit-learn, and float64 stays float64.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

# What a null string is while the model computes: no text that a client would send.
NULL = "\u2400"
_UNSEEN = "\u2400 unseen"
_UNSEEN_NUMBER = 2.0**52 + 1


def code(scope: Any, container: Any, column: str, values: list[Any], *, is_text: bool, dtype: int) -> str:
    """The index in `values` of each entry of a column of shape (rows, 1), else their number; shape (rows, 1)."""
    out = str(scope.get_unique_variable_name("code"))
    if is_text:
        keys = [NULL if is_null(value) else str(value) for value in values]
        attributes = {
            "keys_strings": keys,
            "values_int64s": list(range(len(keys))),
            "default_int64": len(keys),
        }
        container.add_node("LabelEncoder", [column], [out], op_domain="ai.onnx.ml", op_version=2, **attributes)
        return out
    numbers = np.asarray([np.nan if is_null(value) else float(value) for value in values])
    equal = _node(scope, container, "Equal", column, _constant(scope, container, numbers.reshape(1, -1), dtype))
    if np.isnan(numbers).any():
        missing = _node(scope, container, "IsNaN", column)
        is_missing = _constant(scope, container, np.isnan(numbers).reshape(1, -1), TensorProto.BOOL)
        equal = _node(scope, container, "Or", equal, _node(scope, container, "And", missing, is_missing))
    hits = _node(scope, container, "Cast", equal, to=TensorProto.FLOAT)
    other = _node(scope, container, "ReduceMax", hits, axes=[1], keepdims=1)
    one = _constant(scope, container, np.ones((1, 1)), TensorProto.FLOAT)
    hits = _node(scope, container, "Concat", hits, _node(scope, container, "Sub", one, other), axis=1)
    container.add_node("ArgMax", [hits], [out], axis=1, keepdims=1, op_version=13)
    return out


def is_null(value: Any) -> bool:
    """Whether a category stands for nulls."""
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124  NaN


def encoder_shape(operator: Any) -> None:
    """Declare the shape of an encoder's output to skl2onnx."""
    width = sum(table.shape[1] for table in _tables(operator.raw_operator))
    operator.outputs[0].type = _numbers(operator)([None, width])


def convert_encoder(scope: Any, operator: Any, container: Any) -> None:
    """One-hot, ordinal and target encoders: the row of the table for each category, joined over the columns."""
    dtype = _element(operator)
    blocks = []
    columns = _columns(scope, operator, container)
    encoder = operator.raw_operator
    for (column, is_text), values, table in zip(columns, encoder.categories_, _tables(encoder), strict=True):
        index = code(scope, container, column, list(values), is_text=is_text, dtype=dtype)
        rows = _node(scope, container, "Gather", _constant(scope, container, table, dtype), index, axis=0)
        shape = _constant(scope, container, np.array([-1, table.shape[1]]), TensorProto.INT64)
        blocks.append(_node(scope, container, "Reshape", rows, shape))
    _join(operator, container, blocks)


def imputer_shape(operator: Any) -> None:
    """Declare the shape of an imputer's output to skl2onnx."""
    imputer = operator.raw_operator
    width = len(_kept(imputer)) + (len(imputer.indicator_.features_) if imputer.add_indicator else 0)
    kind = StringTensorType if isinstance(operator.inputs[0].type, StringTensorType) else _numbers(operator)
    operator.outputs[0].type = kind([None, width])


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Replace nulls by the imputer's statistic, and append its indicator of missing values."""
    imputer, dtype = operator.raw_operator, _element(operator)
    columns = _columns(scope, operator, container)
    missing = []
    for column, is_text in columns:
        if is_text:
            missing.append(_is_text(scope, container, column, imputer.missing_values))
        elif is_null(imputer.missing_values):
            missing.append(_node(scope, container, "IsNaN", column))
        else:
            marker = _constant(scope, container, np.array(imputer.missing_values), dtype)
            missing.append(_node(scope, container, "Equal", column, marker))
    blocks = []
    for at in _kept(imputer):
        column, is_text = columns[at]
        kind = TensorProto.STRING if is_text else dtype
        # An imputer with `keep_empty_features` fills a column without values with 0.
        value = imputer.statistics_[at]
        statistic = _constant(scope, container, np.array(value, dtype=object if is_text else np.float64), kind)
        blocks.append(_node(scope, container, "Where", missing[at], statistic, column))
    if imputer.add_indicator:
        blocks += [_node(scope, container, "Cast", missing[at], to=dtype) for at in imputer.indicator_.features_]
    _join(operator, container, blocks)


CONVERTERS = dict.fromkeys((OneHotEncoder, OrdinalEncoder, TargetEncoder), convert_encoder) | {
    SimpleImputer: convert_imputer
}
SHAPES = dict.fromkeys((OneHotEncoder, OrdinalEncoder, TargetEncoder), encoder_shape) | {SimpleImputer: imputer_shape}


def _tables(encoder: Any) -> list[NDArray[np.float64]]:
    """For each column the encoding of every category, and in the last row that of any other value."""
    dense = copy.copy(encoder)
    if hasattr(dense, "sparse_output"):
        dense.sparse_output = False
    dense._sklearn_output_config = {"transform": "default"}  # noqa: SLF001  as `set_output` does, without a check
    first = [values[0] for values in encoder.categories_]
    tables, start = [], 0
    for at, values in enumerate(encoder.categories_):
        known = _transform(dense, first, at, list(values))
        unseen = _UNSEEN if any(isinstance(value, str) for value in values) else _UNSEEN_NUMBER
        try:
            other = _transform(dense, first, at, [unseen])
        except ValueError:  # it refuses unseen values, and so does the signature: no row meets this
            other = np.zeros((1, known.shape[1]))
        whole = np.concatenate([known, other])
        width = _width(encoder, at)
        tables.append(whole[:, start : start + width])
        start += width
    return tables


def _transform(encoder: Any, first: list[Any], at: int, values: list[Any]) -> NDArray[np.float64]:
    rows = np.empty((len(values), len(first)), dtype=object)
    for column, value in enumerate(first):
        rows[:, column] = value
    rows[:, at] = values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(encoder.transform(rows), dtype=np.float64)


def _width(encoder: Any, at: int) -> int:
    if isinstance(encoder, OneHotEncoder):
        return int(encoder._n_features_outs[at])  # noqa: SLF001
    if isinstance(encoder, TargetEncoder) and encoder.target_type_ == "multiclass":
        return len(encoder.classes_)
    return 1


def _kept(imputer: Any) -> list[int]:
    empty = [is_null(value) for value in imputer.statistics_]
    return [at for at, is_empty in enumerate(empty) if imputer.keep_empty_features or not is_empty]


def _columns(scope: Any, operator: Any, container: Any) -> list[tuple[str, bool]]:
    """Each column as a value of shape (rows, 1), and whether it holds strings."""
    columns = []
    dtype = _element(operator)
    for variable in operator.inputs:
        is_text = isinstance(variable.type, StringTensorType)
        name = variable.full_name
        if not is_text and not isinstance(variable.type, _numbers(operator)):
            name = _node(scope, container, "Cast", name, to=dtype)
        width = variable.type.shape[1] if len(variable.type.shape) > 1 else 1
        if width == 1:
            columns.append((name, is_text))
            continue
        for at in range(width):
            place = _constant(scope, container, np.array([at]), TensorProto.INT64)
            columns.append((_node(scope, container, "Gather", name, place, axis=1), is_text))
    return columns


def _numbers(operator: Any) -> Any:
    """The tensor type of encoded values: float32 where every input is, else float64, also for strings."""
    is_single = all(isinstance(each.type, FloatTensorType) for each in operator.inputs)
    return FloatTensorType if is_single else DoubleTensorType


def _element(operator: Any) -> int:
    return int(TensorProto.DOUBLE if _numbers(operator) is DoubleTensorType else TensorProto.FLOAT)


def _is_text(scope: Any, container: Any, column: str, value: Any) -> str:
    found = scope.get_unique_variable_name("missing")
    keys = [NULL if is_null(value) else str(value)]
    attributes = {"keys_strings": keys, "values_int64s": [1], "default_int64": 0}
    container.add_node("LabelEncoder", [column], [found], op_domain="ai.onnx.ml", op_version=2, **attributes)
    return _node(scope, container, "Cast", found, to=TensorProto.BOOL)


def _constant(scope: Any, container: Any, value: NDArray[Any], kind: int) -> str:
    name = scope.get_unique_variable_name("table")
    if kind == TensorProto.STRING:
        container.add_initializer(name, kind, list(value.shape), [str(each).encode() for each in value.ravel()])
        return str(name)
    numbers: dict[int, Any] = {
        TensorProto.DOUBLE: np.float64,
        TensorProto.FLOAT: np.float32,
        TensorProto.BOOL: np.bool_,
    }
    tensor = numpy_helper.from_array(np.ascontiguousarray(value, dtype=numbers.get(kind, np.int64)), name)
    container.add_initializer(name, kind, list(value.shape), tensor)
    return str(name)


def _node(scope: Any, container: Any, op_type: str, *inputs: str, **attributes: Any) -> str:
    out = scope.get_unique_variable_name(op_type.lower())
    container.add_node(op_type, list(inputs), [out], op_version=13, **attributes)
    return str(out)


def _join(operator: Any, container: Any, blocks: list[str]) -> None:
    container.add_node("Concat", blocks, [operator.outputs[0].full_name], axis=1, op_version=13)
