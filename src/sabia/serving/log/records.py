"""Records in memory: a block of columns, filled some rows at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sabia.serving.log.values import Values

Array = NDArray[np.float64]

_BLOCK_BYTES = 256 * 1024
# Longer request ids are kept apart. Those that are made here are shorter, and UUIDs are as long.
ID_BYTES = 36
# A record's values beside inputs and predictions.
_BESIDE = {
    "arrived": "f8",  # seconds since 1970
    "seconds": "f8",  # how long it took
    "row": "i4",  # its place in its request
    "status": "i2",
    "route": "i2",  # the route's number
    "id": f"S{ID_BYTES}",  # the request's
}
_BESIDE_BYTES = sum(np.dtype(kind).itemsize for kind in _BESIDE.values())
_TYPED_ROWS = 2048


class Rows(Protocol):
    """Rows and their predictions."""

    def __len__(self) -> int:
        """The number of rows."""

    def take(self, places: Sequence[int]) -> Self:
        """The rows at these places."""

    def part(self, rows: slice) -> Self:
        """Some of the rows; nothing is copied."""


Kept = TypeVar("Kept", bound=Rows)


@dataclass(frozen=True, slots=True)
class Scalars:
    """Rows of floats, shape (rows, columns), and one predicted number for each, shape (rows,)."""

    features: Array
    prediction: Array

    def __len__(self) -> int:
        return len(self.features)

    def take(self, places: Sequence[int]) -> Self:
        """The rows at these places."""
        return type(self)(self.features[places], self.prediction[places])

    def part(self, rows: slice) -> Self:
        """Some of the rows; nothing is copied."""
        return type(self)(self.features[rows], self.prediction[rows])


class Records(ABC, Generic[Kept]):
    """Some records of one version.

    Args:
        capacity: how many records fit.

    Attributes:
        nbytes: memory in bytes, without long ids and error responses.
        long_ids: the request ids that are longer than `ID_BYTES`, by the record's place.
        errors: bodies of error responses, by the record's place.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.nbytes = capacity * _BESIDE_BYTES
        self._beside = {name: np.empty(capacity, kind) for name, kind in _BESIDE.items()}
        self._count = 0
        self.long_ids: dict[int, bytes] = {}
        self.errors: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def full(self) -> bool:
        """Whether there is no room for another record."""
        return self._count == self._capacity

    def column(self, name: str) -> NDArray[Any]:
        """A value of the records beside inputs and predictions, shape (records,)."""
        return self._beside[name][: self._count]

    def add(
        self,
        ids: bytes | Sequence[bytes],
        rows: Kept,
        arrived: Array,
        seconds: Array,
        places: NDArray[np.int64],
        route: int,
    ) -> int:
        """Keep the first rows, as many as there is room for, and return how many.

        `ids` is their request's, or one for each. Of shape (rows,) are when each `arrived`, how many `seconds` it took,
        and its place in its request. `route` is the route's number.
        """
        start = self._count
        count = min(len(rows), self._capacity - start)
        part = slice(start, start + count)
        beside = self._beside
        self._keep(part, rows.part(slice(count)))
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
        values = (arrived, seconds, 0, status, route, request_id)
        for name, value in zip(_BESIDE, values, strict=True):
            self._beside[name][at] = value
        self._keep_nothing(at)
        if len(request_id) > ID_BYTES:
            self.long_ids[at] = request_id
        self.errors[at] = body
        self._count = at + 1

    @abstractmethod
    def _keep(self, part: slice, rows: Kept) -> None:
        """Keep rows and predictions as the records of `part`."""

    @abstractmethod
    def _keep_nothing(self, at: int) -> None:
        """Keep no values as the record at this place."""


class Block(Records[Scalars]):
    """Some records of a version of a scalar signature; at least one fits.

    Args:
        width: how many features a row has.
    """

    def __init__(self, width: int) -> None:
        size = 8 * (width + 1)
        super().__init__(max(1, _BLOCK_BYTES // (size + _BESIDE_BYTES)))
        self.nbytes += self._capacity * size
        self._features = np.empty((self._capacity, width))
        self._prediction = np.empty(self._capacity)

    @property
    def features(self) -> Array:
        """The rows, shape (records, width)."""
        return self._features[: self._count]

    @property
    def prediction(self) -> Array:
        """Shape (records,)."""
        return self._prediction[: self._count]

    def _keep(self, part: slice, rows: Scalars) -> None:
        self._features[part] = rows.features
        self._prediction[part] = rows.prediction

    def _keep_nothing(self, at: int) -> None:
        self._features[at] = self._prediction[at] = 0.0


class TypedBlock(Records[Values]):
    """Some records of a version of any other signature.

    Attributes:
        values: of the records without an error, in their order.
    """

    def __init__(self) -> None:
        super().__init__(_TYPED_ROWS)
        self.values: list[Values] = []
        self._beside_bytes = self.nbytes

    @property
    def full(self) -> bool:
        """Whether there is no room for another record."""
        return super().full or self.nbytes - self._beside_bytes > _BLOCK_BYTES

    def _keep(self, part: slice, rows: Values) -> None:
        del part
        self.values.append(rows)
        self.nbytes += rows.nbytes

    def _keep_nothing(self, at: int) -> None:
        """Records with an error are those without a value."""
