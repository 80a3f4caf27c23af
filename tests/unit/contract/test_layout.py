from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sabia.contract.errors import InvalidName
from sabia.contract.layout import (
    Version,
    check_alias,
    check_model_name,
    manifest_key,
    version_of_manifest,
    version_prefix,
)

numbers = st.integers(min_value=0, max_value=999_999)
versions = st.builds(Version, numbers, numbers)


@given(versions)
def test_a_version_reads_back_what_it_prints(version: Version) -> None:
    assert Version.parse(str(version)) == version


@given(versions, versions)
def test_versions_are_ordered_as_numbers_not_as_text(one: Version, other: Version) -> None:
    assert (one < other) == ((one.major, one.minor) < (other.major, other.minor))


@pytest.mark.parametrize(
    "text", ["", "1", "1.", ".1", "1.2.3", "01.2", "1.02", "+1.2", "1.2 ", " 1.2", "1.-2", "v1.2", "1.٣"]
)
def test_anything_but_major_dot_minor_is_refused(text: str) -> None:
    with pytest.raises(InvalidName, match=r"MAJOR\.MINOR"):
        Version.parse(text)


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a-", "a_b", "a/b", "..", "a" * 41, "é"])
def test_names_that_no_service_or_key_can_carry_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        check_model_name(name)
    with pytest.raises(InvalidName):
        check_alias(name)


def test_the_longest_name_leaves_room_for_its_service() -> None:
    service = f"{check_model_name('a' * 40)}-v999-999-predictor"
    assert len(service) <= 63


@given(versions, versions)
def test_no_version_lies_under_the_prefix_of_another(one: Version, other: Version) -> None:
    """Stores list by string prefix: 1.1 must not find 1.10."""
    assert manifest_key("toy", other).startswith(version_prefix("toy", one)) == (one == other)


@given(versions)
def test_a_manifest_key_names_its_version(version: Version) -> None:
    assert version_of_manifest(manifest_key("toy", version), "toy") == version


@pytest.mark.parametrize(
    "key",
    ["models/toy/aliases/manifest.json", "models/toy/1.2/abc/manifest.json", "models/other/1.2/manifest.json"],
)
def test_other_keys_name_no_version(key: str) -> None:
    assert version_of_manifest(key, "toy") is None
