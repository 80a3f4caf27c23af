"""KServe's own client, for the tests that ask a server as its users do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from kserve import InferenceRESTClient
from kserve.inference_client import RESTConfig


def with_client(protocol: str, call: Callable[[Any], Awaitable[Any]]) -> Any:
    """The result of a call of KServe's own client."""

    async def run() -> Any:
        async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0)) as client:
            return await call(client)

    return asyncio.run(run())
