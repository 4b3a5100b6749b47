"""The body of a response that holds no database connection while a browser looks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections

from ... import Run
from .._asgi import AsyncRelay
from ..sse import Relay, RunToDict, Source, run_for_browser


def close_connections() -> None:
    """Close the database connections of this thread, but those inside a transaction.

    Those with `CONN_MAX_AGE` too: Django looks after them when the response has ended, hours later.
    """
    for connection in connections.all(initialized_only=True):
        # Tests run inside a transaction; a project may stream inside one on purpose.
        if not connection.in_atomic_block:
            connection.close()


class Body(Iterator[bytes]):
    """The chunks of a relay. Before each wait for one, this thread's connections are closed.

    The first were opened by the permission check, those after it by a `run_to_dict` that queries.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        close_connections()
        return next(self._relay)

    def close(self) -> None:
        """End the relay."""
        self._relay.close()


class AsyncBody:
    """The same for ASGI, where the view ran on another thread than the relay does.

    Args:
        source: what to relay.
        options: of `AsyncRelay`.
    """

    def __init__(self, source: Source, options: dict[str, Any]) -> None:
        options = {**options, "run_to_dict": _and_close(options["run_to_dict"])}
        self._relay = AsyncRelay(source, **options)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        try:
            # Django keeps one thread for all that is synchronous in a request: that of the view.
            await sync_to_async(close_connections, thread_sensitive=True)()
            async for chunk in self._relay:
                yield chunk
        finally:
            await self._relay.aclose()

    def close(self) -> None:
        """End the relay of a response that never began. Django calls it in a thread."""
        self._relay.close()


def _and_close(run_to_dict: RunToDict) -> RunToDict:
    # The usual one is left as it is: its result is made once for all browsers.
    if run_to_dict is run_for_browser:
        return run_to_dict

    def run_and_close(run: Run[Any, Any]) -> dict[str, Any]:
        try:
            return run_to_dict(run)
        finally:
            close_connections()

    return run_and_close
