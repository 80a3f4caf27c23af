"""The talk's models: training, evaluation, conversion behind a gate, publishing."""

from training.errors import TrainingError
from training.models import METHODS, Model
from training.recipe import Recipe
from training.run import run

__all__ = ["METHODS", "Model", "Recipe", "TrainingError", "run"]
