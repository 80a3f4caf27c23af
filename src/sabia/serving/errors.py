"""What can go wrong between a request and its response.

`LoadFailed`: the artifact cannot be served; the process ends and never listens. `InvalidSetting`: neither can these
settings. `RequestError`: one request cannot be
answered; its class carries the HTTP and the gRPC status, so that a new error cannot be forgotten in a table elsewhere.

Messages name the field. What a client sent is quoted shortened, so that no response grows with its request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import ClassVar

from sabia.errors import SabiaError
from sabia.serving.seldom import Seldom

logger = logging.getLogger("sabia.predictor")
_unforeseen = Seldom(logger)

_QUOTED = 60


def quote(text: object) -> str:
    """What a client sent, shortened."""
    shown = repr(text)
    return shown if len(shown) <= _QUOTED else f"{shown[:_QUOTED]}…"


class LoadFailed(SabiaError):
    """The artifact cannot be served."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Not serving: {reason}")


class InvalidSetting(SabiaError):
    """A setting is unknown or out of bounds."""

    exit_code = 2

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}.")


class RequestError(SabiaError):
    """Base of what one request can meet.

    Attributes:
        http_status: status of the error response.
        grpc_status: name of the gRPC status code that means the same.
        headers: of the error response, beside those of every response.
    """

    http_status: ClassVar[int]
    grpc_status: ClassVar[str]
    headers: Mapping[str, str] = MappingProxyType({})


def as_request_error(error: BaseException) -> RequestError:
    """The error that the client gets; anything unexpected is logged, and the client gets `ModelFailed`."""
    if isinstance(error, RequestError):
        return error
    logger.error("a request failed", exc_info=error)
    return ModelFailed()


def as_client_error(error: Exception) -> RequestError:
    """The error for a request that could not be parsed: its client's, whatever the parser met.

    Nothing was asked of the model yet, so it cannot have failed. An error that no parser foresaw is logged in one line,
    and seldom: a client must not be able to fill the log.
    """
    if isinstance(error, RequestError):
        return error
    _unforeseen.warning("a request could not be parsed: %s: %s", type(error).__name__, str(error)[:200])
    return InvalidInput("The request", "cannot be read")


class MalformedRequest(RequestError):
    """The bytes are not a request of HTTP/1.1, or one that two servers could parse in two ways."""

    http_status, grpc_status = 400, "INVALID_ARGUMENT"

    def __init__(self) -> None:
        super().__init__("The request is not valid HTTP/1.1.")


class UnknownTransferCoding(RequestError):
    """The body is transferred in a coding that this server does not know; RFC 9112, 6.1, has the status."""

    http_status, grpc_status = 501, "UNIMPLEMENTED"

    def __init__(self) -> None:
        super().__init__("Only the transfer coding chunked is known here.")


class UnknownExpectation(RequestError):
    """The client expects something else than 100-continue."""

    http_status, grpc_status = 417, "UNIMPLEMENTED"

    def __init__(self) -> None:
        super().__init__("Only the expectation 100-continue is known here.")


class SlowRequest(RequestError):
    """The client took too long to send its request."""

    http_status, grpc_status = 408, "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("The request did not arrive in time.")


class HeadTooLarge(RequestError):
    """Target and headers are longer than the configured limit."""

    http_status, grpc_status = 431, "RESOURCE_EXHAUSTED"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The head of the request is larger than {limit} bytes, or has too many headers.")


class TooManyConnections(RequestError):
    """There is no room for another connection."""

    http_status, grpc_status = 503, "UNAVAILABLE"
    headers = MappingProxyType({"retry-after": "1"})

    def __init__(self) -> None:
        super().__init__("There are too many connections.")


class Overloaded(RequestError):
    """More requests wait than can be answered in time."""

    http_status, grpc_status = 503, "UNAVAILABLE"
    headers = MappingProxyType({"retry-after": "1"})

    def __init__(self) -> None:
        super().__init__("Too many calls are waiting; try again later.")


class DeadlineExceeded(RequestError):
    """The response would come after the deadline."""

    http_status, grpc_status = 504, "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("The call took longer than it may.")


class ClientDeadlineExceeded(RequestError):
    """The response would come after the deadline that the client chose, which is earlier than the server's."""

    http_status, grpc_status = 408, "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("The call took longer than its client allows.")


class InvalidInput(RequestError):
    """A value of the request is not one the model takes."""

    http_status, grpc_status = 400, "INVALID_ARGUMENT"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}.")


class UnknownModel(RequestError):
    """No model of this name is served here."""

    http_status, grpc_status = 404, "NOT_FOUND"

    def __init__(self, name: str) -> None:
        super().__init__(f"No model called {quote(name)} is served here.")


class UnknownVersion(RequestError):
    """The model is served in another version."""

    http_status, grpc_status = 404, "NOT_FOUND"

    def __init__(self, asked: str, served: str) -> None:
        super().__init__(f"Version {quote(asked)} is not served here; {served} is.")


class UnknownPath(RequestError):
    """No route has this path."""

    http_status, grpc_status = 404, "NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("No call has this path.")


class WrongMethod(RequestError):
    """The path does not take this method."""

    http_status, grpc_status = 405, "UNIMPLEMENTED"

    def __init__(self, method: str, allowed: Iterable[str]) -> None:
        names = tuple(allowed)
        self.headers = {"allow": ", ".join(names)}
        super().__init__(f"{quote(method)} is not allowed here; use {' or '.join(names)}.")


class UnknownVerb(RequestError):
    """A V1 path ends in an unknown verb."""

    http_status, grpc_status = 405, "UNIMPLEMENTED"

    def __init__(self, verb: str) -> None:
        super().__init__(f"{quote(':' + verb)} is not a verb of the protocol; use :predict or :explain.")


class BodyTooLarge(RequestError):
    """The body is longer than the configured limit."""

    http_status, grpc_status = 413, "RESOURCE_EXHAUSTED"

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes; send fewer rows per call.")


class UnsupportedMediaType(RequestError):
    """The body has a form that this path does not take."""

    http_status, grpc_status = 415, "INVALID_ARGUMENT"

    def __init__(self, header: str, value: str, expected: str) -> None:
        super().__init__(f"{header} {quote(value)} is not supported; send {expected}.")


class Unsupported(RequestError):
    """The version has no such operation, which says nothing of its predictions: counted apart, and never compared."""

    http_status, grpc_status = 405, "UNIMPLEMENTED"


class NotImplementedHere(Unsupported):
    """The model's own code does not implement what was asked."""

    def __init__(self) -> None:
        super().__init__("The model does not implement this.")


class NotExplainable(Unsupported):
    """These methods have no contributions to give.

    Attributes:
        reason: a clause that says why.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"This version cannot be explained: {reason}.")


class NotReady(RequestError):
    """The model cannot predict now."""

    http_status, grpc_status = 503, "UNAVAILABLE"

    def __init__(self, name: str) -> None:
        super().__init__(f"Model {quote(name)} is not ready.")


class ModelFailed(RequestError):
    """The model failed on valid input."""

    http_status, grpc_status = 500, "INTERNAL"

    def __init__(self) -> None:
        super().__init__("The model failed on this request; the server's log says why.")


_GRPC_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class ModelRefused(RequestError):
    """A team's own code refused a request; an instance carries the status that the code chose."""

    http_status, grpc_status = 400, "INVALID_ARGUMENT"

    def __init__(self, status: int, reason: str) -> None:
        vars(self).update(http_status=status, grpc_status=_GRPC_STATUSES.get(status, "INTERNAL"))
        super().__init__(reason)
