"""The line of labels that arrive later."""

from __future__ import annotations

import msgspec

from sabia.rollout.lines.stable import Look
from sabia.rollout.lines.wealth import StoredWealth
from sabia.sequential import Batch, OddsTest


class LabelsLine(msgspec.Struct, frozen=True):
    """Predictions that turned out wrong, batch by batch of when they were *made*: the weights and the difficulty of
    that time are then the same for both arms, however late the truth arrived. Each closed batch is scored once.

    Attributes:
        bets: see `sequential.OddsTest`.
        scored: the batches that were.
        n0, x0, n1, x1: truths and wrong predictions of stable and canary.
    """

    bets: StoredWealth
    scored: list[str] = []
    n0: int = 0
    x0: int = 0
    n1: int = 0
    x1: int = 0

    @classmethod
    def start(cls, tolerance: float) -> LabelsLine:
        """No evidence yet."""
        return cls(StoredWealth.pack(OddsTest(null=tolerance).start()))

    def update(self, tolerance: float, look: Look) -> LabelsLine:
        """After the batches that have been closed since."""
        line, test = self, OddsTest(null=tolerance)
        for batch in sorted({*look.stable.labels} & {*look.canary.labels} - {*self.scored}):
            (n0, x0), (n1, x1) = look.stable.labels[batch], look.canary.labels[batch]
            bets = test.update(line.bets.unpack(), Batch.single(n0, n1, x0, x1))
            seen = (line.n0 + n0, line.x0 + x0, line.n1 + n1, line.x1 + x1)
            line = LabelsLine(StoredWealth.pack(bets), [*line.scored, batch], *seen)
        return line
