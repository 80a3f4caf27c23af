"""From a model file and rows to the draft of a version."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sabia.contract import reference as references
from sabia.contract import state as states
from sabia.contract.layout import check_model_name
from sabia.contract.manifest import (
    CARD_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    STATE_FILE,
    Dataset,
    Evaluation,
    Runtime,
    Task,
    fingerprint,
)
from sabia.contract.signature import Bins, Output, Signature, check
from sabia.contract.state import State
from sabia.contract.tensors import INPUT
from sabia.publishing import drafting, estimators, frames, graphs, signatures
from sabia.publishing.card import card
from sabia.publishing.draft import utc_now
from sabia.publishing.graph import graph_digest
from sabia.publishing.importing import checks, interface, mlflow, native, session, surgery, tables, weights
from sabia.publishing.importing.errors import RowsRefused, UnreadableModel, UnsupportedModel
from sabia.publishing.importing.interface import Array, Arrays, Choices
from sabia.publishing.importing.mlflow import Directory
from sabia.publishing.importing.tables import Rows
from sabia.publishing.provenance import provenance
from sabia.publishing.reference import reference_of
from sabia.registry.claim import Draft

Log = Callable[[str], None]
_NO_CHOICES = Choices()


@contextmanager
def imported(  # noqa: PLR0913  what is known of a model
    name: str,
    model: Path,
    *,
    reference: Any,
    expected: Any = None,
    choices: Choices = _NO_CHOICES,
    tolerance: float = session.TOLERANCE,
    bins: Bins | None = None,
    run_code: bool = False,
    log: Log = lambda _: None,
) -> Iterator[Draft]:
    """A version without a number from a model file; its large files are in a temporary folder of this context.

    Args:
        name: the model's name in the store.
        model: an ONNX file, with external weights beside it; an MLflow model directory; a file of XGBoost, LightGBM,
            CatBoost or skops; or, with `run_code`, a pickle.
        reference: rows: a Parquet, CSV or .npz file, or a table in memory, with a column or array for each input, or
            for each feature of a single matrix. They are what later data is compared with, so they should be training
            rows.
        expected: the right answers for them, a column or array for each output that is to be compared.
        choices: the target, roles, classes and the primary output, where the graph does not show them. For a file that
            is not ONNX, only the target: the column of `reference` that holds what the model predicts.
        tolerance: the largest distance to an expected number, or share of it where it is larger than 1.
        bins: of the model's other versions; they are kept where the primary output fits them.
        run_code: whether a model that is not data may be loaded, which runs its code.
        log: gets a line for each step.

    Raises:
        ImportRefused: the model or the rows cannot be read, do not fit each other, or give other answers.
        GateRefused: an estimator cannot be converted truly.
        InvalidSignature: inputs or outputs have names that cannot be served.
    """
    check_model_name(name)
    if not model.exists():
        raise UnreadableModel(model.name, "does not exist")
    directory = mlflow.read(model) if mlflow.is_directory(model) else None
    rows, answers = tables.read(reference), None if expected is None else tables.read(expected, "expected answers")
    given = _Import(name, directory, rows, answers, choices, tolerance, bins, log)
    if native.is_native(model) or (directory is not None and directory.onnx is None):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded = directory.load(run_code=run_code) if directory else native.load(model, run_code=run_code)
        for sentence in _of_other_versions(caught):
            log(sentence)
        yield _of_estimator(given, loaded)
        return
    with tempfile.TemporaryDirectory(prefix="sabia-import-") as folder:
        yield _of_graph(given, directory.onnx if directory and directory.onnx else model, Path(folder))


@dataclass(frozen=True, slots=True)
class _Import:
    """What is given beside the model itself; `directory` is the MLflow model that it is of, if any."""

    name: str
    directory: Directory | None
    rows: Rows
    answers: Rows | None
    choices: Choices
    tolerance: float
    bins: Bins | None
    log: Log

    def compare(self, actual: Arrays, aliases: dict[str, str]) -> float | None:
        """The largest distance of the model's answers to those expected; None where none are."""
        if self.answers is None:
            return None
        distance = session.compare(self.answers, actual, aliases, self.tolerance)
        self.log(f"{len(self.rows)} rows give the expected answers, at most {distance:.2g} off")
        return distance


