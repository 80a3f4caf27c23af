"""Counts by input, of a page that stays short for a model of many.

A model of at most `LISTED` inputs has a count for each. A wider one has a count for each of the first `LISTED` inputs
that a worker counts at all, and one for all others together. An input keeps its count once it has one, so no count ever
goes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

LISTED = 100

Counts = NDArray[np.int64]


class InputCounts:
    """One kind of count.

    Args:
        inputs: every input of the model, in the order of the counts.
        counted: which of them can be counted at all.

    Attributes:
        size: the integers that it needs in a slot.
    """

    def __init__(self, inputs: Sequence[str], counted: Sequence[bool]) -> None:
        self._names = [name for name, each in zip(inputs, counted, strict=True) if each]
        self._places = np.flatnonzero(counted)
        self._wide = len(self._names) > LISTED
        # Of a wide model: the listed inputs, their counts, and that of the others.
        self.size = 2 * LISTED + 1 if self._wide else len(self._names)
        self.use(np.zeros(self.size, dtype=np.int64))

    def __bool__(self) -> bool:
        return bool(self._names)

    def use(self, part: Counts) -> None:
        """Count in this part of a slot, shape (size,), from now on."""
        self._part = part
        self._listed = dict(_listed(part)) if self._wide else {}

    def add(self, counts: Counts) -> None:
        """Add the counts of all inputs, shape (inputs,)."""
        own = counts[self._places] if len(self._places) < len(counts) else counts
        if not self._wide:
            self._part += own
            return
        for which in np.flatnonzero(own).tolist():
            self._part[self._at(which)] += own[which]

    def _at(self, which: int) -> int:
        """Where an input is counted."""
        at = self._listed.get(which)
        if at is None and len(self._listed) < LISTED:
            place = len(self._listed)
            self._part[place] = which + 1  # before it has a count: a reader may come between
            at = self._listed[which] = LISTED + place
        return 2 * LISTED if at is None else at

    def sums(self, parts: Iterable[Counts]) -> Iterator[tuple[str, int]]:
        """The sums over slots, by input; of a wide model those that were counted, and the others as ""."""
        if not self._wide:
            yield from zip(self._names, map(int, np.sum(list(parts), axis=0)), strict=True)
            return
        sums: dict[int, int] = {}
        others = 0
        for part in parts:
            others += int(part[2 * LISTED])
            for which, at in _listed(part):
                sums[which] = sums.get(which, 0) + int(part[at])
        yield from ((self._names[which], count) for which, count in sorted(sums.items()))
        yield "", others


def _listed(part: Counts) -> Iterator[tuple[int, int]]:
    """The inputs that have a count of their own in a part of a slot, and where that is."""
    for place, which in enumerate(part[:LISTED].tolist()):
        if which:
            yield which - 1, LISTED + place
