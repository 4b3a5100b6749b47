"""`RealtimeServer`: its life, its faults, and the record of its requests."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from ._control import RunControl
from ._electric import ElectricBackend
from ._faults import Fault, Faults
from ._http_server import HttpServer
from ._native import NativeBackend
from ._observer import MatchT, Observer, RecordedRequest, matches
from ._polls import ShapePolls
from ._rest import Rest
from ._router import Access, Router
from ._stream_body import StreamOptions
from ._stream_events import StreamEvents

_ServerT = TypeVar("_ServerT", bound="RealtimeServer")


class RealtimeServer(RunControl):
    """An in-process server of the Realtime API over real HTTP.

    Use it as a context manager, or `start()` and `stop()` it. Every method may be called from any
    thread, and every change wakes the requests that wait for it.

    Args:
        backend: the behaviour of the run feeds: `"native"` or `"electric"`.
        streams: the format of streams: `"v2"` (S2) or `"v1"` (Redis).
        tokens: the access tokens that are good; any by default.
        hold: seconds that a live poll is held.
        stream_idle: seconds without a part after which a stream is closed.
        ping_interval: seconds between the keep-alives of a stream, half as much more or less on v2.
        port: 0 for any free one.
        ssl_context: serve HTTPS with it.
        snapshot_chunk_rows: Electric: split a snapshot into answers of that many rows.
        first_answer_empty: Electric: send no rows in the first answer.
        use_204: answer with 204 instead of `up-to-date` alone, as old servers do.
        stream_start: obey `X-Trigger-Stream-Start`, which no server up to 4.5.12 does.
        stream_step: v1: seconds that the server waits for an entry before it looks at its clock:
            5 in the world. 0: it looks when it is time, so that a stream of a second takes one.
        stream_ids: v1: False: no ids, pings and ends, and each body starts at the oldest entry
            kept, as servers before 4.1.2 have it.
        ping_tail: v2: False: pings without `tail`, as S2 before 0.39.3 sends them.
        creates_streams: v2: False: a stream that nothing was written to is a 500.
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
        stream_start: bool = False,
        stream_step: float = 0.0,
        stream_ids: bool = True,
        ping_tail: bool = True,
        creates_streams: bool = True,
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
        self._electric = ElectricBackend(
            self._store,
            snapshot_chunk_rows=snapshot_chunk_rows,
            first_answer_empty=first_answer_empty,
        )
        native = NativeBackend(self._store)
        polls = ShapePolls(
            backend_name=backend,
            backend=native if backend == "native" else self._electric,
            store=self._store,
            observer=self._observer,
            hold=hold,
            use_204=use_204,
        )
        stream_events = StreamEvents(
            logs=self._stream_logs,
            store=self._store,
            observer=self._observer,
            options=StreamOptions(
                idle=stream_idle,
                ping_interval=ping_interval,
                honours_start=stream_start,
                step=stream_step,
                ids=stream_ids,
                ping_tail=ping_tail,
                creates_streams=creates_streams,
            ),
        )
        self._router = Router(
            polls=polls,
            streams=stream_events,
            rest=Rest(self._store, lambda: self.url),
            access=self._access,
            faults=self._faults,
            observer=self._observer,
        )

    # --- life

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        if self._server is None:
            raise RuntimeError("the server has not been started")
        host, port = map(str, self._server.server_address[:2])
        scheme = "http" if self._ssl_context is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def start(self: _ServerT) -> _ServerT:
        """Serve, on daemon threads.

        Raises:
            OSError: the address can't be used.
        """
        if self._server is not None:
            raise RuntimeError("a server can be started once")
        self._server = HttpServer(
            *self._address, self._router.answer, self._observer, self._ssl_context
        )
        self._server.start()
        return self

    def stop(self) -> None:
        """End every request and connection, and return within seconds. Idempotent."""
        if self._server is not None and not self._server.stopping:
            self._server.halt()

    def __enter__(self: _ServerT) -> _ServerT:
        return self.start() if self._server is None else self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # --- access

    @property
    def forbidden(self) -> set[str]:
        """Tokens that are known, but cover nothing: they get a 403."""
        return self._access.forbidden

    def revoke(self, token: str) -> None:
        """Answer the token with a 401 from the next request on; what is held or open goes on."""
        self._access.revoked.add(token)

    def accept(self, token: str) -> None:
        """Accept the token from the next request on."""
        self._access.revoked.discard(token)
        self._access.forbidden.discard(token)
        if self._access.tokens is not None:
            self._access.tokens.add(token)

    # --- trouble

    def rotate(self, keep_handle: bool = False, send_handle: bool = True) -> None:
        """Electric: answer every handle of before with a 409 `must-refetch`.

        Args:
            keep_handle: name the handle that the client used in the 409, not a new one.
            send_handle: send an `electric-handle` header with the 409.
        """
        self._electric.rotate(keep_handle=keep_handle, send_handle=send_handle)

    def restore(self) -> None:
        """Electric: lose the logs, but not the handles: old offsets get a 400 "out of bounds"."""
        self._electric.restore()

    def drop_connections(self, *, reset: bool = False) -> None:
        """Close every connection now, as a proxy or a crash does: with a TCP reset if `reset`."""
        if self._server is not None:
            self._server.drop_connections(reset=reset)

    def fail_next(
        self,
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
        silence: tuple[int, float] | None = None,
    ) -> None:
        """Let the next `times` matching requests fail; faults are used up in the order of calls.

        Args:
            match: `"run"`, `"runs"`, `"batch"`, `"stream"`, `"packets"`, `"presigned"`, `"api"`
                (all of `/api/`), a callable that returns True for a recorded request, or None: any.
            live: only polls that may be held (True), or only other requests (False).
            status, body, headers: answer with these. A body that is no text becomes JSON.
            html: answer with an error page of a proxy, status 200 unless given.
            cut_at: send only that many bytes of the real answer, head included, then close.
            cut_body_at: as `cut_at`, without the head and the framing of chunks.
            reset: TCP reset instead of an answer.
            stall: seconds without an answer, then a reset.
            delay: seconds before the answer.
            drop_headers: names of headers to leave out of the real answer.
            stale: answer from an earlier state, as a lagging replica does.
            after_hold: hold a live poll first, and let it fail when it would be answered.
            silence: bytes of a chunked body, and how many seconds nothing follows them.
        """
        fault = Fault(
            times=times,
            match=match,
            live=live,
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
            silence=silence,
        )
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Drop the faults that have not happened yet."""
        self._faults.clear()

    # --- the record

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in the order of arrival."""
        return self._observer.requests

    @property
    def open_connections(self) -> int:
        """TCP connections accepted and not yet closed by either side."""
        return self._observer.connections

    @property
    def held_polls(self) -> int:
        """Live polls that are held right now."""
        return self._observer.held()

    @property
    def open_streams(self) -> int:
        """Streams that are open and wait for parts right now."""
        return self._observer.held("stream")

    def clear_requests(self) -> None:
        """Drop the requests recorded so far."""
        self._observer.clear_requests()

    def wait_for_requests(
        self,
        count: int,
        *,
        match: MatchT = None,
        live: bool | None = None,
        timeout: float = 5.0,
    ) -> list[RecordedRequest]:
        """Block until `count` matching requests have come.

        Returns:
            All matching requests, oldest first.

        Raises:
            TimeoutError: fewer have come.
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
        """Block until at least `count` live polls (or, with `match="stream"`, streams) are held.

        Raises:
            TimeoutError: fewer are held.
        """
        self._observer.wait(
            lambda: self._observer.held(match) >= count,
            timeout,
            lambda: f"{self._observer.held(match)} of {count} requests are held",
        )

    def wait_for_connections(self, count: int, timeout: float = 5.0) -> None:
        """Block until exactly `count` connections are open.

        Raises:
            TimeoutError: there are more or fewer.
        """
        self._observer.wait(
            lambda: self._observer.connections == count,
            timeout,
            lambda: f"{self._observer.connections} connections are open, not {count}",
        )
