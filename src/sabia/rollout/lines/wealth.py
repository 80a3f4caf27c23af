"""The wealth of a test as plain numbers: what a record holds, read back bit for bit."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from sabia.sequential import Wealth

Log = float | None  # minus infinity is written as null: JSON has no other way


class StoredWealth(msgspec.Struct, frozen=True):
    """`sequential.Wealth` as numbers."""

    bets: list[Log]
    batches: int
    late: bool

    @classmethod
    def pack(cls, wealth: Wealth) -> StoredWealth:
        """As numbers."""
        return cls(
            [None if value == -math.inf else value for value in wealth.bets.tolist()], wealth.batches, wealth.late
        )

    def unpack(self) -> Wealth:
        """As arrays."""
        bets = np.array([-math.inf if value is None else value for value in self.bets])
        return Wealth(bets, self.batches, self.late)

    @property
    def log_e(self) -> float:
        """Log of the evidence."""
        return float(self.unpack().log_e)
