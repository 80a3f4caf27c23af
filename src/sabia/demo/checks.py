"""What the demo checks, each with what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from scipy.stats import binom

# Three of the traffic phases are random; at this level a demo fails by chance once in some 3,000 runs.
CONFIDENCE = 0.9999


@dataclass(slots=True)
class Checks:
    """The checks so far."""

    results: list[dict[str, Any]] = field(default_factory=list)

    def add(self, name: str, held: bool, measured: object) -> None:
        """Record one check."""
        self.results.append({"check": name, "held": held, "measured": str(measured)})

    @property
    def held(self) -> bool:
        """Whether every check held."""
        return all(result["held"] for result in self.results)


def interval(count: int, share: float, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """The exact central interval that a binomial count falls into with at least this probability."""
    low, high = binom.interval(confidence, count, share)
    return int(low), int(high)
