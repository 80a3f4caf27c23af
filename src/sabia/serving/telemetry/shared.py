"""Numbers that the workers of one server share: each writes its own slot, and each can read the sums.

One anonymous map of memory, made before the workers are forked. A worker's slot has one writer, so nothing is locked;
eight aligned bytes are written whole on every platform that this runs on, so a reader sees a number from before or
after an addition and never half of one. A worker that is replaced hands its slot to its successor, so no sum ever goes
back.
"""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Shared:
    """`slots` slots, each of `integers` int64 and `floats` float64, all zero."""

    def __init__(self, slots: int, integers: int, floats: int) -> None:
        self.slots = slots
        self._integers, self._floats = integers, floats
        memory = mmap.mmap(-1, max(1, slots * (integers + floats)) * 8)
        whole = memoryview(memory)
        split = slots * integers * 8
        self._int_view = whole[:split].cast("q")
        self._float_view: Any = whole[split : split + slots * floats * 8].cast("d")

    def integers(self, slot: int) -> memoryview:
        """One slot's integers, written by its worker alone."""
        return self._int_view[slot * self._integers : (slot + 1) * self._integers]

    def floats(self, slot: int) -> Any:
        """One slot's floats, written by its worker alone."""
        return self._float_view[slot * self._floats : (slot + 1) * self._floats]

    def integer_sums(self) -> NDArray[np.int64]:
        """The sums over the slots, shape (integers,)."""
        slots = np.frombuffer(self._int_view, dtype=np.int64).reshape(self.slots, self._integers)
        return np.asarray(slots.sum(axis=0), dtype=np.int64)

    def float_sums(self) -> NDArray[np.float64]:
        """The sums over the slots, shape (floats,)."""
        slots = np.frombuffer(self._float_view, dtype=np.float64).reshape(self.slots, self._floats)
        return np.asarray(slots.sum(axis=0), dtype=np.float64)
