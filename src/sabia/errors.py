"""The base of every error that Sabiá raises on purpose.

A message is one sentence built from facts; it names keys, versions and fields, never credentials, request bodies or
paths of the machine. The exit code stands on the class, so that a new error cannot be forgotten in a list elsewhere.
"""

from __future__ import annotations


class SabiaError(Exception):
    """An expected failure.

    Attributes:
        exit_code: what `sabia` exits with: 1 the command failed, 2 the command line is wrong, 3 a model, version,
            alias, route or key does not exist, 4 stored data is not what was published, 5 a store, a stack or a
            cluster is unavailable.
    """

    exit_code: int = 1
