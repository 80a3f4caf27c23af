"""The errors of each package between a model and its store."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest

import sabia.contract.errors
import sabia.publishing.errors
import sabia.registry.errors
import sabia.store.errors
import sabia.training.errors
from sabia.errors import SabiaError

MODULES = [
    sabia.store.errors,
    sabia.contract.errors,
    sabia.registry.errors,
    sabia.publishing.errors,
    sabia.training.errors,
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_error_has_one_base_and_stands_in_its_modules_tree(module: ModuleType) -> None:
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    assert all(issubclass(kind, SabiaError) for kind in kinds)
    assert {kind.__name__ for kind in kinds} <= set(str(module.__doc__).split()), "the docstring's tree names them all"
