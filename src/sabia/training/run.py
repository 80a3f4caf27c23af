"""Running a recipe: train each version, pass it through the gate, publish it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime

from sabia.contract import reference as references
from sabia.contract import state as states
from sabia.contract.manifest import (
    CARD_FILE,
    MODEL_FILE,
    REFERENCE_FILE,
    STATE_FILE,
    Feature,
    Methods,
    Prediction,
    fingerprint,
)
from sabia.contract.state import State
from sabia.publishing import gate
from sabia.publishing.card import card
from sabia.publishing.conversion import to_onnx
from sabia.publishing.evaluation import evaluate
from sabia.publishing.provenance import provenance
from sabia.publishing.reference import reference
from sabia.registry.claim import Draft, Published, publish
from sabia.store.objects import Store
from sabia.training.datasets import Dataset, Split, load, split
from sabia.training.models import Model, model_of
from sabia.training.recipe import Floor, Recipe, Step

PROBABILITY = Prediction(kind="probability", unit="1", range=(0.0, 1.0))


def utc_now() -> str:
    """The time as manifests write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def run(recipe: Recipe, store: Store, *, now: Callable[[], str] = utc_now) -> Generator[tuple[Step, Published]]:
    """Train and publish the versions of a recipe in their order, yielding each as it is done.

    Safe to run again and by several at once: content that the store holds is found, not written.

    Raises:
        TrainingError: the recipe asks for what there is not, or a version did not pass the gate.
        SabiaError: the store failed.
    """
    parts = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed)
    for step in recipe.versions:
        yield step, publish(store, draft(recipe.model, step, parts, floor=recipe.floor, created_at=now()))


def draft(name: str, step: Step, parts: Split, *, floor: Floor, created_at: str) -> Draft:
    """Train one version and pass it through the publishing gate."""
    rows = parts.training.part(step.rows)
    model = model_of(step.methods).train(rows.target, rows.features, step.hyper_params)
    gate.check_parameters(model)
    model_bytes = to_onnx(model, len(rows.names))
    error = gate.check_parity(model, model_bytes, parts.held_out.features)
    prediction = model.predict(parts.held_out.features)
    gate.check_prediction(prediction)
    metrics = evaluate(parts.held_out.target, prediction, parity_max_error=error)
    gate.check_floor(metrics, floor)
    methods, features = methods_of(model, rows), features_of(model, rows)
    return Draft(
        name=name,
        created_at=created_at,
        methods=methods,
        hyper_params=model.hyper_params,
        features=features,
        target=rows.target_name,
        prediction=PROBABILITY,
        metrics=metrics,
        provenance=provenance(rows, step.rows),
        files={
            MODEL_FILE: model_bytes,
            STATE_FILE: states.encode(State(model.params, model.hyper_params)),
            REFERENCE_FILE: references.encode(
                reference(rows.names, rows.features, model.predict(rows.features), (0.0, 1.0))
            ),
            CARD_FILE: card(
                name=name,
                methods=methods,
                hyper_params=model.hyper_params,
                features=features,
                metrics=metrics,
                dataset=rows.uri,
                dataset_sha256=rows.sha256,
                rows=rows.rows,
            ),
        },
    )


def methods_of(model: Model, rows: Dataset) -> Methods:
    """The model's methods with their fingerprint."""
    return fingerprint(
        estimator=model.classes,
        features=[(name, model.input_dtype, unit) for name, unit in zip(rows.names, rows.units, strict=True)],
        target=rows.target_name,
        prediction=PROBABILITY.kind,
        code_major=model.code_major,
    )


def features_of(model: Model, rows: Dataset) -> list[Feature]:
    """The feature schema, with the range of the training rows."""
    lowest, highest = rows.features.min(axis=0), rows.features.max(axis=0)
    return [
        Feature(
            name=name,
            dtype=model.input_dtype,
            unit=rows.units[at],
            minimum=float(lowest[at]),
            maximum=float(highest[at]),
        )
        for at, name in enumerate(rows.names)
    ]
