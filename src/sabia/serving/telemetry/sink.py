"""What the server needs of a recorder and an inference log. The log itself needs pyarrow, which a server may lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sabia.contract.signature import Signature
from sabia.serving.http.messages import Request, Response

Array = NDArray[np.float64]


class Log(Protocol):
    """An inference log; everything but `kept` and `close` is called on the event loop and never blocks."""

    def start(self) -> None:
        """Begin to write."""

    def tick(self) -> None:
        """Hand over what has waited long enough; called about twice a second."""

    def close(self, seconds: float) -> None:
        """Write what there is, within this time. Blocks."""

    def samples(self, request_id: bytes) -> bool:
        """Whether a request of this id is logged."""

    def kept(self, rows: Any, prediction: Any, /) -> Any:
        """What the log keeps of rows and predictions, both as the model has them; callable from any thread."""

    def singles(self, ids: Sequence[bytes], rows: Any, started: Array, seconds: Array, route: str) -> None:
        """Keep the rows, as `kept` returns them, of some requests of one row each; the rest has the shape (rows,)."""

    def many(self, request_id: bytes, rows: Any, seconds: float, route: str) -> None:
        """Keep the rows of one request, as `kept` returns them."""

    def error(self, request_id: bytes, status: int, body: bytes, seconds: float, route: str) -> None:
        """Keep a request that got an error response."""


class Records(Protocol):
    """Records the responses of one version, on the event loop.

    Attributes:
        log: gets every request and its response; None without an inference log.
    """

    log: Log | None

    def record(self, response: Response, request: Request) -> None:
        """Record a response that is about to be sent."""

    def flush(self) -> None:
        """Record what waits."""


class Described(Protocol):
    """What metrics and the log need to know of what is served.

    Attributes:
        content_digest: of the version's files; empty where code is served.
    """

    name: str
    version: str
    content_digest: str

    @property
    def names(self) -> tuple[str, ...]:
        """The inputs that are counted and logged."""

    @property
    def signature(self) -> Signature:
        """The inputs, the outputs and the bins."""
