"""The lines of times: of the prediction alone, and of the whole request."""

from __future__ import annotations

import math

import msgspec

from sabia.contract.durations import EDGES
from sabia.rollout.lines.stable import Look
from sabia.rollout.lines.wealth import StoredWealth
from sabia.sequential import OddsTest, exceedance, shifted
from sabia.sequential.latency import RATIOS

_TIMES = OddsTest(ratios=RATIOS)


class TimesLine(msgspec.Struct, frozen=True):
    """Times over the stable's quantiles.

    Attributes:
        bets: one test for each quantile.
        over0, over1: for each quantile, requests of stable and canary over their threshold, all of the rollout.
        n0, n1: requests.
        thresholds: for each quantile, the last threshold of the stable in seconds; 0 before there is one.
    """

    bets: list[StoredWealth]
    over0: list[int]
    over1: list[int]
    n0: int
    n1: int
    thresholds: list[float]

    @classmethod
    def start(cls, quantiles: int) -> TimesLine:
        """No evidence yet."""
        wealth = StoredWealth.pack(_TIMES.start())
        return cls([wealth] * quantiles, [0] * quantiles, [0] * quantiles, 0, 0, [0.0] * quantiles)

    def update(self, name: str, quantiles: list[float], look: Look, *, tolerance: float, slack: float) -> TimesLine:
        """After one more batch of the times called `name`."""
        memory, test = look.known.memory(name), _TIMES
        stable, canary = getattr(look.stable, name), getattr(look.canary, name)
        bets, over0, over1, edges = [], list(self.over0), list(self.over1), list(self.thresholds)
        for at, quantile in enumerate(quantiles):
            over = int(memory.threshold(quantile))
            if over < 0:
                bets.append(self.bets[at])
                continue
            batch = exceedance(stable, canary, over, shifted(over, EDGES, tolerance=tolerance, slack=slack))
            bets.append(StoredWealth.pack(test.update(self.bets[at].unpack(), batch)))
            over0[at] += int(batch.x0)
            over1[at] += int(batch.x1)
            edges[at] = EDGES[min(over, len(EDGES) - 1)]
        n0, n1 = self.n0 + int(stable.sum()), self.n1 + int(canary.sum())
        return TimesLine(bets, over0, over1, n0, n1, edges)

    @property
    def log_e(self) -> float:
        """Log of the evidence, the average over the quantiles."""
        logs = [wealth.log_e for wealth in self.bets]
        top = max(logs)
        return top + math.log(sum(math.exp(log - top) for log in logs) / len(logs)) if top > -math.inf else top
