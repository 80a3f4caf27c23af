"""The id of a request: its client's or a gateway's, else one made here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import count

from sabia.contract.names import REQUEST_ID_HEADER

HEADER = REQUEST_ID_HEADER.encode()
LINE = HEADER + b": %b\r\n"
# Visible characters, few enough for the log.
_FIT = re.compile(rb"[!-~]{1,128}")


def maker() -> Callable[[bytes | None], bytes]:
    """A function of the header's value: returns it when it is a valid id, else an id that no other process makes: a
    random prefix, and a number.
    """
    prefix, numbers = os.urandom(8).hex().encode(), count()

    def request_id(given: bytes | None) -> bytes:
        if given is not None and _FIT.fullmatch(given):
            return given
        return b"%b-%x" % (prefix, next(numbers))

    return request_id
