"""A relay for ASGI servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from .sse import Relay


class AsyncChunks:
    """The chunks of a relay, awaited in a thread of its own.

    The event loop's own threads are few, and a browser occupies one for as long as it is connected.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _chunks(self._relay)

    def close(self) -> None:
        """Close the relay of a response that never began: `_chunks` will not do it then."""
        self._relay.close()


async def _chunks(relay: Relay) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1, thread_name_prefix="trigger-realtime relay")
    try:
        while chunk := await loop.run_in_executor(executor, next, relay, b""):
            yield chunk
    finally:
        relay.close()
        executor.shutdown(wait=False)
