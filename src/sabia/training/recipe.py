"""A recipe: which versions to train, in which order, on what, with which hyper-parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from sabia.contract.errors import InvalidName
from sabia.contract.layout import check_model_name
from sabia.publishing.model import Floor
from sabia.training.errors import InvalidRecipe
from sabia.training.models import METHODS

BREAST_CANCER = Path(__file__).parent / "recipes" / "breast-cancer.yaml"

Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version to train. `rows` is the share of the training rows that it sees."""

    note: str
    methods: str
    hyper_params: dict[str, Any]
    rows: Share = 1.0


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's versions. `held_out` is the share of rows set aside; `seed` shuffles before that."""

    model: str
    dataset: str
    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    seed: int
    versions: Annotated[list[Step], msgspec.Meta(min_length=1)]
    floor: Floor = Floor()


def read(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        InvalidRecipe: it cannot be read, or a field is wrong; the message names it.
    """
    try:
        recipe = msgspec.convert(yaml.safe_load(path.read_bytes()), Recipe)
        check_model_name(recipe.model)
    except OSError as error:
        raise InvalidRecipe(f"the file cannot be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise InvalidRecipe("it is not YAML") from error
    except (msgspec.ValidationError, InvalidName) as error:
        raise InvalidRecipe(str(error).rstrip(".")) from error
    for number, step in enumerate(recipe.versions):
        if step.methods not in METHODS:
            raise InvalidRecipe(f"versions[{number}].methods is {step.methods!r}; known: {', '.join(sorted(METHODS))}")
    return recipe
