"""What a connection may cost."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one server process.

    Attributes:
        body_bytes: a larger body gets a 413.
        held_bytes: when the bodies that have arrived and are not answered are more, the next bytes get a 503.
        small_bytes: bodies up to this size are read even then: a client that sends large ones slowly stops no other.
        head_bytes: a longer head (or trailer, or extension of a chunk) gets a 431.
        headers: with more of them a head gets a 431.
        connections: past this count, one that does nothing is closed for each new one: it has been refused and lingers,
            or is idle, or has begun a request and lets it wait, in this order, the longest first. When all are being
            answered, the new one gets a 503.
        read_seconds: how long a client may take for a head and its body, and to read its response.
        idle_seconds: how long a connection may wait between requests. Longer than proxies keep their idle connections
            (Envoy an hour, by default): where the server is the one that closes, a proxy sends a request
            into the closing and its client gets a 503. When connections run out, idle ones go first.
        dropped_bytes: bytes discarded of a client that has been refused and still sends.
    """

    body_bytes: int = 4 * MEBIBYTE
    held_bytes: int = 64 * MEBIBYTE
    small_bytes: int = 16 * 1024
    head_bytes: int = 32 * 1024
    headers: int = 100
    connections: int = 8192
    read_seconds: float = 20.0
    idle_seconds: float = 3900.0
    dropped_bytes: int = 64 * MEBIBYTE
