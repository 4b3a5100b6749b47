"""A relay for ASGI servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol


class Chunks(Protocol):
    """A relay, or what stands for it."""

    def __next__(self) -> bytes: ...

    def close(self) -> None:
        """End it: the browser is gone."""


class AsyncChunks:
    """The chunks of a relay, awaited in a thread of its own.

    The event loop's own threads are few, and a browser occupies one for as long as it is connected.
    """

    def __init__(self, relay: Chunks) -> None:
        self._relay = relay

    def __aiter__(self) -> AsyncGenerator[bytes, None]:
        return _chunks(self._relay)

    def close(self) -> None:
        """Close the relay of a response that never began: `_chunks` will not do it then."""
        self._relay.close()


async def _chunks(relay: Chunks) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    executor = ThreadPoolExecutor(1, thread_name_prefix="trigger-realtime relay")
    try:
        while chunk := await loop.run_in_executor(executor, _next, relay):
            yield chunk
    finally:
        relay.close()
        executor.shutdown(wait=False)


def _next(relay: Chunks) -> bytes:
    try:
        return relay.__next__()
    except StopIteration:
        return b""
