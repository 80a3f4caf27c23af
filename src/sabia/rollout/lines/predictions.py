"""The line of predictions over their bins."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.rollout.lines.stable import Look
from sabia.rollout.lines.wealth import StoredWealth
from sabia.sequential import Batch, Categories, DifferenceTest, total_variation
from sabia.sequential.categories import over_represented


class PredictionsLine(msgspec.Struct, frozen=True):
    """Predictions over their bins: do they differ at all, and by more than the budget?

    Attributes:
        names: the bins, as the first batch had them; whatever comes later is in the last of them, `OTHER`.
        shape, alone, observed, expected: any difference, see `sequential.Categories`.
        beyond: see `sequential.DifferenceTest`; more than the budget, on the bins that the canary has had more of.
        bins0, bins1: predictions of stable and canary by bin, all of the rollout.
        n0, n1: the requests that these were of.
    """

    beyond: StoredWealth
    names: list[str] = []
    shape: StoredWealth | None = None
    alone: StoredWealth | None = None
    observed: list[float] = []
    expected: list[float] = []
    bins0: list[int] = []
    bins1: list[int] = []
    n0: int = 0
    n1: int = 0

    @classmethod
    def start(cls, budget: float) -> PredictionsLine:
        """No evidence yet."""
        return cls(StoredWealth.pack(DifferenceTest(budget, beyond=True).start()))

    def update(self, budget: float, look: Look) -> PredictionsLine:
        """After one more batch."""
        names = self.names or sorted({*look.stable.bins, *look.canary.bins}, key=lambda name: (len(name), name))
        if not names:
            return self
        if not self.names:
            names = [*names, OTHER]
        past = self._past(len(names))
        stable, canary = (_by_name(arm.bins, names) for arm in (look.stable, look.canary))
        # Rows of one request are not independent of each other: at worst they are all the same.
        phi = max(1.0, *(sum(bins) / n if n else 1.0 for bins, n in ((self.bins0, self.n0), (self.bins1, self.n1))))
        after = past.update(stable, canary, phi)
        more = over_represented(past)
        beyond = self.beyond
        if more.any():
            earlier = np.asarray(self.bins0)
            guess = (earlier[more].sum() + 0.5) / (earlier.sum() + 1.0)
            batch = Batch(stable.sum(), canary.sum(), stable[more].sum(), canary[more].sum())
            beyond = StoredWealth.pack(DifferenceTest(budget, beyond=True).update(beyond.unpack(), batch, guess, phi))
        return PredictionsLine(
            beyond=beyond,
            names=names,
            shape=StoredWealth.pack(after.shape),
            alone=StoredWealth.pack(after.alone),
            observed=after.observed.tolist(),
            expected=after.expected.tolist(),
            bins0=(stable + np.asarray(self.bins0 or [0] * len(names))).tolist(),
            bins1=(canary + np.asarray(self.bins1 or [0] * len(names))).tolist(),
            n0=self.n0 + look.stable.n,
            n1=self.n1 + look.canary.n,
        )

    def _past(self, categories: int) -> Categories:
        if self.shape is None or self.alone is None:
            return Categories.start(categories)
        seen = np.asarray(self.observed), np.asarray(self.expected)
        return Categories(self.shape.unpack(), self.alone.unpack(), *seen)

    def log_e(self, budget: float) -> float:
        """Log of the evidence of a shift beyond the budget; without a budget, of any."""
        return self.beyond.log_e if budget > 0 else float(self._past(len(self.names) or 1).log_e)

    @property
    def distance(self) -> float:
        """The observed total variation; chance alone makes some."""
        return float(total_variation(np.asarray(self.bins0 or [0]), np.asarray(self.bins1 or [0])))


# Predictions in bins that neither arm had at first.
OTHER = "other"


def _by_name(bins: Mapping[str, int], names: list[str]) -> NDArray[np.int64]:
    found = [bins.get(name, 0) for name in names[:-1]]
    return np.array([*found, sum(bins.values()) - sum(found)], dtype=np.int64)
