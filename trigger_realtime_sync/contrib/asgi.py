"""Relays for ASGI: Starlette, FastAPI, Django's asynchronous views, Litestar, or no framework.

    async def events(request):              # with Starlette; for FastAPI see `contrib.fastapi`
        run_id = request.path_params["run_id"]
        # Check here that this user may see this run.
        return RelayResponse(shared(client.subscribe_to_run, run_id))

All relays of a process share one thread. When a browser goes, its subscription is given back at
once.

    app = end_relays_at_stop(app)

Without this, a server that is told to stop waits for the browsers, which do not leave by
themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from .. import InvalidIdError
from ._asgi import AsyncRelay
from ._connections import WRITE_SECONDS
from ._open_relays import LAST_WRITE_SECONDS, RELAYS, EndsRelays
from .sse import (
    HEADERS,
    KEEP_ALIVE,
    MAX_AGE,
    PRIVATE,
    TOO_MANY,
    RelayLimits,
    RunToDict,
    Source,
    TooManyRelays,
    has_ended,
    run_for_browser,
    shared,
)

__all__ = [
    "AsyncRelay",
    "RelayResponse",
    "end_relays_at_stop",
    "request_owner",
    "shared",
]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TEXT = {"Content-Type": "text/plain; charset=utf-8", **PRIVATE}


def request_owner(scope: Scope) -> str | None:
    """Return whose a request is: the user of Starlette's authentication, else the address."""
    user = scope.get("user")
    if user is not None and getattr(user, "is_authenticated", False):
        # A user of Starlette may have either, and raises for the other.
        for name in ("identity", "display_name"):
            with contextlib.suppress(NotImplementedError, AttributeError):
                return str(getattr(user, name))
    client = scope.get("client")
    return str(client[0]) if client else None


class RelayResponse:
    """An ASGI application that answers one request with a relay.

    Starlette, Litestar and others send it as they send their own responses; for FastAPI take
    `contrib.fastapi.RelayResponse`, which is one of its responses too.

    Args:
        source: what to relay, see `Relay`. It is called when the response is sent.
        keep_alive, run_to_dict, max_age: see `AsyncRelay`.
        owner: whose the request is. Default: `request_owner`.
        limits: how many relays may be open in this process. Default: 1,000, and 20 of an owner.

    The answer is 204 to a browser that knows the end, 400 if the id can't be one, and 429 if this
    owner, or this process, has too many relays already. The view must have checked that this user
    may see the run. It is asked again when the browser comes again, after `max_age` seconds.
    """

    def __init__(
        self,
        source: Source,
        *,
        keep_alive: float = KEEP_ALIVE,
        run_to_dict: RunToDict = run_for_browser,
        max_age: float | None = MAX_AGE,
        owner: object = None,
        limits: RelayLimits | None = None,
    ) -> None:
        self._source = source
        self._owner = owner
        self._options: dict[str, Any] = {
            "keep_alive": keep_alive,
            "run_to_dict": run_to_dict,
            "max_age": max_age,
            "limits": limits or RelayLimits(),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        last_event_id = _header(scope, b"last-event-id")
        if has_ended(last_event_id):
            await _answer(send, 204, PRIVATE)
            return
        if scope["method"] == "HEAD":
            await _answer(send, 200, HEADERS)
            return
        owner = request_owner(scope) if self._owner is None else self._owner
        try:
            relay = AsyncRelay(
                self._source, last_event_id=last_event_id, owner=owner, **self._options
            )
        except InvalidIdError as error:
            await _answer(send, 400, _TEXT, str(error))
        except TooManyRelays as refusal:
            headers = {**_TEXT, "Retry-After": str(refusal.retry_after)}
            await _answer(send, 429, headers, TOO_MANY)
        else:
            await _relay(relay, receive, send)


async def _relay(relay: AsyncRelay, receive: Receive, send: Send) -> None:
    """Write until the relay ends, the browser is gone, or it takes nothing any more."""
    writing = asyncio.ensure_future(_write(relay, send))
    relay.writes_by(writing)
    leaving = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (writing, leaving):
            task.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)
        await relay.aclose()
    if not writing.cancelled() and not isinstance(writing.exception(), OSError | None):
        writing.result()


async def _write(relay: AsyncRelay, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": _pairs(HEADERS)})
    async for chunk in relay:
        await _send_within(
            WRITE_SECONDS, send, {"type": "http.response.body", "body": chunk, "more_body": True}
        )
    seconds = LAST_WRITE_SECONDS if RELAYS.is_ending else WRITE_SECONDS
    last = {"type": "http.response.body", "body": b"", "more_body": False}
    await _send_within(seconds, send, last)


async def _send_within(seconds: float, send: Send, message: Message) -> None:
    """Send, or cancel this task: its browser takes nothing any more."""
    task = asyncio.current_task()
    assert task is not None
    too_long = asyncio.get_running_loop().call_later(seconds, task.cancel)
    try:
        await send(message)
    finally:
        too_long.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, headers: Mapping[str, str], text: str = "") -> None:
    await send({"type": "http.response.start", "status": status, "headers": _pairs(headers)})
    await send({"type": "http.response.body", "body": text.encode("utf-8", "replace")})


def _pairs(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def _header(scope: Scope, name: bytes) -> str | None:
    values = [value for key, value in scope["headers"] if key.lower() == name]
    return values[-1].decode("latin-1") if values else None


def end_relays_at_stop(app: App) -> App:
    """Return the application, which ends its relays when its server is told to stop.

    For uvicorn and daphne, with any number of workers:

        app = end_relays_at_stop(app)

    hypercorn tells the processes of its workers nothing before it waits for their connections:
    start it with `--graceful-timeout 1`.

    It puts a handler before the server's own ones for SIGTERM and SIGINT, which are called after
    it: when the server announces its start (`lifespan`), else with the first request. Outside of
    the main thread nobody is told of signals: call `end_relays` yourself there.
    """
    is_chained = False

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal is_chained
        if scope["type"] == "lifespan" or not is_chained:
            is_chained = True
            _chain_handlers()
        await app(scope, receive, send)

    return application


def _chain_handlers() -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        before = signal.getsignal(number)
        # None: not set by Python, and could not be called.
        if before is not None and not isinstance(before, EndsRelays):
            signal.signal(number, EndsRelays(before))
