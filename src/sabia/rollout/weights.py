"""Checks that every split makes before weights are put into force."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sabia.rollout.errors import InvalidWeights, UnknownVersion


def check_version(version: str, known: Collection[str]) -> None:
    """Check that the route has a version.

    Raises:
        UnknownVersion
    """
    if version not in known:
        raise UnknownVersion(version, known)


def check_weights(weights: Mapping[str, int], known: Collection[str]) -> None:
    """Check that weights make a split: known versions, none negative, not all zero.

    Raises:
        UnknownVersion, InvalidWeights
    """
    for version, weight in weights.items():
        check_version(version, known)
        if weight < 0:
            raise InvalidWeights(f"version {version} cannot have {weight}")
    if sum(weights.values()) <= 0:
        raise InvalidWeights("at least one version must get requests")
