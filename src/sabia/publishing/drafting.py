"""From an estimator of the user's and a table to the draft of a version, through the publishing gate."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from sabia.contract import reference as references
from sabia.contract import state as states
from sabia.contract.manifest import (
    CARD_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    STATE_FILE,
    Dataset,
    Evaluation,
    Task,
    fingerprint,
)
from sabia.contract.signature import Bins, DType, Input, Output, Signature, check
from sabia.contract.state import State
from sabia.contract.tensors import INPUT
from sabia.publishing import estimators, frames, linear, parity, signatures
from sabia.publishing.card import card
from sabia.publishing.converters import pipelines
from sabia.publishing.converters.lookups import NULL
from sabia.publishing.draft import utc_now
from sabia.publishing.errors import (
    ConstantRefused,
    ConversionRefused,
    EstimatorFailed,
    ParametersRefused,
    ParityRefused,
    TableRefused,
    TaskRefused,
)
from sabia.publishing.estimators import Subject
from sabia.publishing.frames import Frame
from sabia.publishing.graph import graph_digest
from sabia.publishing.graphs import Arrays, run
from sabia.publishing.measures import check_floor, measure
from sabia.publishing.model import Floor
from sabia.publishing.provenance import provenance
from sabia.publishing.reference import reference_of
from sabia.registry import catalogue
from sabia.registry.claim import Draft
from sabia.store.objects import Store

Rows = tuple[Any, Any]
Progress = Callable[[str], None]
_UNSEEN = "a category that training never met"
_PROBES = 3
# Columns in the sentence that refuses a row.
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Labelled:
    """Rows with their targets, shape (rows,) or (rows, targets)."""

    frame: Frame
    target: NDArray[Any]

    def take(self, rows: NDArray[np.intp]) -> Labelled:
        """Only these rows."""
        return Labelled(self.frame.take(rows), self.target[rows])


def newest_bins(store: Store, name: str) -> Bins | None:
    """The bins of a model: those of its newest version that can be read; None without one."""
    newest = catalogue.newest(store, name)
    return newest.bins if newest else None


def draft(  # noqa: PLR0913  what is known of a model
    estimator: Any,
    inputs: Any,
    target: Any,
    *,
    name: str,
    held_out: Rows | float | None = None,
    target_name: str | Sequence[str] | None = None,
    signature: Signature | None = None,
    task: Task | None = None,
    floor: Mapping[str, float] | Floor | None = None,
    dataset: Dataset | str | None = None,
    units: Mapping[str, str] | None = None,
    hyper_params: Mapping[str, Any] | None = None,
    code_major: int = 1,
    created_at: str | None = None,
    bins: Bins | None = None,
    progress: Progress | None = None,
    tolerance: float | None = None,
) -> Draft:
    """A version without a number, from the arguments of `sabia.publish`.

    `bins` are those of the model's other versions, which the draft inherits where its primary output fits them.

    Raises:
        GateRefused: the rows cannot be read, the estimator cannot be converted truly, or the model misses its floor.
        InvalidSignature: inputs or outputs have names that cannot be served.
    """
    log = progress or (lambda _: None)
    if hasattr(estimator, "estimator") and hasattr(estimator, "code_major"):
        # An object with state and methods around the estimator: see `sabia.training.models`.
        hyper_params = estimator.hyper_params if hyper_params is None else hyper_params
        code_major = estimator.code_major
        estimator = estimator.estimator
    training, evaluated, estimator, is_held_out = _rows(estimators.adapted(estimator), inputs, target, held_out)
    columns = 1 if training.target.ndim == 1 else training.target.shape[1]
    targets = estimators.names_of(target, columns, target_name)
    subject = estimators.subject(estimator, training.target, targets, task)
    log(f"{subject.task}: {training.frame.rows} rows of {len(training.frame.columns)} columns")

    is_matrix = _is_matrix(training.frame, signature)
    matrix: DType | None = pipelines.matrix_dtype(estimator) if is_matrix else None
    units = units or {}
    inferred_inputs = signatures.nullable_where(
        signatures.inputs_of(training.frame, units=units, null_fill=NULL, matrix=matrix), evaluated.frame, NULL
    )
    if signature is not None:
        signatures.check_names("inputs", signature.inputs, inferred_inputs)
    columns_in = signature.inputs if signature else inferred_inputs
    columns_in, probes = _probes(subject, columns_in, training.frame, fixed=signature is not None)
    outputs = _outputs(subject, units, columns_in, matrix=is_matrix)

    checked = [(evaluated.frame, _answers(subject, evaluated.frame)), *probes]
    model, distance = _convert(subject, columns_in, outputs, checked, matrix=is_matrix, tolerance=tolerance, log=log)
    log(f"converted: the served model is at most {distance.error:.2g} from the estimator")
    answers = checked[0][1]
    _check_varies(answers[outputs[0].name])
    metrics = Evaluation(
        task=subject.task,
        rows=evaluated.frame.rows,
        values=measure(subject, evaluated.target, answers),
        parity_max_error=distance.error,
    )
    log(", ".join(f"{key} {value:.4g}" for key, value in metrics.values.items()))
    check_floor(metrics.values, _floor(floor))

    predicted = run(model, signatures.feed(columns_in, training.frame, matrix=is_matrix, name=INPUT))
    if signature is not None:
        signatures.check_names("outputs", signature.outputs, outputs)
    described = signature or Signature(
        inputs=columns_in,
        outputs=outputs,
        primary=outputs[0].name,
        bins=signatures.bins_of(outputs[0], predicted, bins),
    )
    check(described)
    trained_on = _dataset(dataset, training)
    state = State(linear.params(subject, matrix=is_matrix), _hyper_params(estimator, hyper_params))
    _check_params(state.params)
    methods = fingerprint(
        described, graph=graph_digest(model), estimator=estimators.chain(estimator), code_major=code_major
    )
    return Draft(
        name=name,
        created_at=created_at or utc_now(),
        methods=methods,
        hyper_params=state.hyper_params,
        signature=described,
        target=", ".join(targets),
        metrics=metrics,
        provenance=provenance(trained_on, model, methods.estimator),
        files={
            MODEL_FILE: model,
            STATE_FILE: states.encode(state),
            REFERENCE_FILE: references.encode(reference_of(described, training.frame, predicted)),
            CARD_FILE: card(
                name=name,
                methods=methods,
                target=", ".join(targets),
                hyper_params=state.hyper_params,
                signature=described,
                metrics=metrics,
                dataset=trained_on,
                held_out=is_held_out,
            ),
        },
    )


def _rows(
    estimator: Any, inputs: Any, target: Any, held_out: Rows | float | None
) -> tuple[Labelled, Labelled, Any, bool]:
    """Training rows, rows to evaluate on, the fitted estimator, and whether the latter rows were held out."""
    names = getattr(estimator, "feature_names_in_", None)
    unnamed = isinstance(inputs, np.ndarray) and names is None
    given = _labelled(inputs, target, None if unnamed or not isinstance(inputs, np.ndarray) else list(names or []))
    if held_out is None:
        return given, given, estimator, False
    if isinstance(held_out, tuple):
        rest = _labelled(*held_out, names=given.frame.names)
        return given, rest, estimator, True
    if not 0 < held_out < 1:
        raise TaskRefused(f"held_out is {held_out:g}; a share is between 0 and 1")
    from sklearn.model_selection import train_test_split  # noqa: PLC0415  an extra

    is_classes = given.target.ndim == 1 and estimators.is_classifier(estimator)
    try:
        rows, others = train_test_split(
            np.arange(given.frame.rows),
            test_size=held_out,
            random_state=0,
            stratify=given.target if is_classes else None,
        )
    except ValueError as error:
        raise TaskRefused(f"the rows cannot be split: {str(error).rstrip('.')}") from error
    training, rest = given.take(rows), given.take(others)
    try:
        fitted = estimators.clone(estimator).fit(training.frame.source, training.target)
    except Exception as error:  # as in `_answered`
        raise EstimatorFailed(type(estimator).__name__, error, doing="fit") from error
    return training, rest, fitted, True


def _labelled(inputs: Any, target: Any, names: list[str] | None = None) -> Labelled:
    frame = frames.read(inputs, names or None)
    values = target.to_numpy() if hasattr(target, "to_numpy") else np.asarray(target)
    if values.ndim > 1 and values.shape[1] == 1:
        values = values.reshape(len(values))
    if len(values) != frame.rows:
        raise TableRefused(f"has {frame.rows} rows; the target has {len(values)}")
    missing = np.array([value is None or value != value for value in values.ravel().tolist()])  # noqa: PLR0124  NaN
    if missing.any():
        raise TaskRefused(f"the target has no value in {int(missing.sum())} rows; leave those rows out")
    return Labelled(frame, values)


def _is_matrix(frame: Frame, signature: Signature | None) -> bool:
    if signature is not None:
        first = signature.inputs[0]
        return first.is_float and all(each.is_scalar and each.dtype == first.dtype for each in signature.inputs)
    return frame.is_numeric


def _outputs(subject: Subject, units: Mapping[str, str], inputs: Sequence[Input], *, matrix: bool) -> list[Output]:
    outputs = subject.outputs(dict(units))
    if matrix and inputs[0].dtype == "float32" and subject.kind in ("probability", "score", "value"):
        return [replace(output, dtype="float32") for output in outputs]
    return outputs


def _probes(
    subject: Subject, inputs: list[Input], frame: Frame, *, fixed: bool
) -> tuple[list[Input], list[tuple[Frame, Arrays]]]:
    """Rows that the data may lack, with the estimator's answers: nulls, and categories that training never met.

    An estimator that refuses unseen categories makes the input strict, unless the caller stated the inputs.
    """
    few = frame.take(np.arange(min(_PROBES, frame.rows)))
    probes, found = [], []
    for each in inputs:
        described = each
        if each.nullable:
            # The table's own nulls where it has some: scikit-learn tells None from NaN.
            nulls = np.flatnonzero(frame.column(each.name).null)[:_PROBES]
            probes += _answered(subject, frame.take(nulls) if len(nulls) else few.with_value(each.name, None))
        if each.categories is not None and each.dtype == "string" and not each.strict:
            unseen = few.with_value(each.name, _UNSEEN)
            answered = _answered(subject, unseen)
            if unseen is not None and not answered and not fixed:
                described = replace(each, strict=True)
            probes += answered
        found.append(described)
    return found, probes


def _answers(subject: Subject, frame: Frame) -> Arrays:
    try:
        return subject.answers(frame.source)
    except Exception as error:  # as in `_answered`
        raise EstimatorFailed(type(subject.estimator).__name__, error, doing="predict") from error


def _answered(subject: Subject, frame: Frame | None) -> list[tuple[Frame, Arrays]]:
    if frame is None:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn's, of the very categories that are tried
            return [(frame, subject.answers(frame.source))]
    except Exception:  # noqa: BLE001  an estimator refuses a row by any exception
        return []


def _convert(
    subject: Subject,
    inputs: list[Input],
    outputs: list[Output],
    checked: list[tuple[Frame, Arrays]],
    *,
    matrix: bool,
    tolerance: float | None,
    log: Progress,
) -> tuple[bytes, parity.Distance]:
    """The first graph that agrees with the estimator on all rows.

    Raises:
        ConversionRefused: there is no graph.
        ParityRefused: none agrees; the error has the row of the one that came closest.
    """
    nearest: tuple[parity.Distance, Frame] | None = None
    refused: ConversionRefused | None = None
    dtype = inputs[0].dtype if matrix else None
    for way in pipelines.ways(
        subject.estimator, matrix="float32" if dtype == "float32" else "float64" if dtype else None
    ):
        allowed = tolerance or (parity.SINGLE if "float32" in (way.transformers, way.last) else parity.DOUBLE)
        try:
            model = bytes(pipelines.build(subject, inputs, way, matrix=matrix).SerializeToString(deterministic=True))
            distances = [
                (
                    parity.compare(
                        outputs, answers, run(model, signatures.feed(inputs, frame, matrix=matrix, name=INPUT)), allowed
                    ),
                    frame,
                )
                for frame, answers in checked
            ]
        except ConversionRefused as error:
            refused = refused or error
            continue
        except Exception as error:  # noqa: BLE001  ONNX Runtime and the checker raise what they meet, of any kind
            reason = str(error).strip().splitlines()[0][:200].rstrip(".")
            refused = refused or ConversionRefused(type(subject.estimator).__name__, reason)
            continue
        worst, frame = max(distances, key=lambda each: each[0].error / each[0].tolerance)
        if worst.passes:
            return model, worst
        log(f"converted in {way.transformers} and {way.last}: {worst.error:.2g} from the estimator, which is too far")
        if nearest is None or worst.error < nearest[0].error:
            nearest = worst, frame
    if nearest is not None:
        distance, frame = nearest
        raise ParityRefused(error=distance.error, tolerance=distance.tolerance, row=_row(frame, distance.row))
    raise refused or ConversionRefused(type(subject.estimator).__name__, "no converter knows it")


def _row(frame: Frame, at: int) -> str:
    first = frame.columns[:_SHOWN]
    shown = [f"{each.name}={'null' if each.null[at] else repr(each.values[at : at + 1].tolist()[0])}" for each in first]
    return f"the row {', '.join(shown)}{', ...' if len(frame.columns) > len(shown) else ''}"


def _check_varies(values: NDArray[Any]) -> None:
    if len(set(values[:100_000].ravel().tolist())) == 1 and len(values) > 1:
        raise ConstantRefused(values.ravel().tolist()[0])


def _check_params(params: dict[str, Any]) -> None:
    for key, value in params.items():
        if not np.all(np.isfinite(np.asarray(value, dtype=np.float64))):
            raise ParametersRefused(key)


def _floor(floor: Mapping[str, float] | Floor | None) -> Mapping[str, float]:
    if isinstance(floor, Floor):
        return {name: least for name, least in floor.metrics.items() if least > 0}
    return floor or {}


def _dataset(dataset: Dataset | str | None, training: Labelled) -> Dataset:
    if isinstance(dataset, Dataset):
        return dataset
    table = training.target.reshape(len(training.target), -1)
    target = frames.Frame([_target_column(f"target{at}", table[:, at]) for at in range(table.shape[1])], None)
    return Dataset(uri=dataset or "unstated", sha256=frames.digest(training.frame, target), rows=training.frame.rows)


def _target_column(name: str, values: NDArray[Any]) -> frames.Column:
    is_number = values.dtype.kind in "fiub"
    plain = values.astype(np.float64) if is_number else values.astype(object)
    return frames.Column(name, "float64" if is_number else "string", plain, np.zeros(len(values), dtype=bool))


def _hyper_params(estimator: Any, given: Mapping[str, Any] | None) -> dict[str, Any]:
    return estimators.hyper_params(estimator) if given is None else estimators.recorded(given)
