"""The columns of a model's log in a table, and what its predictions are."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from sabia.contract.inferencelog import LABEL_COLUMNS, LOG_COLUMNS, Type, log_columns, take
from sabia.registry import catalogue
from sabia.store.objects import Store

_NUMBERS = (Type.INTEGER, Type.DOUBLE)
# The columns that views put beside those of the log, and those that PostgreSQL has in every table.
_BESIDE = {*LABEL_COLUMNS, "role"} - {*LOG_COLUMNS}
_SYSTEM = {"oid", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
# PostgreSQL's longest name, in bytes (NAMEDATALEN - 1); it cuts off the rest, and so makes one column of two.
LONGEST = 63


def columns_of(store: Store, model: str) -> dict[str, Type]:
    """The columns of a model's log: the fixed ones, and those of every input that one of its versions has had.

    A column whose type changed between versions has the type that holds both: a number, or text.
    """
    columns = dict(LOG_COLUMNS)
    for manifest in catalogue.manifests_of(store, model):
        for name, kind in log_columns(manifest.signature).items():
            columns[name] = _both(columns.get(name, kind), kind)
    return columns


def exported(columns: Iterable[str], *, longest: int | None = LONGEST) -> dict[str, str]:
    """The name of each column of the log in a table or view, where some names mean something else.

    A name of a label's column or of the system gets the prefix `feature_`; one that is too long keeps its beginning and
    gets the first letters of its SHA-256. Names that would be equal get a suffix, in the order of the columns.

    Args:
        columns: the columns of the log.
        longest: the most bytes of a name; None for no limit.
    """
    names: dict[str, str] = {}
    taken = {*LOG_COLUMNS, *_BESIDE, *_SYSTEM}
    for column in columns:
        if column in LOG_COLUMNS:
            names[column] = column
            continue
        name = f"feature_{column}" if column in taken else column
        if longest is not None and len(name) > longest:
            name = f"{name[: longest - 9]}_{sha256(column.encode()).hexdigest()[:8]}"
        names[column] = take(name, taken)
    return names


def role_of(store: Store, model: str) -> str:
    """The role of the newest version's primary output: how predictions and labels are compared. Empty without one."""
    versions = catalogue.versions(store, model)
    return catalogue.manifest_of(store, model, versions[-1]).signature.primary_output.role if versions else ""


def _both(first: Type, second: Type) -> Type:
    if first == second:
        return first
    return Type.DOUBLE if {first, second} <= set(_NUMBERS) else Type.STRING
