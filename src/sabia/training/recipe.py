"""A recipe: which versions to train, in which order, on what, with which hyper-parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from sabia.contract.errors import InvalidName
from sabia.contract.layout import check_model_name
from sabia.documents import UnreadableDocument, read_yaml
from sabia.publishing.model import Floor
from sabia.training.data import Data
from sabia.training.data import Share as Part
from sabia.training.errors import InvalidRecipe
from sabia.training.methods import is_own
from sabia.training.models import METHODS

BREAST_CANCER = Path(__file__).parent / "recipes" / "breast-cancer.yaml"

Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version to train.

    Attributes:
        methods: built-in ones, or `package.module:Class`.
        rows: the share of the training rows that it is trained on: the first ones, which a split by time makes the
            earliest.
    """

    methods: str
    note: str = ""
    hyper_params: dict[str, Any] = {}
    rows: Share = 1.0


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's versions, trained on `data`, or on a built-in `dataset`.

    Attributes:
        held_out: the share of rows of the `dataset` that are set aside; `data` has a `split`.
        seed: shuffles rows, and is the random state of estimators that have none of their own.
        floor: the least of metrics, and the most of errors, by name: a version that misses it is not published.
    """

    model: str
    versions: Annotated[list[Step], msgspec.Meta(min_length=1)]
    data: Data | None = None
    dataset: str = ""
    held_out: Part = 0.25
    seed: int = 0
    floor: dict[str, float] = {}

    def __post_init__(self) -> None:
        """Check what the types alone do not."""
        if (self.data is None) == (not self.dataset):
            raise ValueError("give either `data` or `dataset`")
        for number, step in enumerate(self.versions):
            if step.methods not in METHODS and not (self.data and is_own(step.methods)):
                known = ", ".join(sorted(METHODS)) + (", or package.module:Class" if self.data else "")
                raise ValueError(f"versions[{number}].methods is {step.methods!r}; known: {known}")
        if self.data is None:
            msgspec.convert(self.floor, Floor)


def read(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        InvalidRecipe: it cannot be read, or a field is wrong; the message names it.
    """
    try:
        recipe = msgspec.convert(read_yaml(path.read_bytes())[0], Recipe)
        check_model_name(recipe.model)
    except OSError as error:
        raise InvalidRecipe(f"the file cannot be read ({error.strerror})") from error
    except UnreadableDocument as error:
        where = f" (line {error.line})" if error.line is not None else ""
        raise InvalidRecipe(f"its {error.field}{where} {error.problem}") from error
    except (msgspec.ValidationError, InvalidName) as error:
        raise InvalidRecipe(str(error).rstrip(".")) from error
    return recipe
