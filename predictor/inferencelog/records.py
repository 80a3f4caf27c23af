"""Records in memory: one after another in a block of bytes, as cheap to write as a call can afford.

A row's numbers are packed where they will be read from as an array, so a record costs half a microsecond and leaves no
object behind.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from time import time

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Request id, features, prediction, seconds that it took, route.
Keep = Callable[[bytes, Sequence[float], float, float, str], None]

_BLOCK_BYTES = 256 * 1024
# A request id that is longer is kept apart. Those that are made here are shorter, and UUIDs are as long.
ID_BYTES = 36
# A record's values beside the features, in their order.
_BESIDE = (
    ("prediction", "f8"),
    ("answered", "f8"),  # seconds since 1970
    ("seconds", "f8"),  # how long it took
    ("row", "i4"),  # its place in its request
    ("status", "i2"),
    ("route", "i2"),  # the route's number
    ("id", f"S{ID_BYTES}"),  # the request's
)


class Block:
    """Some records of one version; at least one fits.

    Args:
        width: how many features a row has.

    Attributes:
        long_ids: the request ids that are longer than `ID_BYTES`, by the record's place.
        refusals: the bodies that refused requests were answered, by the record's place.
    """

    def __init__(self, width: int) -> None:
        packed = struct.Struct(f"={width}ddddihh{ID_BYTES}s")
        self._pack, self._size = packed.pack_into, packed.size
        self._capacity = max(1, _BLOCK_BYTES // self._size)
        self._memory = bytearray(self._capacity * self._size)
        self._count = 0
        self.long_ids: dict[int, bytes] = {}
        self.refusals: dict[int, bytes] = {}
        self._dtype = np.dtype([("features", "f8", (width,)), *_BESIDE])
        self._nothing = [0.0] * width

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether there is no room for another record."""
        return self._count == self._capacity

    @property
    def nbytes(self) -> int:
        """How much memory it takes, but for long ids and refusals."""
        return len(self._memory)

    def keeper(self, numbers: Mapping[str, int], on_full: Callable[[], None]) -> Keep:
        """A function that keeps one row, in as few steps as that can be.

        Args:
            numbers: the numbers of the routes.
            on_full: says that another block is wanted.
        """
        pack, memory, size, capacity = self._pack, self._memory, self._size, self._capacity

        def keep(request_id: bytes, values: Sequence[float], prediction: float, seconds: float, route: str) -> None:
            at = self._count
            pack(memory, at * size, *values, prediction, time(), seconds, 0, 200, numbers[route], request_id)
            if len(request_id) > ID_BYTES:
                self.long_ids[at] = request_id
            self._count = at + 1
            if self._count == capacity:
                on_full()

        return keep

    def add_many(
        self, request_id: bytes, first: int, rows: Array, prediction: Array, seconds: float, route: int
    ) -> int:
        """Keep what there is room for of rows of shape (rows, width), from place `first` of their request on.

        Returns:
            how many were kept.
        """
        start = self._count
        count = min(len(rows) - first, self._capacity - start)
        part = self._whole()[start : start + count]
        part["features"], part["prediction"] = rows[first : first + count], prediction[first : first + count]
        part["answered"], part["seconds"], part["status"], part["route"] = time(), seconds, 200, route
        part["row"], part["id"] = np.arange(first, first + count), request_id
        if len(request_id) > ID_BYTES:
            self.long_ids |= dict.fromkeys(range(start, start + count), request_id)
        self._count += count
        return count

    def add_refused(self, request_id: bytes, status: int, body: bytes, seconds: float, route: int) -> None:
        """Keep a request that was refused, and the body that it was answered."""
        at = self._count
        self._pack(self._memory, at * self._size, *self._nothing, 0.0, time(), seconds, 0, status, route, request_id)
        if len(request_id) > ID_BYTES:
            self.long_ids[at] = request_id
        self.refusals[at] = body
        self._count = at + 1

    @property
    def records(self) -> NDArray[np.void]:
        """The records as a structured array over the same memory, shape (records,)."""
        return self._whole()[: self._count]

    def _whole(self) -> NDArray[np.void]:
        return np.frombuffer(self._memory, dtype=self._dtype)
