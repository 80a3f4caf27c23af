"""What a place that holds counters can do."""

from __future__ import annotations

from typing import Protocol

from sabia.rollout.counters import Scrape


class Source(Protocol):
    """The counters of the versions of one rollout."""

    def scrape(self) -> Scrape:
        """Every version's counters, of one instant as nearly as can be.

        Raises:
            NotScraped: a version that serves could not be read: half of a comparison is none.
        """
