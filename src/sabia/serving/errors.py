"""What can go wrong between a request and its answer.

```
PredictorError
├── LoadFailed               the artifact cannot be served; the process ends, and never listens
└── RequestError             one request cannot be answered
    ├── MalformedRequest         400  no HTTP
    ├── InvalidInput             400  the client's values
    ├── UnknownModel             404
    ├── UnknownVersion           404
    ├── UnknownPath              404
    ├── WrongMethod              405
    ├── UnknownVerb              405
    ├── SlowRequest              408
    ├── BodyTooLarge             413
    ├── UnsupportedMediaType     415
    ├── HeadTooLarge             431
    ├── ModelFailed              500  ours; the sentence tells nothing of the inside
    ├── NotExplainable           501
    ├── NotReady                 503
    ├── Overloaded               503  with Retry-After
    ├── TooManyConnections       503  with Retry-After
    └── DeadlineExceeded         504
```

`STATUS` is the only place where a class meets an HTTP status. Sentences name the field; what a client sent is quoted
shortened, so that no answer grows with its request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from sabia.errors import SabiaError

_QUOTED = 60


def quote(text: object) -> str:
    """What a client sent, short enough to be repeated to them."""
    shown = repr(text)
    return shown if len(shown) <= _QUOTED else f"{shown[:_QUOTED]}…"


class PredictorError(SabiaError):
    """Base of everything this package raises on purpose."""


class LoadFailed(PredictorError):
    """The artifact cannot be served."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Not serving: {reason}")


class RequestError(PredictorError):
    """Base of what one request can meet.

    Attributes:
        headers: what the refusal carries beside its sentence.
    """

    headers: Mapping[str, str] = MappingProxyType({})


class MalformedRequest(RequestError):
    """The bytes are no request of HTTP/1.1, or one that two servers could read in two ways."""

    def __init__(self) -> None:
        super().__init__("The request is not valid HTTP/1.1.")


class SlowRequest(RequestError):
    """The client took too long to send its request."""

    def __init__(self) -> None:
        super().__init__("The request did not arrive in time.")


class HeadTooLarge(RequestError):
    """Target and headers are longer than the configured limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The head of the request is larger than {limit} bytes, or has too many headers.")


class TooManyConnections(RequestError):
    """There is no room for another connection."""

    headers = MappingProxyType({"retry-after": "1"})

    def __init__(self) -> None:
        super().__init__("There are too many connections.")


class Overloaded(RequestError):
    """More calls wait than can be answered in time."""

    headers = MappingProxyType({"retry-after": "1"})

    def __init__(self) -> None:
        super().__init__("Too many calls are waiting; try again later.")


class DeadlineExceeded(RequestError):
    """The answer would come later than it is wanted."""

    def __init__(self) -> None:
        super().__init__("The call took longer than it may.")


class InvalidInput(RequestError):
    """A value of the request is not one the model takes."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}.")


class UnknownModel(RequestError):
    """No model of this name is served here."""

    def __init__(self, name: str) -> None:
        super().__init__(f"No model called {quote(name)} is served here.")


class UnknownVersion(RequestError):
    """The model is served in another version."""

    def __init__(self, asked: str, served: str) -> None:
        super().__init__(f"Version {quote(asked)} is not served here; {served} is.")


class UnknownPath(RequestError):
    """No call has this path."""

    def __init__(self) -> None:
        super().__init__("No call has this path.")


class WrongMethod(RequestError):
    """The path is there, the method is not."""

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        names = tuple(allowed)
        self.headers = {"allow": ", ".join(names)}
        super().__init__(f"{quote(method)} is not allowed here; use {' or '.join(names)}.")


class UnknownVerb(RequestError):
    """A V1 path ends in a verb that is not one."""

    def __init__(self, verb: str) -> None:
        super().__init__(f"{quote(':' + verb)} is not a verb of the protocol; use :predict or :explain.")


class BodyTooLarge(RequestError):
    """The body is longer than the configured limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes; send fewer rows per call.")


class UnsupportedMediaType(RequestError):
    """The body is in a form that this call does not read."""

    def __init__(self, header: str, value: str, expected: str) -> None:
        super().__init__(f"{header} {quote(value)} is not supported; send {expected}.")


class NotExplainable(RequestError):
    """These methods have no contributions to give."""

    def __init__(self) -> None:
        super().__init__("This version's methods cannot be explained by contributions; linear ones can.")


class NotReady(RequestError):
    """The model cannot answer now."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Model {quote(name)} is not ready.")


class ModelFailed(RequestError):
    """The model could not answer valid input."""

    def __init__(self) -> None:
        super().__init__("The model failed on this request; the server's log says why.")


STATUS: dict[type[RequestError], int] = {
    MalformedRequest: 400,
    InvalidInput: 400,
    UnknownModel: 404,
    UnknownVersion: 404,
    UnknownPath: 404,
    WrongMethod: 405,
    UnknownVerb: 405,
    SlowRequest: 408,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    HeadTooLarge: 431,
    ModelFailed: 500,
    NotExplainable: 501,
    NotReady: 503,
    Overloaded: 503,
    TooManyConnections: 503,
    DeadlineExceeded: 504,
}


def status_of(error: RequestError) -> int:
    """The HTTP status of a refusal."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
