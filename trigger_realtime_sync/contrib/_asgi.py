"""A relay for event loops: its chunks are awaited, and made on the one thread of all relays."""

from __future__ import annotations

import asyncio
import math
import time
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from ._body import Body, open_body
from ._open_relays import RELAYS
from ._relay_thread import RELAY_THREAD
from ._source import Source


class Outlet:
    """The chunks of one relay, one for each time that one is wanted.

    Args:
        body: makes them.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        # Both on the thread of relays alone: who wants the next chunk, and when it looks again.
        self._wanted: tuple[asyncio.AbstractEventLoop, asyncio.Future[bytes]] | None = None
        self._looks_at = math.inf

    async def next(self) -> bytes:
        """Return the next chunk, nothing at the end."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        RELAY_THREAD.do(lambda: self._want(loop, future))
        return await future

    def on_news(self) -> None:
        """Have it looked for a chunk. On any thread."""
        with suppress(RuntimeError):
            RELAY_THREAD.do(self._advance)

    def look(self) -> None:
        self._looks_at = math.inf
        self._advance()

    async def close(self) -> None:
        """End the relay, on the thread of relays: that may wait for a moment."""
        loop = asyncio.get_running_loop()
        closed: asyncio.Future[None] = loop.create_future()

        def is_closed() -> None:
            if not closed.done():
                closed.set_result(None)

        def close() -> None:
            try:
                self._body.close()
            finally:
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(is_closed)

        RELAY_THREAD.do(close)
        await closed

    def _want(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[bytes]) -> None:
        self._wanted = loop, future
        self._advance()

    def _advance(self) -> None:
        if self._wanted is None:
            return
        try:
            chunk = self._body.step(0)
        except Exception as error:  # noqa: BLE001 (whoever awaits the chunk gets it)
            failure = error
            self._answer(lambda future: future.set_exception(failure))
            return
        if chunk is not None:
            self._answer(lambda future: future.set_result(chunk))
            return
        at = time.monotonic() + self._body.seconds_to_look()
        if at < self._looks_at:
            self._looks_at = at
            RELAY_THREAD.look_at(at, self)

    def _answer(self, answer: Callable[[asyncio.Future[bytes]], None]) -> None:
        assert self._wanted is not None
        (loop, future), self._wanted = self._wanted, None

        def on_loop() -> None:
            if not future.done():
                answer(future)

        try:
            loop.call_soon_threadsafe(on_loop)
        except RuntimeError:
            # The loop is closed: nobody reads this any more.
            self._body.close()


class Writing:
    """The task that writes to one browser, as the `connection` of its relay."""

    def __init__(self, task: asyncio.Future[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._task = task
        self._loop = loop

    def give_back(self) -> None:
        """Do nothing: the task is over."""

    def cut(self) -> None:
        """Let a write that is blocked fail. On any thread."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)


class AsyncRelay(AsyncIterator[bytes]):
    """The body of one browser's response, for `async for`. Close it when the browser is gone.

    For frameworks that take an asynchronous iterator as the body of a response. `RelayResponse` is
    the response itself, which notices too that the browser is gone.

    Args:
        source: what to relay, see `Relay`. It is called on the thread of the event loop, and must
            not wait; the client's methods don't.
        options: those of `Relay`, but `environ`. `run_to_dict` is called on a thread of the
            client, one for each browser at a time, and may wait.

    Raises:
        ValueError, TooManyRelays, Exception: see `Relay`.

    All relays of a process share one thread, which makes their chunks.
    """

    def __init__(self, source: Source, **options: Any) -> None:
        self._body = open_body(source, is_prepared=True, **options)
        self._outlet = Outlet(self._body)
        self._body.call_on_news(self._outlet.on_news)
        self._is_over = False
        weakref.finalize(self, RELAYS.close_elsewhere, self._body.relay).atexit = False

    def __aiter__(self) -> AsyncRelay:
        return self

    async def __anext__(self) -> bytes:
        if not self._is_over:
            chunk = await self._outlet.next()
            if chunk:
                return chunk
            await self.aclose()
        raise StopAsyncIteration

    def writes_by(self, task: asyncio.Future[Any]) -> None:
        """Cancel this task if it is still blocked a second after the relay was ended."""
        self._body.relay.connection = Writing(task, asyncio.get_running_loop())

    async def aclose(self) -> None:
        """End the relay: the browser is gone. Idempotent."""
        self._is_over = True
        await self._outlet.close()

    def close(self) -> None:
        """Do the same, on another thread than that of an event loop: it may wait for a moment."""
        self._is_over = True
        self._body.close()
