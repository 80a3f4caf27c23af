"""Accepts connections from a socket that several processes share, so that each process gets an even part.

The system wakes all of them for a new connection, and the quickest process gets it, which is mostly the same one. Here
a process that has more connections than another waits some milliseconds, and accepts what is still there then: the
parts become even, and no connection waits for a process that hangs.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from sabia.serving.http.connection import Connection
from sabia.serving.http.pool import ConnectionPool

_COURTESY_SECONDS = 0.003


class Acceptor:
    """Accepts connections for one process.

    Args:
        pool: gets the connections.
        listener: the shared socket.
        least: returns the connection count of the process that has the fewest.
    """

    def __init__(self, pool: ConnectionPool, listener: socket.socket, least: Callable[[], int]) -> None:
        self._pool, self._listener, self._least = pool, listener, least
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False
        listener.setblocking(False)
        self._loop.add_reader(listener, self._woken)

    def close(self) -> None:
        """Accept no more."""
        self._closed = True
        self._loop.remove_reader(self._listener)

    def _woken(self) -> None:
        if len(self._pool.connections) <= self._least():
            self._take()
            return
        self._loop.remove_reader(self._listener)
        self._loop.call_later(_COURTESY_SECONDS, self._take_late)

    def _take_late(self) -> None:
        if not self._closed:
            self._take()
            self._loop.add_reader(self._listener, self._woken)

    def _take(self) -> None:
        try:
            client, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # another process accepted it, or the client left
        client.setblocking(False)
        task = self._loop.create_task(self._loop.connect_accepted_socket(partial(Connection, self._pool), client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
