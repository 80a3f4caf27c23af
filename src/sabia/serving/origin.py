"""How a request for a version came: by the weights, by a pin, or as a mirrored copy.

Only the first are compared with another version's, so no client may choose. A pin says nothing unless it names this
version: a request that names another is refused, or it would be answered by whichever version the weights chose. The
mark of a mirrored copy is the gateway's, and is believed only where nothing but a gateway reaches the server.
"""

from __future__ import annotations

from sabia.contract.names import MIRROR, MIRROR_HOST_SUFFIX, PIN, PIN_HEADER, baseline
from sabia.serving.errors import UnknownVersion
from sabia.serving.http.messages import Request

_PIN_HEADER, _MIRROR_SUFFIX = PIN_HEADER.encode(), MIRROR_HOST_SUFFIX.encode()


class Origin:
    """Finds out how the requests for one version came.

    Args:
        version: that is served.
        behind_gateway: whether only a gateway reaches the server.
    """

    def __init__(self, version: str, *, behind_gateway: bool) -> None:
        self._version = version
        # The baseline is a second copy of the same version, which its servers do not know.
        self._pins = frozenset(name.encode() for name in (version, baseline(version)))
        self._behind_gateway = behind_gateway

    def assign(self, request: Request) -> None:
        """Set the request's route.

        Raises:
            UnknownVersion: it is pinned to another version.
        """
        pinned = request.headers.get(_PIN_HEADER)
        if pinned is not None:
            request.route = PIN
            if pinned not in self._pins:
                raise UnknownVersion(pinned.decode("latin-1"), self._version)
        elif self._behind_gateway and _is_mirrored(request.headers.get(b"host", b"")):
            request.route = MIRROR


def _is_mirrored(host: bytes) -> bool:
    """Whether Envoy marked it: the mark is at the end of the name, before the port if there is one."""
    return host.endswith(_MIRROR_SUFFIX) or host.rpartition(b":")[0].endswith(_MIRROR_SUFFIX)
