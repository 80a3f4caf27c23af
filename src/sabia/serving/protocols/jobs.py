"""What every protocol makes of a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from sabia.serving.http.messages import Response

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Job:
    """A call, checked: rows of shape (rows, columns), and how to answer it once they are decided."""

    rows: Array
    write: Callable[[Array], Response]


class Row(msgspec.Struct, gc=False):
    """A call of one row of numbers, checked, and the answer's body around the prediction."""

    values: list[float]
    before: bytes
    after: bytes

    def write(self, prediction: float) -> bytes:
        """The body; `repr` of a finite float is JSON, and reads back as the same float."""
        return b"%b%b%b" % (self.before, repr(prediction).encode(), self.after)

    def job(self) -> Job:
        """The same call in the form that calls of many rows have."""
        return Job(np.array([self.values]), lambda prediction: Response(body=self.write(prediction.item())))
