"""Which versions a rollout may compare."""

from __future__ import annotations

import msgspec
import pytest

from sabia.contract.errors import InvalidManifest
from sabia.contract.layout import Version, manifest_key
from sabia.contract.signature import Bins, Output
from sabia.registry.claim import publish
from sabia.registry.comparable import require_comparable
from sabia.registry.errors import Incomparable
from sabia.store.objects import Store
from tests.drafts import SIGNATURE, a_draft

COARSE = msgspec.structs.replace(SIGNATURE, bins=Bins(kind="equal", count=10, range=(0.0, 1.0)))
VALUE = msgspec.structs.replace(
    SIGNATURE, outputs=[Output(name="prediction", dtype="float64", role="value")], bins=Bins(kind="edges", edges=[0.5])
)


@pytest.fixture
def toy(store: Store) -> Store:
    """1.0 and 2.0 compare; 3.0 has other bins, and 4.0 predicts a value."""
    publish(store, a_draft())
    publish(store, a_draft("other"))
    publish(store, a_draft("coarse", signature=COARSE))
    publish(store, a_draft("value", signature=VALUE))
    return store


def test_versions_of_one_role_and_the_same_bins_compare(toy: Store) -> None:
    require_comparable(toy, "toy", ["1.0", "1.0-baseline", "2.0"])


@pytest.mark.parametrize(
    ("other", "reason"),
    [("3.0", "counted in different bins"), ("4.0", "one predicts a probability, the other a value")],
)
def test_others_are_refused_with_the_reason(toy: Store, other: str, reason: str) -> None:
    with pytest.raises(Incomparable, match=rf"^Versions 1\.0 and {other} of 'toy' cannot be compared: .*{reason}\.$"):
        require_comparable(toy, "toy", ["1.0", "2.0", other])


def test_a_version_of_another_store_is_passed_over_and_an_unreadable_one_is_not(toy: Store) -> None:
    require_comparable(toy, "toy", ["1.0", "9.0"])
    toy.create(manifest_key("toy", Version(9, 0)), b"{")
    with pytest.raises(InvalidManifest):
        require_comparable(toy, "toy", ["1.0", "9.0"])
