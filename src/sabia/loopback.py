"""Addresses of this machine are reached without a proxy, even where the environment sets one."""

from __future__ import annotations

from collections.abc import MutableMapping

# As names and as a block: some libraries know no blocks, and some compare text.
OWN = ("localhost", "127.0.0.1", "::1", "127.0.0.0/8")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_EXEMPT = ("NO_PROXY", "no_proxy")


def exempt_loopback(environment: MutableMapping[str, str]) -> None:
    """Add this machine's own addresses to `NO_PROXY`, where a proxy is set.

    A proxy takes 127.0.0.1 for its own machine, so no request to this one can want it. Every library here reads the
    variable, some in capitals and some in small letters, and so does every process that is started; other hosts go to
    the proxy as before.

    Args:
        environment: the variables; changed in place.
    """
    if not any(environment.get(name) or environment.get(name.upper()) for name in _PROXIES):
        return
    given = [part.strip() for name in _EXEMPT for part in environment.get(name, "").split(",")]
    # "*" alone exempts every host; in a list it is a name like others.
    exempt = "*" if "*" in given else ",".join(dict.fromkeys([*filter(None, given), *OWN]))
    for name in _EXEMPT:
        environment[name] = exempt
