"""`RealtimeServer`: its life, its faults, and the record of its requests."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Literal, TypeVar

from ._access import Access
from ._cache import Cache
from ._electric import ElectricBackend, ElectricHabits
from ._faults import Faults
from ._http_server import HttpServer
from ._limits import Limits
from ._native import NativeBackend
from ._observer import MatchT, Observer, RecordedRequest, matches
from ._polls import ShapePolls
from ._round_trip import RoundTripControl
from ._router import Router
from ._session_channels import SessionChannels
from ._stream_body import StreamOptions
from ._stream_events import StreamEvents

# The environment's root key where a test names none.
SECRET_KEY = "tr_dev_test0000000000000000"
_ServerT = TypeVar("_ServerT", bound="RealtimeServer")


class RealtimeServer(RoundTripControl):
    """An in-process server of the Realtime API over real HTTP.

    What real servers of a backend do is simply played, as docs/protocol.md says: native answers a
    live poll only with a later `updatedAt` than it sent last, and moves a handle's working set
    before the answer leaves; Electric's first answer is never up to date, and its answers are made
    to be cached. What only some versions do, or what takes time, is an option below, a method
    (`crash()`, `switch_backend()`, `hold_replication()`, …) or a fault (`fail_next`).

    Clients can trigger what it serves: see `task`, `triggered` and `settings`, and
    docs/protocol.md, sections R1 to R9.

    Use it as a context manager, or `start()` and `stop()` it. Every method may be called from any
    thread, and every change wakes the requests that wait for it.

    Args:
        backend: the behaviour of the run feeds: `"native"` or `"electric"`.
        streams: the format of streams: `"v2"` (S2) or `"v1"` (Redis).
        tokens: the access tokens that are good; any by default. Public tokens (JWTs) need no
            naming: a root key that is good has to have signed them.
        hold: seconds that a live poll is held; native adds or takes off up to 15 %.
        stream_idle: seconds without a part after which a stream is closed.
        ping_interval: seconds between the keep-alives of a stream, half as much more or less on v2.
        port: 0 for any free one.
        ssl_context: serve HTTPS with it.
        snapshot_chunk_rows: Electric: split a snapshot into answers of that many rows.
        first_answer_empty: Electric: send no rows in the first answer.
        log_chunk_rows: Electric: split what follows a snapshot into answers of that many rows; but
            for the last one they are not up to date, and may end within a transaction.
        empty_past_snapshot: Electric: answer `[]`, not up to date, past the end of a snapshot.
        live_polls: the environment's limit of live polls at once; more get a 429.
        electric_requests: Electric: its limit of requests at once, and three tenths as many at
            `offset=-1`; more get a 503 with `Retry-After`. A poll that was cut keeps its place for
            as long as it would have been held.
        api_requests: requests to `/api` in ten seconds, without those about packets; more get a 429
            with `x-ratelimit-reset`.
        cache: put a cache before the feeds that obeys the headers of answers, not of requests: the
            same URL is answered with the same snapshot, or the same 409, again. `"known"`: one that
            ignores unknown parameters, so that a cache-busting one does not help.
        use_204: answer with 204 instead of `up-to-date` alone, as old servers do.
        stream_start: obey `X-Trigger-Stream-Start`, which no server up to 4.5.12 does.
        stream_step: v1: seconds that the server waits for an entry before it looks at its clock:
            5 in the world. 0: it looks when it is time, so that a stream of a second takes one.
        stream_ids: v1: False: no ids, pings and ends, and each body starts at the oldest entry
            kept, as servers before 4.1.2 have it.
        ping_tail: v2: False: pings without `tail`, as S2 before 0.39.3 sends them.
        creates_streams: v2: False: a stream that nothing was written to is a 500.
        secret_key: the environment's root key. It signs the public tokens that the server makes,
            and is good whatever `tokens` names.
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
        log_chunk_rows: int | None = None,
        empty_past_snapshot: bool = False,
        live_polls: int | None = None,
        electric_requests: int | None = None,
        api_requests: int | None = None,
        cache: Literal["url", "known"] | None = None,
        use_204: bool = False,
        stream_start: bool = False,
        stream_step: float = 0.0,
        stream_ids: bool = True,
        ping_tail: bool = True,
        creates_streams: bool = True,
        secret_key: str = SECRET_KEY,
    ) -> None:
        super().__init__(streams)
        self._address = (host, port)
        self._ssl_context = ssl_context
        self._server: HttpServer | None = None
        self._observer = Observer()
        self._faults = Faults()
        self._access = Access(None if tokens is None else set(tokens), secret_key)
        api = self._build_round_trip(lambda: self.url)
        self._limits = Limits(live_polls, electric_requests, api_requests)
        habits = ElectricHabits(
            snapshot_chunk_rows=snapshot_chunk_rows,
            log_chunk_rows=log_chunk_rows,
            first_answer_empty=first_answer_empty,
            empty_past_snapshot=empty_past_snapshot,
        )
        self._electric = ElectricBackend(self._store, habits)
        self._native = NativeBackend(self._store)
        self._polls = ShapePolls(
            backend=self._backend(backend),
            store=self._store,
            observer=self._observer,
            limits=self._limits,
            hold=hold,
            use_204=use_204,
        )
        stream_options = StreamOptions(
            idle=stream_idle,
            ping_interval=ping_interval,
            honours_start=stream_start,
            step=stream_step,
            ids=stream_ids,
            ping_tail=ping_tail,
            creates_streams=creates_streams,
        )
        self._router = Router(
            polls=self._polls,
            streams=StreamEvents(self._stream_logs, self._store, self._observer, stream_options),
            sessions=SessionChannels(
                self._sessions, self._store, self._observer, stream_options, self.settings
            ),
            api=api,
            access=self._access,
            limits=self._limits,
            cache=Cache(known_only=cache == "known") if cache else None,
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
            *self._address,
            self._router.answer,
            self._observer,
            self._ssl_context,
            lambda: self.settings.keep_alive,
        )
        self._server.start()
        return self

    def stop(self) -> None:
        """End every request and connection, and return within seconds. Idempotent."""
        if self._server is not None and not self._server.stopping:
            self._life.stop_pauses()
            self._server.halt()
            self._life.halt()

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
