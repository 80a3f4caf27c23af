"""The columns of a model's log in a table, and what its predictions are."""

from __future__ import annotations

from sabia.contract.inferencelog import LOG_COLUMNS, Type, log_columns
from sabia.registry import catalogue
from sabia.store.objects import Store

_NUMBERS = (Type.INTEGER, Type.DOUBLE)


def columns_of(store: Store, model: str) -> dict[str, Type]:
    """The columns of a model's log: the fixed ones, and those of every input that one of its versions has had.

    A column whose type changed between versions has the type that holds both: a number, or text.
    """
    columns = dict(LOG_COLUMNS)
    for manifest in catalogue.manifests_of(store, model):
        for name, kind in log_columns(manifest.signature).items():
            columns[name] = _both(columns.get(name, kind), kind)
    return columns


def role_of(store: Store, model: str) -> str:
    """The role of the newest version's primary output: how predictions and labels are compared. Empty without one."""
    versions = catalogue.versions(store, model)
    return catalogue.manifest_of(store, model, versions[-1]).signature.primary_output.role if versions else ""


def _both(first: Type, second: Type) -> Type:
    if first == second:
        return first
    return Type.DOUBLE if {first, second} <= set(_NUMBERS) else Type.STRING
