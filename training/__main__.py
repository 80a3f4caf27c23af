"""`python -m training --store URL [--recipe FILE]`: the training job."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sabia.store.errors import ArtifactError
from sabia.store.objects import Store
from sabia.training.errors import TrainingError
from sabia.training.recipe import BREAST_CANCER, read
from sabia.training.run import run


def main() -> int:
    """Run a recipe, one line per version; 0 when every version is in the store."""
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Train and publish the versions of a recipe."
    )
    parser.add_argument("--store", required=True, help="URL of the store, such as s3://models")
    parser.add_argument(
        "--recipe", type=Path, default=BREAST_CANCER, help="recipe file (default: the breast-cancer one)"
    )
    arguments = parser.parse_args()
    try:
        recipe = read(arguments.recipe)
        for step, published in run(recipe, Store.open(arguments.store, make=True)):
            print(f"{recipe.model} {published.manifest.version}: {published.change} ({step.note})", flush=True)
    except (ArtifactError, TrainingError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
