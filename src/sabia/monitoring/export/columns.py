"""The columns of a model's log in a table."""

from __future__ import annotations

from sabia.contract.inferencelog import LOG_COLUMNS, Type, feature_columns
from sabia.registry import catalogue
from sabia.store.objects import Store


def columns_of(store: Store, model: str) -> dict[str, Type]:
    """The columns of a model's log: the fixed ones, and those of every feature that one of its versions has had."""
    columns = dict(LOG_COLUMNS)
    for manifest in catalogue.manifests_of(store, model):
        columns |= dict.fromkeys(feature_columns(each.name for each in manifest.inputs).values(), Type.DOUBLE)
    return columns
