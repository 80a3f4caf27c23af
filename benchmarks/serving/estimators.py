"""The models of the benchmark: each as an estimator for the others, and published as a version for us."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from sabia.publishing.draft import utc_now
from sabia.registry.claim import publish
from sabia.store.objects import Store
from sabia.training.datasets import load, split
from sabia.training.models import model_of
from sabia.training.recipe import BREAST_CANCER, Step, read
from sabia.training.run import draft

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("logistic-regression", {"C": 1.0}),
    "forest": ("random-forest", {"n_estimators": 100, "random_state": 0, "n_jobs": 1}),
    "boosting": ("histogram-boosting", {"random_state": 0}),
}


@dataclass(frozen=True, slots=True)
class Estimator:
    """One model: where the others find it, and where we do."""

    name: str
    joblib: Path
    version: Path


def make(folder: Path) -> dict[str, Estimator]:
    """Train, write and publish all of them."""
    recipe = read(BREAST_CANCER)
    parts = split(load(recipe.dataset), held_out=recipe.held_out, seed=recipe.seed)
    found = {}
    for name, (methods, hyper_params) in METHODS.items():
        root = folder / name
        root.mkdir(parents=True, exist_ok=True)
        store = Store.open((root / "store").resolve().as_uri(), make=True)
        step = Step(note=name, methods=methods, hyper_params=hyper_params)
        published = publish(store, draft("breast-cancer", step, parts, floor=recipe.floor, created_at=utc_now()))
        trained = model_of(methods).train(parts.training.target, parts.training.features, hyper_params)
        joblib.dump(trained.estimator, root / "estimator.joblib")
        version = root / "store" / "models" / "breast-cancer" / published.manifest.version
        found[name] = Estimator(name, root / "estimator.joblib", version)
    return found


def rows(count: int) -> NDArray[np.float64]:
    """Real rows, shape (count, 30); they repeat after 569."""
    features = load("sklearn:breast_cancer").features
    return np.asarray(np.resize(features, (count, features.shape[1])), dtype=np.float64)
