"""What the live page needs of the platform that serves a model; the platform's adapters have these shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sabia.rollout.counters import Scrape
from sabia.rollout.events import Action

# Takes an action on a rollout, given by its name; the version names the canary of a rollout with several.
Act = Callable[[str, Action, str | None], None]


class Weights(Protocol):
    """Shares of the traffic."""

    def weights(self) -> dict[str, int]:
        """Percent by version."""


class Counters(Protocol):
    """Request counters of the versions that serve."""

    def scrape(self) -> Scrape:
        """The counters of every replica.

        Raises:
            NotScraped: a replica did not respond.
        """


@dataclass(frozen=True, slots=True)
class Ports:
    """The platform of one model, as the live page uses it.

    Attributes:
        counters: None where the counters cannot be reached; the page then shows no requests.
        act: carries out an action, under the name of the page's user.
    """

    weights: Weights
    counters: Counters | None
    act: Act
