"""Running a recipe: train each version, pass it through the publishing gate, publish it."""

from __future__ import annotations

from collections.abc import Callable, Generator

from sabia.publishing import draft as drafts
from sabia.publishing.draft import utc_now
from sabia.publishing.model import Floor
from sabia.registry.claim import Draft, Published, publish
from sabia.store.objects import Store
from sabia.training.datasets import Split, load, split
from sabia.training.models import model_of
from sabia.training.recipe import Recipe, Step


def run(recipe: Recipe, store: Store, *, now: Callable[[], str] = utc_now) -> Generator[tuple[Step, Published]]:
    """Train and publish the versions of a recipe in their order, yielding each as it is done.

    Safe to repeat, and to run in several processes at once: content that the store holds is not written again.

    Raises:
        TrainingError: the recipe names an unknown data set or methods.
        GateRefused: a version did not pass the publishing gate.
        SabiaError: the store failed.
    """
    parts = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed)
    for step in recipe.versions:
        yield step, publish(store, draft(recipe.model, step, parts, floor=recipe.floor, created_at=now()))


def draft(name: str, step: Step, parts: Split, *, floor: Floor, created_at: str) -> Draft:
    """Train one version and pass it through the publishing gate."""
    rows = parts.training.part(step.rows)
    model = model_of(step.methods).train(rows.target, rows.features, step.hyper_params)
    return drafts.draft(name, model, training=rows, held_out=parts.held_out, floor=floor, created_at=created_at)
