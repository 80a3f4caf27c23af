"""From a trained model to the draft of a version, through the publishing gate."""

from __future__ import annotations

from datetime import UTC, datetime

from sabia.contract import manifest1
from sabia.contract import reference as references
from sabia.contract import state as states
from sabia.contract.manifest import (
    CARD_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    STATE_FILE,
    Dataset,
    fingerprint,
)
from sabia.contract.signature import DType, Input, Output, Signature, bins_for
from sabia.contract.state import State
from sabia.contract.tensors import OUTPUT
from sabia.publishing import gate
from sabia.publishing.card import card
from sabia.publishing.conversion import to_onnx
from sabia.publishing.estimators import recorded
from sabia.publishing.evaluation import evaluate
from sabia.publishing.graph import graph_digest
from sabia.publishing.model import Floor, LabelledRows, TrainedModel
from sabia.publishing.provenance import provenance
from sabia.publishing.reference import reference
from sabia.registry.claim import Draft

SPAN = (0.0, 1.0)
_NO_FLOOR = Floor()


def utc_now() -> str:
    """The time as manifests write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def draft(
    name: str,
    model: TrainedModel,
    *,
    training: LabelledRows,
    held_out: LabelledRows,
    floor: Floor = _NO_FLOOR,
    created_at: str | None = None,
) -> Draft:
    """A version without a number: the converted model, its state, its reference, its metrics and its card.

    Args:
        name: the model's name in the store.
        model: trained on the rows `training`.
        training: rows that the reference describes.
        held_out: rows that training never sees; the model is evaluated and compared with its estimator on them.
        floor: the least that the metrics must reach.
        created_at: RFC 3339, UTC; now without it.

    Raises:
        GateRefused: the model disagrees with its estimator, has non-finite parameters, is constant, or is under its
            floor.
    """
    gate.check_parameters(model)
    model_bytes = to_onnx(model, len(training.names))
    error = gate.check_parity(model, model_bytes, held_out.features)
    prediction = model.predict(held_out.features)
    gate.check_prediction(prediction)
    metrics = evaluate(held_out.target, prediction, parity_max_error=error)
    gate.check_floor(metrics, floor)
    signature = signature_of(model, training)
    methods = fingerprint(
        signature, graph=graph_digest(model_bytes), estimator=model.classes, code_major=model.code_major
    )
    hyper_params = recorded(model.hyper_params)
    trained_on = Dataset(uri=training.uri, sha256=training.sha256, rows=len(training.target))
    reference_rows = reference(training.names, training.features, model.predict(training.features), SPAN)
    return Draft(
        name=name,
        created_at=created_at or utc_now(),
        methods=methods,
        hyper_params=hyper_params,
        signature=signature,
        target=training.target_name,
        metrics=metrics,
        provenance=provenance(trained_on),
        files={
            MODEL_FILE: model_bytes,
            STATE_FILE: states.encode(State(model.params, hyper_params)),
            REFERENCE_FILE: references.encode(reference_rows),
            CARD_FILE: card(
                name=name,
                methods=methods,
                target=training.target_name,
                hyper_params=hyper_params,
                signature=signature,
                metrics=metrics,
                dataset=trained_on,
            ),
        },
        former_fingerprint=former_fingerprint(model, training),
    )


def former_fingerprint(model: TrainedModel, rows: LabelledRows) -> str:
    """The fingerprint of the same methods in a manifest of schema 1."""
    return manifest1.fingerprint(
        estimator=model.classes,
        features=[(name, model.input_dtype, unit) for name, unit in zip(rows.names, rows.units, strict=True)],
        target=rows.target_name,
        prediction="probability",
        code_major=model.code_major,
    )


def signature_of(model: TrainedModel, rows: LabelledRows) -> Signature:
    """The columns, each with the range of the training rows, and the probability that they give."""
    lowest, highest = rows.features.min(axis=0), rows.features.max(axis=0)
    dtype: DType = "float64" if model.input_dtype == "float64" else "float32"
    inputs = [
        Input(name=name, dtype=dtype, unit=rows.units[at], minimum=float(lowest[at]), maximum=float(highest[at]))
        for at, name in enumerate(rows.names)
    ]
    output = Output(name=OUTPUT, dtype=dtype, role="probability", range=SPAN)
    bins = bins_for(output)
    assert bins is not None, "bins of a probability follow from its range"
    return Signature(inputs=inputs, outputs=[output], primary=OUTPUT, bins=bins)
