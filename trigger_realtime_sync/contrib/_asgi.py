"""A relay for servers that are not threaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from .sse import Relay


class InAThread:
    """The chunks of a relay, waited for in a thread of its own.

    The threads that the event loop lends are few, and a browser keeps one as long as it looks.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _chunks(self._relay)

    def close(self) -> None:
        """For a response that was never begun: a generator that was not says nothing at its end."""
        self._relay.close()


async def _chunks(relay: Relay) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1, thread_name_prefix="trigger-realtime-relay")
    try:
        while chunk := await loop.run_in_executor(executor, next, relay, b""):
            yield chunk
    finally:
        relay.close()
        executor.shutdown(wait=False)
