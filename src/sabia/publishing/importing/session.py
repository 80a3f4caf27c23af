"""What ONNX Runtime makes of an imported graph, and how far that is from the answers expected of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from sabia import runtime
from sabia.publishing.importing.errors import AnswersDiffer, RowsRefused, UnsupportedModel
from sabia.publishing.importing.tables import Rows

Array = NDArray[Any]
Arrays = dict[str, Array]

# float32 arithmetic in another order; measured up to 1e-5 between PyTorch and ONNX Runtime.
TOLERANCE = 1e-4
_ROWS_AT_ONCE = 256
_OPSET = re.compile(r"support for domain (\S+) is till opset (\d+)")
_IR = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_UNKNOWN = re.compile(r"(?:No Op registered for|Could not find an implementation for) (\w+)")
_PATH = re.compile(r"(?:/[^\s/:]+)+")


def open_session(model: Path, *, prepack: bool) -> onnxruntime.InferenceSession:
    """A session over a model file and the weights beside it; `prepack` as in the manifest's runtime.

    Raises:
        UnsupportedModel: ONNX Runtime cannot load it; the reason is in one sentence.
    """
    try:
        return runtime.open_session(model, prepack=prepack)
    except Exception as error:  # its classes have no common base of their own
        raise UnsupportedModel(_reason(str(error))) from error


def _reason(text: str) -> str:
    if opset := _OPSET.search(text):
        return (
            f"needs a newer opset of {opset[1]} than {opset[2]}, the newest of ONNX Runtime here; export it with that"
        )
    if ir := _IR.search(text):
        return f"has the ONNX IR version {ir[1]}; {ir[2]} is the newest of ONNX Runtime here"
    if operator := _UNKNOWN.search(text):
        return f"uses the operator {operator[1]}, or a form of it, which ONNX Runtime does not have"
    line = _PATH.sub("", text).replace("\n", " ").strip().rstrip(".")
    return f"cannot be loaded by ONNX Runtime: {line[:300]}"


def answers(session: onnxruntime.InferenceSession, feed: Arrays) -> Arrays:
    """The answers for rows, some hundred at once, by output.

    Raises:
        UnsupportedModel: the model fails on them, or not every output answers every row.
    """
    rows = len(next(iter(feed.values())))
    parts = []
    for at in range(0, rows, _ROWS_AT_ONCE):
        parts.append(_run(session, {name: array[at : at + _ROWS_AT_ONCE] for name, array in feed.items()}))
        asked = min(_ROWS_AT_ONCE, rows - at)
        for name, answer in parts[-1].items():
            if not answer.ndim or len(answer) != asked:
                count = len(answer) if answer.ndim else "one value"
                raise UnsupportedModel(f"gives {count} for {asked} rows as output {name!r}; it must answer every row")
    try:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    except ValueError as error:
        raise UnsupportedModel("gives outputs of other shapes for other rows") from error


def _run(session: onnxruntime.InferenceSession, feed: Arrays) -> Arrays:
    names = [each.name for each in session.get_outputs()]
    try:
        return {name: np.asarray(value) for name, value in zip(names, session.run(names, feed), strict=True)}
    except Exception as error:  # as in open_session()
        line = _PATH.sub("", str(error)).replace("\n", " ").strip().rstrip(".")
        raise UnsupportedModel(f"fails on the rows: {line[:300]}") from error


def check_rows_alone(session: onnxruntime.InferenceSession, feed: Arrays, together: Arrays, tolerance: float) -> None:
    """Check that a row gets the same answer alone as among others: a server puts rows together.

    Raises:
        UnsupportedModel: it gets another one.
    """
    rows = len(next(iter(feed.values())))
    for row in sorted({0, rows // 2, rows - 1}):
        alone = _run(session, {name: array[row : row + 1] for name, array in feed.items()})
        for name, answer in alone.items():
            if (
                answer.shape != (1, *together[name].shape[1:])
                or _distances(answer, together[name][row : row + 1], tolerance)[0] > 1
            ):
                raise UnsupportedModel(f"answers row {row} otherwise alone than among others, as output {name!r}")


def compare(expected: Rows, actual: Arrays, aliases: dict[str, str], tolerance: float) -> float:
    """The largest distance between the model's answers and those expected, in columns called as outputs.

    Numbers may differ by `tolerance`, or by that share of the number expected where it is larger than 1.

    Args:
        expected: some of the outputs.
        actual: the model's answers by output.
        aliases: the name of an output by the name that it had in the model file.
        tolerance: see above.

    Raises:
        RowsRefused: `expected` has another number of rows, other columns, or values of another shape.
        AnswersDiffer: a row differs by more.
    """
    rows = len(next(iter(actual.values())))
    if len(expected) != rows:
        raise RowsRefused(expected.name, f"has {len(expected)} rows; the reference has {rows}")
    largest = 0.0
    for column, values in expected.columns.items():
        name = aliases.get(column, column)
        if name not in actual:
            outputs = ", ".join(map(repr, [*aliases, *(each for each in actual if each not in aliases.values())]))
            raise RowsRefused(expected.name, f"has the column {column!r}; the outputs are {outputs}")
        answer = actual[name]
        given = values.reshape(answer.shape) if values.size == answer.size else values
        if given.shape != answer.shape:
            raise RowsRefused(
                expected.name, f"has {column!r} of shape {list(values.shape)}; the model answers {list(answer.shape)}"
            )
        distances = _distances(answer, given, tolerance)
        if not (distances <= 1).all():
            row = int(np.argmax(distances))
            raise AnswersDiffer(
                column, row, actual=_shown(answer[row]), expected=_shown(given[row]), tolerance=tolerance
            )
        if answer.dtype.kind == "f":
            finite = np.abs(np.asarray(given, np.float64) - answer)
            largest = max(largest, float(np.nan_to_num(finite, nan=0.0, posinf=0.0).max(initial=0.0)))
    return largest


def _distances(answer: Array, given: Array, tolerance: float) -> NDArray[np.float64]:
    """For each row the largest distance, as a multiple of what is allowed; infinite where labels or NaN differ."""
    if answer.dtype.kind != "f":
        same = np.array(answer.astype(object).ravel() == given.astype(object).ravel(), dtype=np.bool_)
        return np.where(same.reshape(len(answer), -1).all(axis=1), 0.0, np.inf)
    try:
        one, other = np.asarray(answer, np.float64), np.asarray(given, np.float64)
    except (TypeError, ValueError):
        return np.full(len(answer), np.inf)
    with np.errstate(invalid="ignore"):
        far = np.abs(one - other) / (tolerance * np.maximum(1.0, np.abs(other)))
    far = np.where((one == other) | (np.isnan(one) & np.isnan(other)), 0.0, np.where(np.isnan(far), np.inf, far))
    return np.asarray(far.reshape(len(far), -1).max(axis=1, initial=0.0))


def _shown(value: Any) -> str:
    array = np.asarray(value)
    if array.size > 4:
        array = array.ravel()
        return f"[{', '.join(f'{each:.6g}' if array.dtype.kind == 'f' else str(each) for each in array[:4])}, ...]"
    return f"{array.item():.6g}" if array.ndim == 0 and array.dtype.kind == "f" else str(array.tolist())
