"""V1 for any signature: instances become a batch, and outputs become predictions.

An instance is an object of values by input name, or a list of values in the order of the inputs. If the signature has
one input, it may be that input's value itself: a string, a number, the nested lists of a tensor. A nullable input may
be null or absent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sabia.contract.signature import Input, Output, Signature
from sabia.serving.errors import InvalidInput, quote
from sabia.serving.inference.batch import NUMPY, Batch, Column, Mask
from sabia.serving.inference.session import Outputs
from sabia.serving.protocols.instances import instances_of
from sabia.serving.protocols.values import KINDS, fill_of, nested, read_cells, write_cells

_ABSENT = object()


def read(document: object, signature: Signature) -> Batch:
    """A batch from a decoded V1 body.

    Raises:
        InvalidInput: names the first field that is wrong.
    """
    field, instances = instances_of(document)
    cells = _cells(field, instances, signature.inputs)
    columns: dict[str, Column] = {}
    nulls: dict[str, Mask] = {}
    for each in signature.inputs:
        columns[each.name], mask = _column(field, each, cells[each.name])
        if mask is not None:
            nulls[each.name] = mask
    return Batch(len(instances), columns, nulls)


def _cells(field: str, instances: list[Any], inputs: list[Input]) -> dict[str, list[Any]]:
    """The cells of each input."""
    single = inputs[0] if len(inputs) == 1 else None
    rows = [
        _single(f"{field}[{at}]", instance, single) if single else _row(f"{field}[{at}]", instance, inputs)
        for at, instance in enumerate(instances)
    ]
    return {each.name: list(cells) for each, cells in zip(inputs, zip(*rows, strict=True), strict=True)}


def _single(field: str, instance: object, each: Input) -> list[Any]:
    """The cell of the only input: in an object under its name, or the instance itself."""
    if isinstance(instance, dict) and not (each.dtype == "bytes" and instance.keys() == {"b64"} != {each.name}):
        return _row(field, instance, [each])
    if each.is_scalar and isinstance(instance, list):
        return _row(field, instance, [each])
    return [instance]


def _row(field: str, row: object, inputs: list[Input]) -> list[Any]:
    if isinstance(row, dict):
        cells = [row.get(each.name, _ABSENT) for each in inputs]
        if len(row) != len(inputs) or _ABSENT in cells:
            _check_names(field, row, inputs)
            cells = [None if cell is _ABSENT else cell for cell in cells]
        return cells
    if not isinstance(row, list):
        raise InvalidInput(field, f"is {KINDS[type(row)]}; an object or a list of {len(inputs)} values is needed")
    if len(row) != len(inputs):
        raise InvalidInput(field, f"has {len(row)} values; {len(inputs)} are needed")
    return row


def _check_names(field: str, row: dict[str, Any], inputs: list[Input]) -> None:
    names = {each.name for each in inputs}
    for name in row:
        if name not in names:
            raise InvalidInput(field, f"has an unknown input {quote(name)}")
    for each in inputs:
        if each.name not in row and not each.nullable:
            raise InvalidInput(field, f'lacks input "{each.name}"')


def _column(field: str, each: Input, cells: list[Any]) -> tuple[Column, Mask | None]:
    if each.is_scalar:
        return read_cells(each, cells, lambda at: f'{field}[{at}]["{each.name}"]')
    return _tensor(field, each, cells)


def _tensor(field: str, each: Input, values: list[Any]) -> tuple[Column, Mask | None]:
    """Tensors of the rows, all of the same lengths; a row that is null is null in every element."""
    flat: list[Any] = []
    parts: list[list[Any] | None] = []
    lengths: tuple[int, ...] | None = None
    for at, value in enumerate(values):
        name = f'{field}[{at}]["{each.name}"]'
        if value is None and each.nullable:
            parts.append(None)
            continue
        part, found = nested(name, value, each)
        if lengths not in (None, found):
            raise InvalidInput(name, f"has the shape {list(found)}, a row before it {list(lengths or ())}")
        lengths = found
        parts.append(part)
    if lengths is None:
        lengths = tuple(length or 1 for length in each.shape[1:])
    size = int(np.prod(lengths))
    for cells in parts:
        flat += [None] * size if cells is None else cells
    column, mask = read_cells(each, flat, lambda at: f'{field}[{at // size}]["{each.name}"]')
    shape = (len(values), *lengths)
    return column.reshape(shape), None if mask is None else mask.reshape(shape)


def absent(each: Input, rows: int) -> tuple[Column, Mask | None]:
    """The column of a nullable input that a request leaves out."""
    shape = (rows, *(length or 1 for length in each.shape[1:]))
    column = np.full(shape, fill_of(each), dtype=NUMPY[each.dtype])
    return column, None if each.is_float else np.ones(shape, dtype=np.bool_)


def writer(signature: Signature) -> Callable[[Outputs], list[Any]]:
    """What makes the list of predictions of a version's outputs, by the role of its primary output."""
    primary = signature.primary_output
    probabilities = _probabilities(signature)
    if primary.role == "value":
        values = [each for each in signature.outputs if each.role == "value"]
        if len(values) > 1:
            return lambda outputs: _objects({each.name: write_cells(each, outputs[each.name]) for each in values})
    if primary.role == "label" and probabilities is not None:
        return lambda outputs: _objects(
            {
                "label": write_cells(primary, outputs[primary.name]),
                "probabilities": _by_class(probabilities.classes or [], outputs[probabilities.name]),
            }
        )
    if primary.role == "class-probabilities":
        return lambda outputs: _objects({"probabilities": _by_class(primary.classes or [], outputs[primary.name])})
    return lambda outputs: write_cells(primary, outputs[primary.name])


def _objects(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _by_class(classes: Sequence[str | int], probabilities: Column) -> list[dict[str, float]]:
    names = [str(each) for each in classes]
    return [dict(zip(names, row, strict=True)) for row in probabilities.tolist()]


def read_predictions(predictions: list[Any], signature: Signature) -> Outputs:
    """The outputs in a list of predictions, as `writer` makes it; of a label, with or without its probabilities.

    Raises:
        InvalidInput, KeyError, TypeError: they are not of the signature's roles.
    """
    primary, probabilities = signature.primary_output, _probabilities(signature)
    values = [each for each in signature.outputs if each.role == "value"]
    cells: dict[str, list[Any]] = {primary.name: predictions}
    if primary.role == "value" and len(values) > 1:
        cells = {each.name: [row[each.name] for row in predictions] for each in values}
    elif all(isinstance(row, dict) and "probabilities" in row for row in predictions):
        cells = {primary.name: [row["label"] for row in predictions]} if primary.role == "label" else {}
        if probabilities is not None:
            names = [str(each) for each in probabilities.classes or []]
            cells[probabilities.name] = [[row["probabilities"][name] for name in names] for row in predictions]
    outputs = {each.name: as_input(each) for each in signature.outputs}
    return {name: _column("predictions", outputs[name], column)[0] for name, column in cells.items()}


def as_input(output: Output) -> Input:
    """An input of the same values."""
    shape = list(output.shape)
    if output.role == "class-probabilities" and output.classes and len(shape) == 2:
        shape[1] = len(output.classes)
    return Input(name=output.name, dtype=output.dtype, shape=shape)


def _probabilities(signature: Signature) -> Output | None:
    """The probabilities of the primary output's classes."""
    classes = signature.primary_output.classes
    return next(
        (each for each in signature.outputs if each.role == "class-probabilities" and each.classes == classes), None
    )
