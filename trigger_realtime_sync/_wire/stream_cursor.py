"""The resume cursor of a stream: bytes of bodies in, each part once and in order out.

Where each format resumes, and why that is exact, is in `stream_v1` and `stream_v2`.

The caller does the I/O, and need not know which of the two formats a body has::

    cursor = StreamCursor()                       # or StreamCursor.restore(last_event_id)
    while True:
        response = get(url, headers=cursor.request_headers())
        if not cursor.open(response.headers.get("X-Stream-Version")):
            continue                              # no use: ask again, at once
        for chunk in response:
            take(cursor.feed(chunk))
            if cursor.over:
                break
        cursor.end(clean=…)                       # raises what went wrong in the body
    take(cursor.finish())                         # the run is finished, and the stream drained
"""

from __future__ import annotations

from typing import TypeAlias

from ..errors import ApiConnectionError, ProtocolError
from .names import LAST_EVENT_ID, START_AT_LATEST
from .positions import PositionV1, PositionV2, is_v1_id
from .sse import EventFramer
from .stream_parts import PartBatch
from .stream_v1 import StreamV1
from .stream_v2 import StreamV2

# The two formats have the same methods: events in, parts out, the position kept across bodies.
StreamFormat: TypeAlias = StreamV1 | StreamV2


def normal_version(version: str | None) -> str:
    """Return the format that an `X-Stream-Version` names; None is the oldest one."""
    return (version or "v1").strip().lower()


