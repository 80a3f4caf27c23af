"""The inputs and outputs of an imported graph: inferred from the graph and from what it does with rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from sabia.contract.signature import ROLES, SCALAR, DType, Input, Output, Role, Values
from sabia.contract.tensors import INPUT, OUTPUT
from sabia.publishing.frames import Column, Frame
from sabia.publishing.importing import checks, surgery
from sabia.publishing.importing.checks import Value
from sabia.publishing.importing.errors import RowsRefused, UnsupportedModel
from sabia.publishing.importing.tables import Rows

Array = NDArray[Any]
Arrays = dict[str, Array]

LABEL = "label"
# More distinct strings than this are text, not categories.
MOST_CATEGORIES = 1000
_NUMPY: dict[int, tuple[DType, Any]] = {
    TensorProto.FLOAT: ("float32", np.float32),
    TensorProto.DOUBLE: ("float64", np.float64),
    TensorProto.INT64: ("int64", np.int64),
    TensorProto.BOOL: ("bool", np.bool_),
    TensorProto.STRING: ("string", object),
}
_FLOATS = ("float64", "float32")
# Rounding of float32 in a sum of probabilities.
_NEAR_ONE = 1e-3


@dataclass(frozen=True, slots=True)
class Choices:
    """What the person who imports says about outputs, beside the graph.

    Attributes:
        primary: the name of the primary output.
        roles: by the name of an output.
        classes: of the outputs that have classes, in the model's order.
        target: what the model predicts; the name of the primary output without it.
    """

    primary: str | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    classes: Values = field(default_factory=list)
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Ends:
    """The inputs of the signature with the arrays that the graph is fed, and the classes that ZipMaps named."""

    inputs: list[Input]
    feed: Arrays
    classes: dict[str, list[str | int]]


def prepare_inputs(proto: ModelProto, rows: Rows) -> Ends:
    """Give the graph inputs that requests can have, and read their values from rows.

    Inputs of one float type that have one value a row become one matrix `features`, as a server reads them; a graph
    with one such matrix may have rows whose columns are its features.

    Raises:
        UnsupportedModel: an input is of a type that no request has.
        RowsRefused: the rows have no column of an input's name, or values that do not fit it.
    """
    classes = surgery.remove_zipmaps(proto)
    narrow = {value.name: value.kind for value in checks.inputs(proto)}
    surgery.widen_inputs(proto)
    values = checks.inputs(proto)
    for value in values:
        if value.kind not in _NUMPY:
            raise UnsupportedModel(f"has the input {value.name!r} of {_kind(value.kind)}, which no request has")
    names = _feature_names(values, rows)
    if names is not None:
        return Ends(*_matrix(proto, values[0], names, rows), classes)
    inputs = [_input(value, narrow[value.name], rows) for value in values]
    described = [each for each, _ in inputs]
    floats = {value.kind for value in values} in ({TensorProto.FLOAT}, {TensorProto.DOUBLE})
    if floats and all(each.is_scalar for each in described):
        surgery.join_columns(proto, [value.name for value in values], values[0].kind)
        return Ends(described, {INPUT: np.column_stack([array.reshape(-1) for _, array in inputs])}, classes)
    return Ends(described, {each.name: array for each, array in inputs}, classes)


def finish_outputs(proto: ModelProto, answers: Arrays, ends: Ends, choices: Choices) -> tuple[list[Output], str]:
    """Give the graph outputs that responses can have; their descriptions, and the name of the primary one.

    Args:
        proto: the graph, changed in place.
        answers: what it answers for the rows, by output.
        ends: its inputs.
        choices: override what is inferred.

    Raises:
        UnsupportedModel: an output is not one answer for each row, or its classes are unknown.
    """
    names = {each.name for each in checks.outputs(proto)}
    for name in [*choices.roles, *([choices.primary] if choices.primary else [])]:
        if name not in names:
            raise UnsupportedModel(f"has no output {name!r}; it has {', '.join(map(repr, sorted(names)))}")
    outputs = []
    for value in checks.outputs(proto):
        answer = answers[value.name]
        kind = surgery.wider(value.kind)
        if kind not in _NUMPY:
            raise UnsupportedModel(f"has the output {value.name!r} of {_kind(value.kind)}, which no response has")
        flat = answer.reshape(len(answer)) if answer.ndim == 2 and answer.shape[1] == 1 else answer
        outputs.append(_output(proto, value, _NUMPY[kind][0], flat, ends, choices))
    primary = choices.primary or _primary(outputs)
    outputs, primary = _with_label(proto, outputs, primary, choices)
    scalar = (
        list(ends.feed) == [INPUT]
        and len(outputs) == 1
        and outputs[0].role in ("probability", "value")
        and outputs[0].dtype in _FLOATS
    )
    final = []
    for each in outputs:
        name = OUTPUT if scalar else each.name
        if each.name in answers:
            flatten = each.shape == SCALAR and answers[each.name].ndim > 1
            surgery.finish_output(proto, each.name, new=name, flatten=flatten)
        final.append(replace(each, name=name))
    return final, OUTPUT if scalar else primary


def columns_of(ends: Ends) -> Frame:
    """The inputs that have one value a row, as a table of what the graph is fed."""
    matrix = ends.feed.get(INPUT) if [*ends.feed] == [INPUT] and ends.inputs[0].name != INPUT else None
    columns = []
    for at, each in enumerate(ends.inputs):
        if each.is_scalar:
            values = ends.feed[each.name].reshape(-1) if matrix is None else matrix[:, at]
            null = np.isnan(values) if each.is_float else np.zeros(len(values), dtype=np.bool_)
            if each.nullable and not each.is_float:
                null = np.array([value == each.fill for value in values.tolist()])
            columns.append(Column(each.name, each.dtype, values, null))
    return Frame(columns, None)


def _feature_names(values: list[Value], rows: Rows) -> list[str] | None:
    """The columns of rows that are the features of a graph with one matrix; None when it has named inputs."""
    value = values[0]
    if len(values) > 1 or value.name in rows.columns or value.shape is None or len(value.shape) != 2:
        return None
    width = value.shape[1]
    if value.kind not in (TensorProto.FLOAT, TensorProto.DOUBLE) or width == 1:
        return None
    if width is not None and len(rows.columns) != width:
        raise RowsRefused(
            rows.name,
            f"has {len(rows.columns)} columns; input {value.name!r} takes {width}: give a column for each, or one "
            f"column {value.name!r} of lists",
        )
    return list(rows.columns)


def _matrix(proto: ModelProto, value: Value, names: list[str], rows: Rows) -> tuple[list[Input], Arrays]:
    dtype, kind = _NUMPY[value.kind]
    columns = []
    for name in names:
        column = rows.columns[name]
        if column.ndim > 1 or name in rows.times:
            raise RowsRefused(rows.name, f"has the column {name!r}, which is not one number for each row")
        columns.append(_floats(rows, name, column, kind))
    surgery.rename_input(proto, value.name, INPUT)
    inputs = [_described(name, dtype, column) for name, column in zip(names, columns, strict=True)]
    return inputs, {INPUT: np.column_stack(columns)}


def _input(value: Value, narrow: int, rows: Rows) -> tuple[Input, Array]:
    if value.name not in rows.columns:
        raise RowsRefused(rows.name, f"has no column {value.name!r}, which the model takes; it has {rows.listed}")
    assert value.shape is not None, "checks.check() has looked"
    column, (dtype, kind) = rows.columns[value.name], _NUMPY[value.kind]
    if value.name in rows.times and dtype == "int64":
        dtype = "timestamp"
    if dtype in _FLOATS:
        array = _floats(rows, value.name, column, kind)
    elif dtype == "string":
        dtype = "bytes" if _is_bytes(column) else dtype
        array = _strings(rows, value.name, column)
    else:
        array = _exact(rows, value.name, column, kind, dtype)
        if dtype != "bool":
            _check_range(rows, value.name, column, narrow)
    fixed = value.shape[1:]
    if not fixed or (fixed == [1] and array.ndim == 1):
        _check_shape(rows, value, array, 1)
        described = _described(value.name, dtype, array, nullable=_has_null(column))
        return described, array.reshape(len(array), *fixed)
    array = _shaped(rows, value, array, fixed)
    return Input(name=value.name, dtype=dtype, shape=[None, *fixed]), array


def _shaped(rows: Rows, value: Value, array: Array, fixed: Sequence[int | None]) -> Array:
    """The array in the input's shape; flat rows of the right length are reshaped."""
    if array.ndim == 2 and len(fixed) > 1 and None not in fixed:
        if array.shape[1] != int(np.prod(cast("list[int]", list(fixed)))):
            raise _misshapen(rows, value, array)
        return array.reshape(len(array), *cast("list[int]", list(fixed)))
    _check_shape(rows, value, array, len(fixed) + 1)
    if any(size not in (None, actual) for size, actual in zip(fixed, array.shape[1:], strict=True)):
        raise _misshapen(rows, value, array)
    return array


