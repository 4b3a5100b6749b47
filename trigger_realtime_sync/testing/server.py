"""The public server: its life, its faults, and what it saw."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar

from ._app import Access, App
from ._control import RunControl
from ._faults import Fault, Faults
from ._http_server import HttpServer
from ._observer import Observer, RecordedRequest, matches
from ._rest import Rest
from ._shapes import Backend, Electric, Native
from ._streams import Streams

MatchT = str | Callable[[RecordedRequest], bool] | None
_ServerT = TypeVar("_ServerT", bound="RealtimeServer")


class RealtimeServer(RunControl):
    """An in-process server of the Realtime API over real HTTP.

    Use it as a context manager, or `start()` and `stop()` it. Every method may be called from any
    thread, and whatever changes something wakes the requests that wait for it.

    Args:
        backend: whose habits the run feeds have: `"native"` or `"electric"`.
        streams: the format of streams: `"v2"` (S2) or `"v1"` (Redis).
        tokens: the access tokens that are good; any by default.
        hold: seconds a live poll is held.
        stream_idle: seconds without a part after which a stream is closed.
        ping_interval: seconds between the keep-alives of a stream.
        port: 0 for any free one.
        ssl_context: serve HTTPS with it.
        snapshot_chunk_rows: Electric: split a snapshot into answers of that many rows.
        first_answer_empty: Electric: no rows in the first answer.
        use_204: answer with 204 where there is nothing but `up-to-date`, as old servers do.
        stream_start: obey `X-Trigger-Stream-Start`, which servers up to 4.5 ignore.
    """

    def __init__(
        self,
        backend: Literal["native", "electric"] = "native",
        *,
        streams: Literal["v1", "v2"] = "v2",
        tokens: Iterable[str] | None = None,
        hold: float = 20.0,
        stream_idle: float = 60.0,
        ping_interval: float = 10.0,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        snapshot_chunk_rows: int | None = None,
        first_answer_empty: bool = False,
        use_204: bool = False,
        stream_start: bool = True,
    ) -> None:
        super().__init__(streams)
        if backend not in ("native", "electric"):
            raise ValueError(f"backend must be 'native' or 'electric', not {backend!r}")
        self._address = (host, port)
        self._ssl_context = ssl_context
        self._server: HttpServer | None = None
        self._observer = Observer()
        self._faults = Faults()
        self._access = Access(None if tokens is None else set(tokens))
        self._electric = Electric(
            self._store,
            snapshot_chunk_rows=snapshot_chunk_rows,
            first_answer_empty=first_answer_empty,
        )
        chosen: Backend = Native(self._store) if backend == "native" else self._electric
        streams_app = Streams(
            logs=self._stream_logs,
            store=self._store,
            observer=self._observer,
            idle=stream_idle,
            ping_interval=ping_interval,
            honours_start=stream_start,
        )
        self._app = App(
            name=backend,
            store=self._store,
            backend=chosen,
            streams=streams_app,
            rest=Rest(self._store, lambda: self.url),
            access=self._access,
            faults=self._faults,
            observer=self._observer,
            hold=hold,
            use_204=use_204,
        )

    # --- life

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        if self._server is None:
            raise RuntimeError("the server has not been started")
        host = f"[{self._server.host}]" if ":" in self._server.host else self._server.host
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://{host}:{self._server.port}"

    def start(self: _ServerT) -> _ServerT:
        """Serve, on daemon threads.

        Raises:
            OSError: the address can't be used.
        """
        if self._server is not None:
            raise RuntimeError("a server can be started once")
        self._server = HttpServer(
            *self._address, self._app.answer, self._observer, self._ssl_context
        )
        self._server.start()
        return self

    def stop(self) -> None:
        """Release what is held, close every connection, and return within seconds. Idempotent."""
        if self._server is None or self._server.stopping:
            return
        # In this order: what wakes up now has to see that it is over.
        self._server.stopping = True
        self._store.close()
        self._server.halt()

    def __enter__(self: _ServerT) -> _ServerT:
        return self.start() if self._server is None else self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # --- access

    @property
    def forbidden(self) -> set[str]:
        """Tokens that are known, but cover nothing: 403."""
        return self._access.forbidden

    def revoke(self, token: str) -> None:
        """From the next request on this token gets a 401; what is held or open goes on."""
        self._access.revoked.add(token)

    def accept(self, token: str) -> None:
        """From the next request on this token is good."""
        self._access.revoked.discard(token)
        self._access.forbidden.discard(token)
        if self._access.tokens is not None:
            self._access.tokens.add(token)

    # --- trouble

    def rotate(self, keep_handle: bool = False, send_handle: bool = True) -> None:
        """Electric: every handle now gets a 409 `must-refetch`.

        Args:
            keep_handle: the 409 names the handle that the client used, not a new one.
            send_handle: whether the 409 has an `electric-handle` header at all.
        """
        self._electric.rotate(keep_handle=keep_handle, send_handle=send_handle)

    def restore(self) -> None:
        """Electric: the logs are gone, the handles are not: 400 "out of bounds" for old offsets."""
        self._electric.restore()

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close every connection now, as a proxy or a crash does."""
        if self._server is not None:
            self._server.drop_connections(reset=reset)

    def fail_next(
        self,
        fault: Fault | None = None,
        *,
        times: int = 1,
        match: MatchT = None,
        live: bool | None = None,
        status: int | None = None,
        body: bytes | str | Mapping[str, Any] | Sequence[Any] | None = None,
        headers: Mapping[str, str] | None = None,
        html: bool = False,
        cut_at: int | None = None,
        cut_body_at: int | None = None,
        reset: bool = False,
        stall: float | None = None,
        delay: float = 0.0,
        drop_headers: Sequence[str] = (),
        stale: bool = False,
        after_hold: bool = False,
    ) -> None:
        """The next `times` matching requests fail; faults are used up in the order they came.

        Args:
            match: `"run"`, `"runs"`, `"batch"`, `"stream"`, `"packets"`, `"presigned"`, `"api"`
                (all of `/api/`), a callable that judges the recorded request, or None: any.
            live: only polls that may be held, or only others.
            status, body, headers: answer with that. A body that is no text becomes JSON.
            html: answer with an error page of a proxy, status 200 unless given.
            cut_at: send only so many bytes of the real answer, head included, then close.
            cut_body_at: the same, counted from the start of the body (a stream's: its parts).
            reset: TCP reset instead of an answer.
            stall: seconds without an answer, then a reset.
            delay: seconds before the answer.
            drop_headers: send the real answer without these.
            stale: answer from an earlier state, as a lagging replica does.
            after_hold: a live poll is held first, and fails when there is something to say.
        """
        made = Fault(
            status=status,
            body=body,
            headers=dict(headers or {}),
            html=html,
            cut_at=cut_at,
            cut_body_at=cut_body_at,
            reset=reset,
            stall=stall,
            delay=delay,
            drop_headers=drop_headers,
            stale=stale,
            after_hold=after_hold,
        )
        self._faults.add(fault or made, times=times, match=match, live=live)

    def clear_faults(self) -> None:
        """Forget the faults that have not happened yet."""
        self._faults.clear()

    # --- what it saw

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in the order of arrival."""
        return self._observer.requests

    @property
    def open_connections(self) -> int:
        """TCP connections accepted and not yet closed, by either side."""
        return self._observer.connections

    @property
    def held_polls(self) -> int:
        """Live polls that wait for news right now."""
        return self._observer.held()

    @property
    def open_streams(self) -> int:
        """Streams that wait for parts right now."""
        return self._observer.held("stream")

    def clear_requests(self) -> None:
        """Forget the requests seen so far."""
        self._observer.forget()

    def wait_for_requests(
        self,
        count: int,
        *,
        match: MatchT = None,
        live: bool | None = None,
        timeout: float = 5.0,
    ) -> list[RecordedRequest]:
        """Block until so many matching requests came.

        Returns:
            All that match, oldest first.

        Raises:
            TimeoutError: they did not come.
        """

        def found() -> list[RecordedRequest]:
            return [one for one in self._observer.requests if matches(one, match, live)]

        self._observer.wait(
            lambda: len(found()) >= count,
            timeout,
            lambda: f"{len(found())} of {count} requests, saw {self._observer.requests[-10:]}",
        )
        return found()

    def wait_until_held(
        self, count: int = 1, timeout: float = 5.0, *, match: str | None = None
    ) -> None:
        """Block until at least so many live polls are held, or with `match="stream"` streams.

        Raises:
            TimeoutError: they are not.
        """
        self._observer.wait(
            lambda: self._observer.held(match) >= count,
            timeout,
            lambda: f"{self._observer.held(match)} of {count} requests are held",
        )

    def wait_for_connections(self, count: int, timeout: float = 5.0) -> None:
        """Block until exactly so many connections are open.

        Raises:
            TimeoutError: they are not.
        """
        self._observer.wait(
            lambda: self._observer.connections == count,
            timeout,
            lambda: f"{self._observer.connections} connections are open, not {count}",
        )
