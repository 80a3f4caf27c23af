"""The training job: run a recipe, and report each version once it is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sabia.store.objects import Store
from sabia.training.recipe import BREAST_CANCER, read
from sabia.training.run import run


def train(store: Store, path: Path | None = None, *, log: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run a recipe (None: the breast-cancer one) and return one row of facts for each version.

    `log` gets a line as soon as a version is in the store.

    Raises:
        TrainingError: the recipe is not valid, or a version did not pass the publishing gate.
        SabiaError: the store failed.
    """
    path = path or BREAST_CANCER
    recipe = read(path)
    rows = []
    for step, published in run(recipe, store, folder=path.parent):
        manifest = published.manifest
        note = f" ({step.note})" if step.note else ""
        log(f"{recipe.model} {manifest.version}: {published.change}{note}")
        rows.append(
            {
                "version": manifest.version,
                "change": published.change,
                "note": step.note,
                "metrics": {metric: round(value, 4) for metric, value in manifest.metrics.values.items()},
                "uri": published.uri,
                "digest": manifest.digest,
            }
        )
    return rows
