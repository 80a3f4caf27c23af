"""The bare reply of our own connections: `floor_ours.py PORT`."""

import asyncio
import sys
from functools import partial

import uvloop

from sabia.contract.names import PIN_HEADER
from sabia.serving.http.connection import Connection
from sabia.serving.http.limits import Limits
from sabia.serving.http.messages import Request, Response
from sabia.serving.http.pool import ConnectionPool

BODY = b'{"predictions":[0.123456789]}'


def respond(request: Request) -> Response:
    """Always the same."""
    del request
    return Response(body=BODY)


async def main() -> None:
    """Serve until killed."""
    pool = ConnectionPool(
        respond,
        Limits(),
        {PIN_HEADER: "2.0"},
        on_refusal=lambda reason: None,
        on_count=lambda count: None,
        on_sweep=lambda: None,
    )
    pool.start()
    server = await asyncio.get_running_loop().create_server(partial(Connection, pool), "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
