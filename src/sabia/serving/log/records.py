"""Records in memory: a block of columns, filled some rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_BLOCK_BYTES = 256 * 1024
# Longer request ids are kept apart. Those that are made here are shorter, and UUIDs are as long.
ID_BYTES = 36
# A record's values beside the features.
_BESIDE = {
    "prediction": "f8",
    "arrived": "f8",  # seconds since 1970
    "seconds": "f8",  # how long it took
    "row": "i4",  # its place in its request
    "status": "i2",
    "route": "i2",  # the route's number
    "id": f"S{ID_BYTES}",  # the request's
}
_BESIDE_BYTES = sum(np.dtype(kind).itemsize for kind in _BESIDE.values())


class Block:
    """Some records of one version; at least one fits.

    Args:
        width: how many features a row has.

    Attributes:
        nbytes: memory in bytes, without long ids and error responses.
        long_ids: the request ids that are longer than `ID_BYTES`, by the record's place.
        errors: bodies of error responses, by the record's place.
    """

    def __init__(self, width: int) -> None:
        size = 8 * width + _BESIDE_BYTES
        self._capacity = max(1, _BLOCK_BYTES // size)
        self.nbytes = self._capacity * size
        self._features = np.empty((self._capacity, width))
        self._beside = {name: np.empty(self._capacity, kind) for name, kind in _BESIDE.items()}
        self._count = 0
        self.long_ids: dict[int, bytes] = {}
        self.errors: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether there is no room for another record."""
        return self._count == self._capacity

    @property
    def features(self) -> Array:
        """The rows, shape (records, width)."""
        return self._features[: self._count]

    def column(self, name: str) -> NDArray[Any]:
        """Another value of the records, shape (records,)."""
        return self._beside[name][: self._count]

    def add(
        self,
        ids: bytes | Sequence[bytes],
        rows: Array,
        prediction: Array,
        arrived: Array,
        seconds: Array,
        places: NDArray[np.int64],
        route: int,
    ) -> int:
        """Keep the first rows of shape (rows, width), as many as there is room for, and return how many.

        `ids` is their request's, or one for each. Of shape (rows,) are `prediction`, when each `arrived`, how many
        `seconds` it took, and its place in its request. `route` is the route's number.
        """
        start = self._count
        count = min(len(rows), self._capacity - start)
        part = slice(start, start + count)
        beside = self._beside
        self._features[part] = rows[:count]
        beside["prediction"][part] = prediction[:count]
        beside["arrived"][part], beside["seconds"][part] = arrived[:count], seconds[:count]
        beside["row"][part] = places[:count]
        beside["status"][part], beside["route"][part] = 200, route
        if isinstance(ids, bytes):
            beside["id"][part] = ids
            if len(ids) > ID_BYTES:
                self.long_ids |= dict.fromkeys(range(start, start + count), ids)
        else:
            beside["id"][part] = ids[:count]
            if max(map(len, ids)) > ID_BYTES:
                long = ((at, each) for at, each in enumerate(ids[:count], start) if len(each) > ID_BYTES)
                self.long_ids.update(long)
        self._count += count
        return count

    def add_error(
        self, request_id: bytes, status: int, body: bytes, arrived: float, seconds: float, route: int
    ) -> None:
        """Keep a request that got an error response, and the body of it."""
        at = self._count
        values = (0.0, arrived, seconds, 0, status, route, request_id)
        for name, value in zip(_BESIDE, values, strict=True):
            self._beside[name][at] = value
        self._features[at] = 0.0
        if len(request_id) > ID_BYTES:
            self.long_ids[at] = request_id
        self.errors[at] = body
        self._count = at + 1