def _check_shape(rows: Rows, value: Value, array: Array, rank: int) -> None:
    if array.ndim != rank:
        raise _misshapen(rows, value, array)


def _misshapen(rows: Rows, value: Value, array: Array) -> RowsRefused:
    return RowsRefused(
        rows.name,
        f"has rows of shape {list(array.shape[1:])} in {value.name!r}; the model takes {(value.shape or [None])[1:]}",
    )


def _floats(rows: Rows, name: str, column: Array, kind: Any) -> Array:
    if column.dtype == object and column.ndim == 1:
        column = np.array([np.nan if each is None else each for each in column], dtype=object)
    try:
        if column.dtype.kind == "O" and any(isinstance(each, str | bytes) for each in column.ravel()):
            raise ValueError  # noqa: TRY301  "1" is a string also where it could be read as a number
        return np.asarray(column, dtype=np.float64).astype(kind)
    except (ValueError, TypeError) as error:
        raise RowsRefused(rows.name, f"has a value in column {name!r} that is not a number") from error


def _is_bytes(column: Array) -> bool:
    present = [each for each in column.astype(object).ravel() if each is not None]
    return bool(present) and all(isinstance(each, bytes) for each in present)


def _strings(rows: Rows, name: str, column: Array) -> Array:
    """The values as a graph's strings; bytes as their text."""
    flat = ["" if each is None else each for each in column.astype(object).ravel()]
    if _is_bytes(column):
        flat = [_text(rows, name, at * len(column) // len(flat), each) for at, each in enumerate(flat)]
    if not all(isinstance(each, str) for each in flat):
        raise RowsRefused(rows.name, f"has a value in column {name!r} that is not a string")
    return np.array(flat, dtype=object).reshape(column.shape)


def _text(rows: Rows, name: str, row: int, value: str | bytes) -> str:
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise RowsRefused(
            rows.name, f"has bytes in row {row} of {name!r} that are not UTF-8; ONNX Runtime takes no others here"
        ) from error


def _exact(rows: Rows, name: str, column: Array, kind: Any, dtype: DType) -> Array:
    if column.dtype == object or column.dtype.kind == "f":
        at = next((at for at, each in enumerate(column) if np.any([each is None or each != each])), None)  # noqa: PLR0124
        if at is not None:
            raise RowsRefused(rows.name, f"has a null in row {at} of {name!r}; the model takes {dtype}, which has none")
    if column.dtype.kind == "f" and dtype != "bool":
        for at in np.flatnonzero((column != np.trunc(column)).reshape(len(column), -1).any(axis=1))[:1]:
            shown = column[at].item() if column.ndim == 1 else "fractions"
            raise RowsRefused(rows.name, f"has {shown} in row {at} of {name!r}; the model takes {dtype}")
    if column.dtype.kind not in ("b" if dtype == "bool" else "iub"):
        raise RowsRefused(rows.name, f"has a value in column {name!r} that is not {dtype}")
    return column.astype(kind)


def _check_range(rows: Rows, name: str, column: Array, kind: int) -> None:
    """Check that the graph's own type, before it was widened, holds the values: it wraps others."""
    held = np.iinfo(helper.tensor_dtype_to_np_dtype(kind))
    # As Python's integers: NumPy compares uint64 with int64 as floats.
    least, most = held.min, min(held.max, np.iinfo(np.int64).max)
    given = column.astype(np.uint8) if column.dtype.kind == "b" else column
    if not given.size or (least <= int(given.min()) and int(given.max()) <= most):
        return
    at, found = next((at, each) for at, each in enumerate(given.ravel().tolist()) if not least <= each <= most)
    row = at * len(column) // given.size
    raise RowsRefused(
        rows.name, f"has {found} in row {row} of {name!r}; the model takes {held.dtype}, from {least} to {most}"
    )


def _has_null(column: Array) -> bool:
    return column.dtype == object and column.ndim == 1 and any(each is None for each in column)


def _described(name: str, dtype: DType, array: Array, *, nullable: bool = False) -> Input:
    """A scalar input with the range, the categories and the nulls of the rows."""
    if dtype == "string":
        categories = sorted({each for each in array if each} if nullable else set(array))
        few = len(categories) <= min(MOST_CATEGORIES, max(20, len(array) // 2))
        fill = "" if nullable else None
        return Input(name=name, dtype=dtype, categories=categories if few else None, nullable=nullable, fill=fill)
    if dtype == "bytes":
        return Input(name=name, dtype=dtype, nullable=nullable, fill="" if nullable else None)
    if dtype == "bool":
        return Input(name=name, dtype=dtype)
    known = array[~np.isnan(array)] if dtype in _FLOATS else array
    finite = known[np.isfinite(known)]
    ends = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
    has_nan = dtype in _FLOATS and len(known) < len(array)
    return Input(name=name, dtype=dtype, minimum=ends[0], maximum=ends[1], nullable=has_nan)


def _output(proto: ModelProto, value: Value, dtype: DType, answer: Array, ends: Ends, choices: Choices) -> Output:
    shape: list[int | None] = [None]
    if answer.ndim > 1:
        declared = value.shape or [None] * answer.ndim
        shape = [
            None,
            *(
                size or (actual if at == 1 else None)
                for at, (size, actual) in enumerate(zip(declared[1:], answer.shape[1:], strict=False), 1)
            ),
        ]
    role = choices.roles.get(value.name) or _role(proto, value.name, dtype, answer)
    classes: Values | None = None
    if role in ("label", "class-probabilities"):
        classes = _classes(proto, value.name, role, answer, ends, choices)
    elif role == "probability":
        classes = choices.classes or [0, 1]
        if len(classes) != 2:
            raise UnsupportedModel(f"has the probability {value.name!r}, which is of two classes; {classes} are given")
        return Output(name=value.name, dtype=dtype, shape=shape, role=role, classes=classes, range=(0.0, 1.0))
    return Output(name=value.name, dtype=dtype, shape=shape, role=role, classes=classes)


def _role(proto: ModelProto, name: str, dtype: DType, answer: Array) -> Role:
    made = surgery.producer(proto, name)
    operator = made.op_type if made is not None else ""
    if dtype in ("string", "bytes", "bool", "timestamp"):
        return "label" if dtype == "string" and answer.ndim == 1 else "opaque"
    if answer.ndim == 1:
        if operator == "Sigmoid":
            return "probability"
        return "label" if dtype == "int64" and operator in _CHOOSING else "value"
    if answer.ndim == 2 and answer.shape[1] > 1 and dtype in _FLOATS and operator in _NORMALISING:
        within = (answer >= 0).all() and (np.abs(answer.sum(axis=1) - 1) <= _NEAR_ONE).all()
        return "class-probabilities" if within else "vector"
    return "vector" if dtype in (*_FLOATS, "int64") else "opaque"


_CHOOSING = frozenset(
    {"ArgMax", "TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier", "ArrayFeatureExtractor", "LabelEncoder"}
)
_NORMALISING = frozenset(
    {"Softmax", "Normalizer", "TreeEnsembleClassifier", "LinearClassifier", "SVMClassifier", "Div", "Concat", "Exp"}
)


def _classes(proto: ModelProto, name: str, role: Role, answer: Array, ends: Ends, choices: Choices) -> Values:
    strings = role == "label" and answer.dtype == object
    width = answer.shape[1] if role == "class-probabilities" else None
    found = choices.classes or ends.classes.get(name) or _named_in(proto, width)
    if not found and width is not None:
        return list(range(width))
    if not found:
        found = sorted(set(answer.tolist()))
    if strings and not all(isinstance(each, str) for each in found):
        found = [str(each) for each in found]
    if width is not None and len(found) != width:
        raise UnsupportedModel(f"has {width} probabilities as {name!r}; {len(found)} classes are given")
    return found


def _named_in(proto: ModelProto, width: int | None) -> list[str | int]:
    """The classes that a classifier of `ai.onnx.ml` in the graph names, if it names that many."""
    for node in reversed(proto.graph.node):
        classes = surgery.classes_of(node)
        if len(classes) > 1 and width in (None, len(classes)):
            return classes
    return []


def _primary(outputs: list[Output]) -> str:
    order: list[Role] = ["label", "probability", "value", "class-probabilities", "vector", "opaque"]
    return min(outputs, key=lambda each: order.index(each.role)).name


def _with_label(proto: ModelProto, outputs: list[Output], primary: str, choices: Choices) -> tuple[list[Output], str]:
    """Add the label to class probabilities that come without one: predictions are then counted by class."""
    by_name = {each.name: each for each in outputs}
    probabilities = by_name[primary]
    if choices.primary or probabilities.role != "class-probabilities" or LABEL in by_name:
        return outputs, primary
    classes = probabilities.classes or []
    surgery.add_label(proto, primary, LABEL, classes)
    dtype: DType = "string" if isinstance(classes[0], str) else "int64"
    return [Output(name=LABEL, dtype=dtype, role="label", classes=classes), *outputs], LABEL


def _kind(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else "an unknown type"


def check_role(text: str) -> Role:
    """A role by its name.

    Raises:
        UnsupportedModel: there is no such role.
    """
    if text not in ROLES:
        raise UnsupportedModel(f"cannot have the role {text!r}; the roles are {', '.join(ROLES)}")
    return text