def _of_graph(given: _Import, model: Path, folder: Path) -> Draft:
    """The draft of an ONNX file, whose large files are written into `folder`."""
    graph = weights.read(model)
    checks.check(graph.proto)
    surgery.normalise(graph.proto)
    rows = _columns_for(graph.proto, given)
    ends = interface.prepare_inputs(graph.proto, rows)
    before = [each.name for each in checks.outputs(graph.proto)]
    prepack = weights.may_prepack(graph)
    weights.write(graph, folder)
    probe = session.answers(session.open_session(folder / MODEL_FILE, prepack=prepack), ends.feed)
    given.log(f"{model.name}: {len(ends.inputs)} inputs, {len(before)} outputs")
    outputs, primary = interface.finish_outputs(graph.proto, probe, ends, given.choices)
    files = weights.write(graph, folder)
    opened = session.open_session(folder / MODEL_FILE, prepack=prepack)
    answers = session.answers(opened, ends.feed)
    session.check_rows_alone(opened, ends.feed, answers, given.tolerance)
    del opened
    _check_numbers(outputs, answers)
    aliases = dict(zip(before, [each.name for each in outputs][-len(before) :], strict=True))
    error = given.compare(answers, aliases)
    output = next(each for each in outputs if each.name == primary)
    signature = Signature(
        inputs=ends.inputs, outputs=outputs, primary=primary, bins=signatures.bins_of(output, answers, given.bins)
    )
    check(signature)
    methods = fingerprint(signature, graph=graph_digest(graph.proto))
    evaluation = Evaluation(task=_task(signature), rows=len(rows), values={}, parity_max_error=error)
    dataset = Dataset(uri=rows.uri, sha256=rows.sha256, rows=len(rows))
    target = given.choices.target or aliases.get(primary, primary)
    return Draft(
        name=given.name,
        created_at=utc_now(),
        methods=methods,
        hyper_params={},
        signature=signature,
        target=target,
        metrics=evaluation,
        provenance=provenance(dataset, graph.proto),
        files={
            **files,
            STATE_FILE: states.encode(State({})),
            REFERENCE_FILE: references.encode(reference_of(signature, interface.columns_of(ends), answers)),
            CARD_FILE: card(
                name=given.name,
                methods=methods,
                target=target,
                hyper_params={},
                signature=signature,
                metrics=evaluation,
                dataset=dataset,
                graph=model.name,
            ),
        },
        runtime=Runtime(prepack=prepack),
    )


