"""Running a recipe: train each version, pass it through the publishing gate, publish it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path

import msgspec

from sabia.publishing import draft as drafts
from sabia.publishing import drafting
from sabia.publishing.draft import utc_now
from sabia.publishing.model import Floor
from sabia.registry.claim import Draft, Published, publish
from sabia.serving.inference.loading import check_draft
from sabia.store.objects import Store
from sabia.training import tables
from sabia.training.datasets import Split, load, split
from sabia.training.methods import fitted
from sabia.training.models import METHODS, model_of
from sabia.training.recipe import Recipe, Step


def run(
    recipe: Recipe, store: Store, *, folder: Path = Path(), now: Callable[[], str] = utc_now
) -> Generator[tuple[Step, Published]]:
    """Train and publish the versions of a recipe in their order, yielding each as it is done.

    Safe to repeat, and to run in several processes at once: content that the store holds is not written again. Relative
    paths of the recipe start from `folder`.

    Raises:
        TrainingError: the data cannot be read, or the methods cannot be trained on them.
        GateRefused: a version did not pass the publishing gate.
        SabiaError: the store failed.
    """
    if recipe.data is None:
        parts = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed)
        for step in recipe.versions:
            yield step, _claim(store, draft(recipe.model, step, parts, floor=recipe.floor, created_at=now()))
        return
    rows = tables.read(recipe.data, recipe=folder, seed=recipe.seed)
    for step in recipe.versions:
        yield step, _claim(store, draft_of_own(recipe, step, rows, store, folder=folder, created_at=now()))


def _claim(store: Store, drafted: Draft) -> Published:
    """A number for a draft that a server can open."""
    check_draft(drafted)
    return publish(store, drafted)


def draft(name: str, step: Step, parts: Split, *, floor: Mapping[str, float], created_at: str) -> Draft:
    """Train one version on a built-in data set and pass it through the publishing gate."""
    rows = parts.training.part(step.rows)
    model = model_of(step.methods).train(rows.target, rows.features, step.hyper_params)
    least = msgspec.convert(floor, Floor)
    return drafts.draft(name, model, training=rows, held_out=parts.held_out, floor=least, created_at=created_at)


def draft_of_own(
    recipe: Recipe, step: Step, parts: tables.Split, store: Store, *, folder: Path, created_at: str
) -> Draft:
    """Train one version on data of the user's own and pass it through the publishing gate."""
    rows = parts.training.part(step.rows)
    estimator = fitted(step.methods, step.hyper_params, rows, folder=folder, seed=recipe.seed)
    return drafting.draft(
        estimator,
        rows.frame,
        rows.target,
        name=recipe.model,
        held_out=(parts.held_out.frame, parts.held_out.target),
        target_name=rows.targets.schema.names,
        task="binary" if step.methods in METHODS else None,
        floor=recipe.floor,
        dataset=rows.uri,
        units=rows.units,
        hyper_params=step.hyper_params,
        code_major=getattr(estimator, "code_major", 1),
        created_at=created_at,
        bins=drafting.newest_bins(store, recipe.model),
    )
