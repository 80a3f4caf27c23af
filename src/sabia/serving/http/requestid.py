"""What a call is known by: the id that its client, or a gateway, gave it; else one made here."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import count

from sabia.contract.names import REQUEST_ID_HEADER

HEADER = REQUEST_ID_HEADER.encode()
LINE = HEADER + b": %b\r\n"
# Visible characters, and not so many that they would be a load to the log.
_FIT = re.compile(rb"[!-~]{1,128}")


def maker() -> Callable[[bytes | None], bytes]:
    """Takes what the header says, and gives it back if it is fit to be an id, or makes an id that no other process
    makes: a random prefix, and a number.
    """
    prefix, numbers = os.urandom(8).hex().encode(), count()

    def request_id(given: bytes | None) -> bytes:
        if given is not None and _FIT.fullmatch(given):
            return given
        return b"%b-%x" % (prefix, next(numbers))

    return request_id