class StreamCursor:
    """Reads on in a stream, across bodies, servers and processes. Not thread-safe.

    Args:
        start_index: where to begin; None for the beginning. On v2 it is the number of a record;
            those that are no longer there are reported. On v1, whose parts have no numbers, that
            many parts are left out, counted from the oldest one that the server keeps.
        from_latest: start at the tail. Servers up to 4.5.12 can't be asked for it on v1, and start
            at the beginning all the same; parts written between two bodies that brought nothing
            are not seen there, nor on v2 of an S2 before 0.39.3.

    Attributes:
        over: whether the body has nothing more of use and may be closed: it said so, or is broken
            (then `end()` raises why).
    """

    def __init__(self, *, start_index: int | None = None, from_latest: bool = False) -> None:
        if start_index is not None and start_index < 0:
            raise ValueError("start_index must not be negative")
        self._start_index = start_index
        self._skip_until = 0
        self._from_latest = from_latest
        self._tail_id_works = True
        self._version: str | None = None
        self._format: StreamFormat | None = None
        self.over = False
        self._problem: ProtocolError | ApiConnectionError | None = None
        self._framer = EventFramer()

    @classmethod
    def restore(cls, last_event_id: str) -> StreamCursor:
        """Return the cursor whose `last_event_id` this is.

        Also takes the ids servers use. A v2 sequence number (`"42"`) resumes exactly, but for a
        duplicate of what was read before. A v1 entry id (`"1795414755739-0"`) is inexact, because
        it does not name a single part: the rest of that entry's parts are skipped, and the first
        part returned may be the tail of one.

        Raises:
            ValueError: it is none of these.
        """
        cursor = cls()
        if last_event_id.startswith("v1:") or is_v1_id(last_event_id):
            cursor._version, cursor._format = "v1", StreamV1(PositionV1.parse(last_event_id))
        else:
            position = PositionV2.parse(last_event_id)
            cursor._version, cursor._format = "v2", cursor._make_v2(position)
        return cursor

    @property
    def last_event_id(self) -> str | None:
        """The opaque text that `restore` takes; None while there is no position yet.

        It covers all parts returned so far; the one for a single part is its `id`.
        """
        if self._format is None or not self._format.started:
            return None
        return str(self._format.position())

    @property
    def is_within_event(self) -> bool:
        """True while an event of this body has begun and not ended."""
        return self._framer.is_within_event

    @property
    def drained(self) -> bool:
        """True if this body says that nothing more is in the stream now.

        v2 says so within the body; on v1 only the body's clean end does.
        """
        return self._format is not None and self._format.drained

    @property
    def at_unnamed_tail(self) -> bool:
        """True if all was sent that is in the stream now, of a server that does not name its tail.

        Only another body, with `Timeout-Seconds: 0`, proves that nothing more is in the stream.
        """
        return self._format is not None and self._format.at_unnamed_tail

    @property
    def is_holding(self) -> bool:
        """True while a part is held back that may be half a line; see `idle`."""
        return self._format is not None and self._format.is_holding

    @property
    def version(self) -> str | None:
        """The format that was read, or that a restored position is of; None if neither is."""
        return self._version

    @property
    def seeks_tail(self) -> bool:
        """True if the next request may wait for ever: it asks to start at the tail in a way that
        only v2 understands, and the format is not known."""
        return self._format is None and self._from_latest and self._tail_id_works

    def give_up_tail_id(self) -> None:
        """Ask to start at the tail in the other way: no answer came to a request of `seeks_tail`,
        as of v1."""
        self._tail_id_works = False

    def request_headers(self) -> dict[str, str]:
        """Return the headers that make the next body start where this cursor needs it."""
        if self._format is None:
            # v2 is what servers use by default.
            if self._from_latest and not self._tail_id_works:
                return dict(START_AT_LATEST)
            last = self._new_v2().resume_id()
        elif self._version == "v1" and not self._format.started:
            return dict(START_AT_LATEST)
        else:
            last = self._format.resume_id()
        return {} if last is None else {LAST_EVENT_ID: last}

    def open(self, version: str | None) -> bool:
        """Begin a new body; `version` is its `X-Stream-Version`, or None.

        Returns:
            True if the body is of use. If it is not, the request meant nothing, or something else,
            in the server's format: close the body and ask again with `request_headers()`. Where the
            format changed, that starts over and skips as many parts as were returned.

        Raises:
            ProtocolError: the format is unknown.
        """
        version = normal_version(version)
        if version not in ("v1", "v2"):
            raise ProtocolError(f"the stream comes in the unknown format {version[:20]!r}")
        usable = True
        if self._format is None or version != self._version:
            asked = self.request_headers()
            if self._format is not None and self._format.started:
                self._skip_until = max(self._format.index, self._format.skip_until)
                self._start_index, self._from_latest = None, False
            was_known = self._format is not None
            self._version = version
            self._format = self._new_v2() if version == "v2" else self._new_v1()
            if was_known or version == "v1":
                usable = LAST_EVENT_ID not in asked
            else:
                usable = asked == self.request_headers()
        self.over, self._problem = False, None
        self._framer = EventFramer()
        self._format.begin()
        return usable

    def _new_v1(self) -> StreamV1:
        skip_until = max(self._skip_until, self._start_index or 0)
        return StreamV1(PositionV1(skip_until=skip_until), from_latest=self._from_latest)

    def _new_v2(self) -> StreamV2:
        if self._from_latest:
            return self._make_v2(None)
        start = self._start_index
        position = PositionV2(start or 0, start or 0, self._skip_until, start or 0)
        return self._make_v2(position, is_wish=bool(start), wants_all=start is not None)

    def _make_v2(
        self, position: PositionV2 | None, *, is_wish: bool = False, wants_all: bool = True
    ) -> StreamV2:
        return StreamV2(position, is_wish=is_wish, wants_all=wants_all)

    def feed(self, chunk: bytes) -> PartBatch:
        """Take the next bytes of the body; return the parts that are certain now, in order.

        Never raises: a broken body is `over`, and `end()` raises why.
        """
        out = PartBatch()
        if self.over or self._format is None:
            return out
        try:
            events = self._framer.feed(chunk)
            if self._framer.after_comment:
                self._format.idle()
            self._format.take(events, at_end=self._framer.ends_with_event, out=out)
        except (ProtocolError, ApiConnectionError) as problem:
            self._problem = problem
        self.over = self._format.over or self._problem is not None
        return out

    def idle(self) -> None:
        """Expect that what is fed next may have been written after a silence.

        Call it before `feed` when no *part* came for about half of `Timeout-Seconds`, whether for
        want of bytes or because none were read: a server that closes for idleness may send half a
        line. A server's pings show a silence by themselves, so only a time-out shorter than twice
        their 10 s depends on this. A part that could be half a line is returned as soon as any
        more bytes come, a ping at the latest. Everything else is returned at once.
        """
        if self._format is not None:
            self._format.idle()

    def doubt(self) -> None:
        """Expect that the storage may have lost the stream: a request for it failed."""
        if self._format is not None:
            self._format.doubt()

    def end(self, *, clean: bool) -> None:
        """End the body: it ended cleanly, or was cut off.

        Raises:
            ApiConnectionError: the body reported a transient failure. Ask again after a delay.
            ProtocolError: the body broke the protocol. Asking again may help; bound the attempts.
        """
        problem, self._problem = self._problem, None
        if self._format is not None:
            self._format.end(clean=clean and problem is None)
        if problem is not None:
            raise problem

    def finish(self) -> PartBatch:
        """Return what was held back: the run is finished and the stream is drained."""
        return self._format.finish() if self._format is not None else PartBatch()
