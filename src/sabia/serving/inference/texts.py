"""Texts that are likely to come, as the categories of an input are, found by their UTF-8.

They need not be made again, which takes twice the time, and a thousand rows have few objects: the inference log holds
rows for seconds, and memory that is new is slow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Objects = NDArray[Any]
Keys = NDArray[np.uint64]

# Values up to this length are compared as integers of eight bytes.
LONGEST_KEY = 8


class Texts:
    """Some texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = {text.encode(): text for text in texts}
        by_length: dict[int, dict[bytes, str]] = defaultdict(dict)
        for value, text in self._texts.items():
            if len(value) <= LONGEST_KEY:
                by_length[len(value)][value] = text
        self._short = {length: _sorted(length, values) for length, values in by_length.items()}

    def find(self, values: list[bytes]) -> Objects | None:
        """The texts of values; None if one is not known."""
        try:
            return _objects([self._texts[value] for value in values])
        except KeyError:
            return None

    def find_equally_long(self, values: NDArray[np.uint8]) -> Objects | None:
        """The texts of values of shape (values, length), at most `LONGEST_KEY` long; None if one is not known."""
        short = self._short.get(values.shape[1])
        if short is None:
            return None
        keys, texts = short
        wanted = _keys(values)
        places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return texts[places] if (keys[places] == wanted).all() else None


def _sorted(length: int, values: dict[bytes, str]) -> tuple[Keys, Objects]:
    """The keys of values of one length, ascending, and their texts."""
    keys = _keys(np.frombuffer(b"".join(values), np.uint8).reshape(len(values), length))
    order = np.argsort(keys)
    return keys[order], _objects(list(values.values()))[order]


def _keys(values: NDArray[np.uint8]) -> Keys:
    """An integer for each value of shape (values, length)."""
    padded = np.zeros((len(values), LONGEST_KEY), np.uint8)
    padded[:, : values.shape[1]] = values
    return padded.view(np.uint64).ravel()


def _objects(values: list[Any]) -> Objects:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column
