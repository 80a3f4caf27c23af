"""What a place that holds a split can do, and what is asked of every split."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from sabia.rollout.errors import InvalidWeights, UnknownVersion


class Split(Protocol):
    """The split of one model's requests between its versions."""

    def weights(self) -> dict[str, int]:
        """The weights, by version; a version that only a pin reaches has 0."""

    def set_weights(self, weights: Mapping[str, int]) -> dict[str, int]:
        """Put weights into force, and return all of them when the gateway has confirmed.

        Versions that are not named get 0, so that the numbers given are the whole split.

        Raises:
            UnknownVersion: the route has no such version.
            InvalidWeights: one is negative, or all are zero.
            NotReady: a version that is to get requests cannot answer them.
            NotConfirmed: the gateway did not take them in time.
            Overtaken: somebody else changed the route meanwhile.
        """

    def mirror(self) -> str | None:
        """The version that gets a copy of every request without a pin, and whose answers nobody sees."""

    def set_mirror(self, version: str | None) -> None:
        """Send copies to a version, or to none.

        Raises:
            UnknownVersion, NotReady, NotConfirmed, Overtaken: as for weights.
        """

    def requests_seen(self) -> dict[str, int]:
        """Requests that each version was sent, health checks left out. A restart may set a count back."""


def check_version(version: str, known: Collection[str]) -> None:
    """Refuse a version that is not there.

    Raises:
        UnknownVersion
    """
    if version not in known:
        raise UnknownVersion(version, known)


def check(weights: Mapping[str, int], known: Collection[str]) -> None:
    """Refuse what makes no split.

    Raises:
        UnknownVersion, InvalidWeights
    """
    for version, weight in weights.items():
        check_version(version, known)
        if weight < 0:
            raise InvalidWeights(f"version {version} cannot have {weight}")
    if sum(weights.values()) <= 0:
        raise InvalidWeights("somebody must get the requests")
