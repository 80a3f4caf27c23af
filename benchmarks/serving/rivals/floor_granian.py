"""The bare reply of granian's own interface (RSGI)."""

BODY = b'{"predictions":[0.123456789]}'
HEADERS = [("content-type", "application/json")]


async def app(scope, protocol) -> None:
    await protocol()
    protocol.response_bytes(200, HEADERS, BODY)
