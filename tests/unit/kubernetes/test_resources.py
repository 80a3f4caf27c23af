"""Which `Rollout` a command selects."""

from __future__ import annotations

from typing import Any

import pytest

from sabia.kubernetes.resources import select
from sabia.rollout.errors import RolloutNotFound

Document = dict[str, Any]


def a_rollout(name: str, at: str, *, model: str = "toy", record: str | None = None) -> Document:
    """A `Rollout` that was made at a time of one day, and has a record once the operator has looked at it."""
    metadata = {"name": name, "creationTimestamp": f"2026-01-01T{at}:00Z"}
    return {"metadata": metadata, "spec": {"model": model}} | ({"status": {"record": record}} if record else {})


ALL = [
    a_rollout("first", "10:00", record="20260101T100000Z-1.2-to-2.0"),
    a_rollout("second", "11:00"),
    a_rollout("other", "09:00", model="other"),
]


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        ("toy", None, "second"),
        ("other", None, "other"),
        (None, None, "second"),
        ("toy", "first", "first"),
        ("toy", "20260101T100000Z-1.2-to-2.0", "first"),  # as the live page, which reads records, knows it
    ],
)
def test_it_is_known_by_its_name_and_by_its_records(model: str | None, name: str | None, expected: str) -> None:
    assert select(ALL, model, name)["metadata"]["name"] == expected


@pytest.mark.parametrize(("model", "name"), [("toy", "third"), ("none", None), ("other", "first")])
def test_what_is_not_there_is_not_found(model: str, name: str | None) -> None:
    with pytest.raises(RolloutNotFound):
        select(ALL, model, name)
