"""How a test makes trouble: what happens to the backends, limits, and faults of single requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._control import RunControl
from ._electric import ElectricBackend
from ._faults import Fault, Faults
from ._http_server import HttpServer
from ._limits import Limits
from ._native import NativeBackend
from ._observer import MatchT
from ._polls import ShapePolls
from ._rows import BackendName
from ._shapes import ShapeBackend


class TroubleControl(RunControl):
    """The part of `RealtimeServer` that lets things go wrong. Safe from any thread."""

    _electric: ElectricBackend
    _native: NativeBackend
    _polls: ShapePolls
    _limits: Limits
    _faults: Faults
    _server: HttpServer | None

    # --- backends

    def switch_backend(self, backend: BackendName) -> None:
        """Let the other backend answer from the next request on: handles of before mean nothing.

        A poll that is held ends as it began (docs/protocol.md, section 5).
        """
        self._polls.backend = self._backend(backend)

    def _backend(self, name: BackendName) -> ShapeBackend:
        if name == "native":
            return self._native
        if name == "electric":
            return self._electric
        raise ValueError(f"backend must be 'native' or 'electric', not {name!r}")

    @property
    def live_polls(self) -> int | None:
        """The environment's limit of live polls at once; None for none. Can be set."""
        return self._limits.live_polls

    @live_polls.setter
    def live_polls(self, limit: int | None) -> None:
        self._limits.live_polls = limit

    def rotate(self, keep_handle: bool = False, send_handle: bool = True) -> None:
        """Electric: answer every handle of before with a 409 `must-refetch`.

        A poll that is held gets the 409 too, without a handle. The window of a feed by tags moves:
        each request at `offset=-1` computes it anew.

        Args:
            keep_handle: name the handle that the client used in the 409, not a new one.
            send_handle: send an `electric-handle` header with the 409.
        """
        self._electric.rotate(keep_handle=keep_handle, send_handle=send_handle)

    def restore(self) -> None:
        """Electric: lose the logs, but not the handles: old offsets get a 400 "out of bounds"."""
        self._electric.restore()

    def restart(self) -> None:
        """Electric: restart. The next answer of each shape repeats its last change, at an earlier
        offset (docs/protocol.md, section 2, under "Electric's other habits").
        """
        self._electric.restart()

    def crash(self) -> None:
        """Electric 1.2.4: crash and forget the logs' ends (docs/protocol.md, section 2, item 7).

        Held offsets get the 400 "out of bounds", `offset=-1` the snapshot of the shape's birth, and
        `up-to-date` at the offset that was asked with; then nothing, until the run changes again.
        What was written before the crash is only in shapes that are new.
        """
        self._electric.crash()

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
        reframed: bool = False,
        reset: bool = False,
        stall: float | None = None,
        delay: float = 0.0,
        drop_headers: Sequence[str] = (),
        stale: bool = False,
        leave_out: int = 0,
        lost: bool = False,
        after_hold: bool = False,
        silence: tuple[int, float] | None = None,
    ) -> None:
        """Let the next `times` matching requests fail; faults are used up in the order of calls.

        By default a fault strikes *before* the backend sees the request: its state stays as it was,
        and a live poll is not held. The faults of the real answer (`cut_at`, `cut_body_at`,
        `drop_headers`, `stale`, `leave_out`) strike *after* it, when the backend has moved on: what
        native put into an answer that was cut is sent to no live poll of that handle again
        (docs/protocol.md, section 2, item 5). `lost` makes any fault strike after it.

        Args:
            match: a kind of request, a callable that returns True for a recorded request, or None:
                any. Kinds are `"run"`, `"runs"`, `"batch"`, `"stream"`, `"packets"`, `"presigned"`,
                `"trigger"`, `"batch_create"`, `"batch_items"`, `"claims"`, `"input"`,
                `"wait_token"`, `"callback"`, `"session"`, and `"api"`: all of `/api/`.
            live: only polls that may be held (True), or only other requests (False).
            status, body, headers: answer with these. A body that is no text becomes JSON.
            html: answer with an error page of a proxy, status 200 unless given.
            cut_at: send only that many bytes of the real answer, head included, then close.
            cut_body_at: as `cut_at`, without the head and the framing of chunks.
            reframed: with `cut_body_at`, call what is sent a whole body, and keep the connection: a
                proxy that lost its own server does (docs/protocol.md, section 5). Where the client
                takes gzip, the end of the encoding is missing. Not for streams.
            reset: TCP reset instead of an answer.
            stall: seconds without an answer, then a reset.
            delay: seconds before the answer.
            drop_headers: names of headers to leave out of the real answer.
            stale: answer from an earlier state, as a lagging replica does.
            leave_out: Electric: leave out that many of the last changes of the answer, whose offset
                passes them, as a read that crosses a flush. They are still there at the old offset.
                A live poll is held first.
            lost: the backend answers, and moves on; the client gets a reset, or whatever else is
                ordered, instead. A live poll is held first. Not for streams.
            after_hold: hold a live poll first, and let it fail when it would be answered: what it
                would have said is lost.
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
            reframed=reframed,
            reset=reset,
            stall=stall,
            delay=delay,
            drop_headers=drop_headers,
            stale=stale,
            leave_out=leave_out,
            lost=lost,
            after_hold=after_hold,
            silence=silence,
        )
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Drop the faults that have not happened yet."""
        self._faults.clear()
