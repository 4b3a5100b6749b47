"""A relay for servers that are not threaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from .sse import Relay


async def in_a_thread(relay: Relay) -> AsyncIterator[bytes]:
    """The chunks of a relay, waited for in a thread of its own.

    The threads that the event loop lends are few, and a browser keeps one as long as it looks.
    """
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1, thread_name_prefix="trigger-realtime-relay")
    try:
        while chunk := await loop.run_in_executor(executor, next, relay, b""):
            yield chunk
    finally:
        relay.close()
        executor.shutdown(wait=False)
