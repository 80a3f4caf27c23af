"""A parsed request, as every protocol produces it."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.serving.http.messages import Response

Array = NDArray[np.float64]


Rows = TypeVar("Rows", bound=Sized)
Predicted = TypeVar("Predicted")


@dataclass(frozen=True, slots=True)
class Job(Generic[Rows, Predicted]):
    """A checked request: its rows as the model takes them, and what writes the response to their predictions.

    Attributes:
        is_slow: whether writing takes longer than the event loop can wait.
    """

    rows: Rows
    write: Callable[[Predicted], Response]
    is_slow: bool = False


class Row(msgspec.Struct, gc=False):
    """A checked request of one row of numbers, and the response's body around the prediction."""

    values: list[float]
    before: bytes
    after: bytes

    def write(self, prediction: float) -> bytes:
        """The body; `repr` of a finite float is JSON, and reads back as the same float."""
        return b"%b%b%b" % (self.before, repr(prediction).encode(), self.after)

    def job(self) -> Job[Array, Array]:
        """The same request in the form of many rows."""
        return Job(np.array([self.values]), lambda prediction: Response(body=self.write(prediction.item())))