def _of_estimator(given: _Import, loaded: Any) -> Draft:
    """The draft of an estimator, for which a column of the rows holds what it predicts."""
    choices, rows = given.choices, given.rows
    if choices.primary or choices.roles or choices.classes:
        raise UnsupportedModel("states its own outputs; leave out --primary, --role and --classes")
    chosen = _target(rows, given.directory, choices.target)
    frame = _frame(loaded, rows, chosen, given.directory)
    estimator = estimators.adapted(loaded)
    _check_classes(estimator, rows.columns[chosen], chosen, rows.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of names of columns that the model was trained without
        found = drafting.draft(
            estimator,
            frame.source,
            rows.columns[chosen],
            name=given.name,
            target_name=chosen,
            dataset=Dataset(uri=rows.uri, sha256=rows.sha256, rows=len(rows)),
            bins=given.bins,
            progress=given.log,
        )
    if given.answers is not None:
        feed = signatures.feed(found.signature.inputs, frame, matrix=frame.is_numeric, name=INPUT)
        given.compare(graphs.run(found.files[MODEL_FILE], feed), {chosen: found.signature.primary})
    return found


def _columns_for(proto: Any, given: _Import) -> Rows:
    """The rows without the target, and of an MLflow model with its columns in its order."""
    rows, directory = given.rows, given.directory
    taken = {each.name for each in checks.inputs(proto)}
    if directory is not None and directory.inputs and not taken <= rows.columns.keys():
        return rows.select(_named_columns(directory, rows))
    return rows.select([name for name in rows.columns if name != given.choices.target or name in taken])


def _named_columns(directory: Directory, rows: Rows) -> list[str]:
    names = [each.name for each in directory.inputs]
    missing = next((name for name in names if name not in rows.columns), None)
    if missing is not None:
        problem = f"has no column {missing!r}, which the signature of {directory.name} names; it has {rows.listed}"
        raise RowsRefused(rows.name, problem)
    return names


def _target(rows: Rows, directory: Directory | None, chosen: str | None) -> str:
    """The column of what the model predicts: the one chosen, else the only output that an MLflow signature names."""
    if chosen is None:
        named = [each for each in directory.outputs if each in rows.columns] if directory else []
        if len(named) == 1:
            return named[0]
        raise RowsRefused(rows.name, f"needs --target, the column of what the model predicts, one of {rows.listed}")
    if chosen not in rows.columns:
        raise RowsRefused(rows.name, f"has no column {chosen!r}; it has {rows.listed}")
    if rows.columns[chosen].ndim > 1:
        raise RowsRefused(rows.name, f"has several values a row in {chosen!r}; the target has one")
    return chosen


def _frame(estimator: Any, rows: Rows, target: str, directory: Directory | None) -> frames.Frame:
    """The columns that the model takes, in its order and of the types that an MLflow signature states."""
    table = rows.arrow()
    others = [name for name in table.column_names if name != target]
    if directory is not None and directory.inputs:
        others = _named_columns(directory, rows)
        table = mlflow.cast(table, directory, rows.name)
    return frames.read(table.select(native.columns_of(estimator, others, rows.name)))


def _of_other_versions(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """A sentence for each library that saved the model in another version than the one that loads it."""
    messages: list[Any] = [each.message for each in caught]
    found = {
        f"saved by scikit-learn {each.original_sklearn_version}, loaded by {each.current_sklearn_version}: it may "
        "answer differently from where it was trained"
        for each in messages
        if type(each).__name__ == "InconsistentVersionWarning"
    }
    return sorted(found)


def _check_classes(estimator: object, target: Array, name: str, rows: str) -> None:
    known = getattr(estimator, "classes_", None)
    if known is None or isinstance(known, list) or not len(known):
        return
    classes = {estimators.as_class(each) for each in np.asarray(known).reshape(-1).tolist()}
    for value in target.reshape(-1).tolist():
        if value is not None and value == value and estimators.as_class(value) not in classes:  # noqa: PLR0124  NaN
            listed = ", ".join(repr(each) for each in sorted(classes, key=str)[:12])
            raise RowsRefused(rows, f"has {value!r} in column {name!r}; the model's classes are {listed}")


def _check_numbers(outputs: list[Output], answers: Arrays) -> None:
    for output in outputs:
        values = answers[output.name]
        if output.role in ("probability", "class-probabilities", "value") and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(axis=1)))
            raise UnsupportedModel(f"gives a number that is not finite for row {row}, as output {output.name!r}")


def _task(signature: Signature) -> Task:
    roles = {each.role for each in signature.outputs}
    if signature.primary_output.role == "value":
        return "multi-output" if len(signature.outputs) > 1 and roles == {"value"} else "regression"
    classes = signature.primary_output.classes
    if signature.primary_output.role == "probability" or (classes and len(classes) == 2):
        return "binary"
    return "multi-class" if signature.primary_output.role == "label" else "custom"


def choices_of(
    *, primary: str | None = None, roles: Sequence[str] = (), classes: str | None = None, target: str | None = None
) -> Choices:
    """Choices as a command line gives them: `NAME=ROLE` each, and classes divided by commas (integers where all are).

    Raises:
        UnsupportedModel: a role is not written so, or unknown.
    """
    by_name = {}
    for text in roles:
        output, separator, role = text.partition("=")
        if not separator:
            raise UnsupportedModel(f"cannot have the role {text!r}; write OUTPUT=ROLE")
        by_name[output] = interface.check_role(role)
    return Choices(primary, by_name, _parse_classes(classes), target)


def _parse_classes(text: str | None) -> list[str | int]:
    parts = [part.strip() for part in text.split(",")] if text else []
    try:
        return [int(part) for part in parts]
    except ValueError:
        return [*parts]
