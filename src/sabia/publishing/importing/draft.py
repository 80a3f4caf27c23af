"""From a model file and rows to the draft of a version."""

from __future__ import annotations

import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import numpy as np

from sabia.contract import reference as references
from sabia.contract import state as states
from sabia.contract.bins import counts_of
from sabia.contract.layout import check_model_name
from sabia.contract.manifest import (
    CARD_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    STATE_FILE,
    Dataset,
    Evaluation,
    Methods,
    Provenance,
    Task,
    fingerprint,
)
from sabia.contract.reference import Histogram, Reference
from sabia.contract.signature import Bins, Input, Output, Signature, bins_for, check
from sabia.contract.state import State
from sabia.contract.tensors import INPUT
from sabia.errors import SabiaError
from sabia.publishing import drafting, estimators, frames, graphs, signatures
from sabia.publishing.draft import utc_now
from sabia.publishing.graph import graph_digest
from sabia.publishing.importing import checks, formats, interface, native, session, surgery, tables, weights
from sabia.publishing.importing.errors import RowsRefused, UnsupportedModel
from sabia.publishing.importing.interface import Array, Arrays, Choices
from sabia.publishing.importing.tables import Rows
from sabia.publishing.provenance import git
from sabia.registry.claim import Draft

_NO_CHOICES = Choices()
_QUANTILES = np.linspace(0, 1, 11)[1:-1]


@contextmanager
def imported(
    name: str,
    model: Path,
    *,
    reference: Path,
    expected: Path | None = None,
    choices: Choices = _NO_CHOICES,
    tolerance: float = session.TOLERANCE,
    bins: Bins | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Iterator[Draft]:
    """A version without a number from a model file; its large files are in a temporary folder of this context.

    Args:
        name: the model's name in the store.
        model: an ONNX file, with external weights beside it, the directory of an MLflow model of the ONNX flavor,
            or a file of XGBoost, LightGBM, CatBoost or skops.
        reference: rows: a Parquet, CSV or .npz file with a column or array for each input, or for each feature of a
            single matrix. They are what later data is compared with, so they should be training rows.
        expected: the right answers for them, a column or array for each output that is to be compared.
        choices: the target, roles, classes and the primary output, where the graph does not show them. For a file that
            is not ONNX, only the target: the column of `reference` that holds what the model predicts.
        tolerance: the largest distance to an expected number, or share of it where it is larger than 1.
        bins: of the model's other versions; they are kept where the primary output fits them.
        log: gets a line for each step.

    Raises:
        ImportRefused: the model or the rows cannot be read, do not fit each other, or give other answers.
        InvalidSignature: inputs or outputs have names that cannot be served.
    """
    check_model_name(name)
    if native.is_native(model):
        yield _of_estimator(
            name,
            model,
            reference=reference,
            expected=expected,
            choices=choices,
            tolerance=tolerance,
            bins=bins,
            log=log,
        )
        return
    model = formats.onnx_file(model)
    rows, answers = tables.read(reference), tables.read(expected) if expected else None
    graph = weights.read(model)
    checks.check(graph.proto)
    surgery.normalise(graph.proto)
    ends = interface.prepare_inputs(graph.proto, rows)
    before = [each.name for each in checks.outputs(graph.proto)]
    with tempfile.TemporaryDirectory(prefix="sabia-import-") as folder:
        weights.write(graph, Path(folder))
        probe = session.answers(session.open_session(Path(folder) / MODEL_FILE), ends.feed)
        log(f"{model.name}: {len(ends.inputs)} inputs, {len(before)} outputs")
        outputs, primary = interface.finish_outputs(graph.proto, probe, ends, choices)
        files = weights.write(graph, Path(folder))
        opened = session.open_session(Path(folder) / MODEL_FILE)
        given = session.answers(opened, ends.feed)
        session.check_rows_alone(opened, ends.feed, given, tolerance)
        del opened
        _check_numbers(outputs, given)
        aliases = dict(zip(before, [each.name for each in outputs][-len(before) :], strict=True))
        error = None
        if answers is not None:
            error = session.compare(answers, given, aliases, tolerance)
            log(f"{len(rows)} rows give the expected answers, at most {error:.2g} off")
        signature = _signature(ends.inputs, outputs, primary, given, bins)
        check(signature)
        methods = fingerprint(signature, graph=graph_digest(graph.proto))
        task = _task(signature)
        evaluation = Evaluation(task=task, rows=len(rows), values={}, parity_max_error=error)
        dataset = Dataset(uri=rows.name, sha256=rows.sha256, rows=len(rows))
        described = choices.target or aliases.get(primary, primary)
        yield Draft(
            name=name,
            created_at=utc_now(),
            methods=methods,
            hyper_params={},
            signature=signature,
            target=described,
            metrics=evaluation,
            provenance=_provenance(
                dataset, {each.domain or "ai.onnx": each.version for each in graph.proto.opset_import}
            ),
            files={
                **files,
                STATE_FILE: states.encode(State({})),
                REFERENCE_FILE: references.encode(_reference(signature, rows, ends.feed, given)),
                CARD_FILE: _card(
                    name, described, signature, methods, evaluation, dataset, model.name, expected is not None
                ),
            },
        )


def _of_estimator(
    name: str,
    model: Path,
    *,
    reference: Path,
    expected: Path | None,
    choices: Choices,
    tolerance: float,
    bins: Bins | None,
    log: Callable[[str], None],
) -> Draft:
    """The draft of an estimator in a file of its library's own format; `choices.target` is a column of the rows."""
    if choices.primary or choices.roles or choices.classes:
        raise UnsupportedModel("states its own outputs; leave out --primary, --role and --classes")
    rows, answers = tables.read(reference), tables.read(expected) if expected else None
    if choices.target is None:
        raise RowsRefused(rows.name, f"needs --target, the column of what the model predicts, one of {rows.listed}")
    if choices.target not in rows.columns:
        raise RowsRefused(rows.name, f"has no column {choices.target!r}; it has {rows.listed}")
    estimator = native.load(model)
    table, target = tables.arrow(reference), rows.columns[choices.target]
    others = [column for column in table.column_names if column != choices.target]
    frame = frames.read(table.select(native.columns_of(estimator, others, rows.name)))
    estimator = estimators.adapted(estimator)
    _check_classes(estimator, target, choices.target, rows.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of names of columns that the model was trained without
            found = drafting.draft(
                estimator,
                frame.source,
                target,
                name=name,
                target_name=choices.target,
                dataset=Dataset(uri=rows.name, sha256=rows.sha256, rows=len(rows)),
                bins=bins,
                progress=log,
            )
    except SabiaError:
        raise
    except Exception as error:  # an estimator refuses rows by any exception
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
        raise RowsRefused(rows.name, f"has rows that the model does not take: {reason}") from error
    if answers is not None:
        graph = found.files[MODEL_FILE]
        feed = signatures.feed(found.signature.inputs, frame, matrix=frame.is_numeric, name=INPUT)
        given = graphs.run(graph, feed)
        distance = session.compare(answers, given, {choices.target: found.signature.primary}, tolerance)
        log(f"{len(rows)} rows give the expected answers, at most {distance:.2g} off")
    return found


def _check_classes(estimator: object, target: Array, name: str, rows: str) -> None:
    known = getattr(estimator, "classes_", None)
    if known is None or not len(known):
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


def _signature(
    inputs: list[Input], outputs: list[Output], primary: str, answers: Arrays, inherited: Bins | None
) -> Signature:
    output = next(each for each in outputs if each.name == primary)
    own = bins_for(output) or Bins(kind="edges", edges=interface.edges_of(answers[primary]))
    kinds = {"label": ("classes",), "probability": ("equal",)}.get(output.role, ("edges", "none"))
    bins = inherited if inherited is not None and inherited.kind in kinds else own
    return Signature(inputs=inputs, outputs=outputs, primary=primary, bins=bins)


def _task(signature: Signature) -> Task:
    roles = {each.role for each in signature.outputs}
    if signature.primary_output.role == "value":
        return "multi-output" if len(signature.outputs) > 1 and roles == {"value"} else "regression"
    classes = signature.primary_output.classes
    if signature.primary_output.role == "probability" or (classes and len(classes) == 2):
        return "binary"
    return "multi-class" if signature.primary_output.role == "label" else "custom"


def _reference(signature: Signature, rows: Rows, feed: Arrays, answers: Arrays) -> Reference:
    counts = signature.bins.counts(answers[signature.primary]).tolist()
    classes = list(signature.bins.classes) if signature.bins.kind == "classes" else None
    features = {each.name: _histogram(each, _values(each, rows, feed)) for each in signature.inputs if each.is_scalar}
    prediction = Histogram(signature.bins.inner_edges.tolist(), counts, categories=classes)
    return references.build(len(rows), features, prediction)


def _values(described: Input, rows: Rows, feed: Arrays) -> Array:
    return feed[described.name].reshape(-1) if described.name in feed else rows.columns[described.name]


def _histogram(described: Input, values: Array) -> Histogram:
    if described.dtype in ("string", "bytes"):
        texts = [each for each in values.tolist() if not (described.nullable and each in (None, described.fill))]
        missing = len(values) - len(texts)
        if described.categories is None:
            return Histogram([], [len(texts)], missing=missing)
        bins = Bins(kind="classes", classes=described.categories)
        return Histogram([], bins.counts(texts).tolist(), categories=list(described.categories), missing=missing)
    numbers = np.array([np.nan if each is None else each for each in values.tolist()], dtype=np.float64)
    known = numbers[np.isfinite(numbers)]
    edges = np.unique(np.quantile(known, _QUANTILES)).tolist() if len(known) else []
    return Histogram(edges, counts_of(edges, known).tolist(), missing=int(np.isnan(numbers).sum()))


def _provenance(dataset: Dataset, opset: dict[str, int]) -> Provenance:
    libraries = {name: metadata.version(name) for name in ("numpy", "onnx", "onnxruntime")}
    return Provenance(dataset=dataset, git=git(), python=platform.python_version(), libraries=libraries, opset=opset)


def _card(
    name: str,
    target: str,
    signature: Signature,
    methods: Methods,
    evaluation: Evaluation,
    dataset: Dataset,
    source: str,
    compared: bool,
) -> bytes:
    parity = "No expected answers were given: that the graph is the model its author meant was not checked."
    if compared:
        parity = (
            f"Its answers for {evaluation.rows} rows are at most {evaluation.parity_max_error:.2g} from those given."
        )
    inputs = [f"| {each.name} | {each.dtype} | {_dims(each.shape)} |" for each in signature.inputs]
    outputs = [f"| {each.name} | {each.dtype} | {_dims(each.shape)} | {each.role} |" for each in signature.outputs]
    text = f"""\
---
library_name: onnx
tags: [sabia]
model_name: {name}
---
# {name}

Predicts **{target}**. Imported from `{source}`.

## Methods
A graph, fingerprint `{methods.fingerprint[:12]}`.

## Inputs
| name | type | shape |
|---|---|---|
{chr(10).join(inputs)}

## Outputs
| name | type | shape | role |
|---|---|---|---|
{chr(10).join(outputs)}

## Check
{parity} The reference is {dataset.rows} rows of `{dataset.uri}`, sha256 `{dataset.sha256}`.

## Limits
How the model was trained and how good it is were not stated.
"""
    return text.encode()


def _dims(shape: list[int | None]) -> str:
    return " x ".join("rows" if at == 0 else "any" if size is None else str(size) for at, size in enumerate(shape))


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
