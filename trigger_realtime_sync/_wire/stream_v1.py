"""Streams v1, the Redis-backed format, and the resume that is exact on it.

Source: docs/protocol.md, section 4.

A Redis entry holds any piece of the writer's text. The server joins the pieces, cuts them at line
ends, drops blank lines, and gives each line the id of the entry that ended it. So an id gives the
position of a part only together with what was read before it:

- Reading after an entry that ends mid-line tears the line: read from two ids before the current
  one. The previous id's own parts may then look different; every one of them was returned, so
  they are dropped by their id. The current id's parts look as they did: they are dropped by count.
- A body that ends for idleness ends with the unfinished line, as if it were a part, under the
  wrong id. So a body's last part is not counted under its id before another one follows; if it
  was returned, the first uncounted part of the next body is its re-send.
- Such a half mostly shows: it is not JSON. A part that could be one, and comes last after a
  silence, is held back until more bytes come; if the body ends instead, the next one sends it
  again, whole.

Servers before 4.1.2 send no ids: each body begins at the oldest entry that is left. What comes
again is dropped by count, as long as it is what was read; where it is not, entries are gone, and
all that is left is returned, after a report.

Three cases can't be exact: entries the server has dropped (a `BadPart` says so where that can be
known, and the first part after it may be the tail of a line); a position that is a bare server id,
or that lies within the first two entries after a start at the tail; and a line of plain text that
begins like `[1] see`, if the server gave up waiting for the rest of it right after its `[1]`.
"""

from __future__ import annotations

from typing import Any

from ..errors import StreamTrimmed
from .joined import loads_all
from .positions import MAX_U64, PositionV1, is_v1_id, v1_id_key
from .sse_fast import Event
from .stream_parts import BadPart, Part, PartBatch
from .stream_v1_fast import usual_parts, value_or_text

# A value that ends with a bracket or quote can't be the first half of a line.
_CERTAIN = frozenset({dict, list, str})


class StreamV1:
    """Makes parts of the events of a v1 stream, and keeps the position across bodies.

    Attributes:
        over: always False: only its end ends a body.
        at_unnamed_tail: always False: nothing within a body says that it has all.
        drained: whether the last body ended cleanly.
        index: how many parts were returned or skipped.
        skip_until: parts with an index below this one are not wanted.
    """

    def __init__(self, position: PositionV1, *, from_latest: bool = False) -> None:
        self.over = False
        self.at_unnamed_tail = False
        self.drained = False
        self._go_to(position)
        self._from_latest = from_latest
        self._held: tuple[Any] | None = None
        # Of the parts without an id, by which they are recognized.
        self._hashes: list[int] = []
        # The first part, as long as no other one followed it; empty where another process read it.
        self._first_data = ""
        self.begin()

    @property
    def started(self) -> bool:
        """True if the position is known; at the tail it is once the first part was seen."""
        return not self._from_latest

    @property
    def is_holding(self) -> bool:
        """True while a part is held back."""
        return self._held is not None

    def resume_id(self) -> str | None:
        """Return the id two before the current one, None while there is none."""
        return self._after or None

    def position(self) -> PositionV1:
        """Return the position after the last part returned."""
        return PositionV1(
            self._after,
            self._previous,
            self._current,
            self._counted,
            self._released,
            self.index,
            self.skip_until,
        )

    def begin(self) -> None:
        """Prepare for a new body, which repeats what was returned, from `resume_id` on."""
        self.drained = False
        self._replaying = self._counted > 0
        self._replayed = 0
        self._resend = self._released
        del self._hashes[self._counted + self._released :]
        self._last: str | None = None
        self._event_id = ""
        self._silent = False

    def idle(self) -> None:
        """Expect that the last of the next parts may be an unfinished line: there was a silence."""
        self._silent = True

    def doubt(self) -> None:
        """Do nothing: the ids of entries are times, which a lost stream never goes back behind."""

    def end(self, *, clean: bool) -> None:
        """End the body. A part that is held back stays so: the next body sends it again."""
        self.drained = clean

    def finish(self) -> PartBatch:
        """Return the part held back: the stream is over, so it was the whole of the last line."""
        out = PartBatch()
        self._release(out)
        return out

    def take(self, events: list[Event], *, at_end: bool, out: PartBatch) -> None:
        """Append the parts of `events` to `out`; `at_end` says that no byte followed the last."""
        if self._replaying or self._resend:
            events = self._without_replays(events, out)
        if events:
            self._take_new(events, out)
            self._silent = False
        # Without events, `at_end` is True only if no byte came.
        if self._last is not None and not at_end:
            self._release(out)

    def _take_new(self, events: list[Event], out: PartBatch) -> None:
        values = loads_all([data for _, data, _ in events])
        *certain, (ident, data, _) = events
        self._take_certain(certain, values[:-1], out)
        self._follow(ident, out)
        self._remember(data)
        self._held = (value_or_text(values[-1], data),)
        if not self._silent or type(values[-1]) in _CERTAIN:
            self._release(out)

    def _take_certain(self, events: list[Event], values: list[Any], out: PartBatch) -> None:
        """Take parts that another one follows in the same bytes."""
        first = 1 if self._last is None or self._held is not None else 0
        self._take_each(events[:first], values, out)
        if not self._take_fast(events[first:], values[first:], out):
            self._take_each(events[first:], values[first:], out)

    def _take_each(self, events: list[Event], values: list[Any], out: PartBatch) -> None:
        for (ident, data, _), value in zip(events, values, strict=False):
            self._follow(ident, out)
            self._remember(data)
            self._held = (value_or_text(value, data),)
            self._release(out)

    def _remember(self, data: str) -> None:
        self._first_data = "" if self._counted else data.strip()
        if not self._event_id:
            self._hashes.append(hash(data))

    def _take_fast(self, events: list[Event], values: list[Any], out: PartBatch) -> bool:
        """Do at once what `_take_each` does; return False, and do nothing, if it can't be.

        The part before them must be in the same body, and returned.
        """
        if not events or self._last is None:
            return False
        usual = usual_parts(self.position(), self._last, events, values)
        if usual is None:
            return False
        idents, values, positions = usual
        out.append_all(values, self.index, positions, self.skip_until)
        self._last = self._event_id = idents[-1]
        self._go_to(positions(len(idents) - 1))
        return True

    def _go_to(self, position: PositionV1) -> None:
        (
            self._after,
            self._previous,
            self._current,
            self._counted,
            self._released,
            self.index,
            self.skip_until,
        ) = position

    def _without_replays(self, events: list[Event], out: PartBatch) -> list[Event]:
        for n, (ident, data, _) in enumerate(events):
            if self._replaying and self._is_replay(self._id_of(ident), data, out):
                out.skipped += 1
                continue
            if not self._resend:
                return events[n:]
            self._resend = False
            if self._is_another(data):
                self._lost_the_first(out)
                return events[n:]
            self._follow(ident, out)
        return []

    def _is_another(self, data: str) -> bool:
        """Return True if this is not the first part, nor the line that it was the first half of,
        where no other part shows that it is still there."""
        return not self._counted and not data.lstrip().startswith(self._first_data)

    def _follow(self, ident: str | None, out: PartBatch) -> None:
        """Move on to a part beyond the current position, which makes the one before it certain."""
        if ident != self._event_id:
            self._id_of(ident)
        if self._last is not None:
            if self._held is not None:
                self._release(out)
            self._count(self._last)
        elif self._from_latest:
            self._start_before(self._event_id)
        self._last = self._event_id
        self._held = None

    def _release(self, out: PartBatch) -> None:
        """Append the part that is held to `out`."""
        if self._held is None:
            return
        (value,) = self._held
        self._held = None
        index = self.index
        self.index = index + 1
        self._released = True
        if index >= self.skip_until:
            out.append(Part(value, index, self.position()))
        else:
            out.skipped += 1

    def _count(self, ident: str) -> None:
        """Count a part whose id is certain, because another one followed in the same body."""
        if ident == self._current and self._counted:
            self._counted += 1
        else:
            if self._counted:
                self._after = self._previous or self._after
                self._previous = self._current
            self._current, self._counted = ident, 1
        self._released = False

    def _is_replay(self, ident: str, data: str, out: PartBatch) -> bool:
        """Return True if this part was returned before; end the replay if it was not."""
        if not ident and not self._is_remembered(data):
            self._replaying = False
            self._lost_without_ids(out)
            return False
        here, current = v1_id_key(ident), v1_id_key(self._current)
        if here < current:
            return True
        if here == current and self._replayed < self._counted:
            self._replayed += 1
            return True
        self._replaying = False
        if self._replayed < self._counted:
            self._lost(ident, out)
        return False

    def _is_remembered(self, data: str) -> bool:
        """Return False if this part without an id, read in its place before, was another one."""
        known = self._hashes[self._replayed : self._replayed + 1]
        return self._replayed >= self._counted or not known or known == [hash(data)]

    def _lost_without_ids(self, out: PartBatch) -> None:
        self._resend = self._released = False
        self._counted = 0
        self._hashes.clear()
        reason = (
            "the server, older than 4.1.2, sends no ids, and has dropped parts: what is left is"
            " delivered again"
        )
        out.append(BadPart(reason, None, self.index, self.position(), StreamTrimmed))

    def _lost_the_first(self, out: PartBatch) -> None:
        self._released = False
        self._hashes.clear()
        reason = "the server no longer has the part that was read, and perhaps some after it"
        out.append(BadPart(reason, None, self.index, self.position(), StreamTrimmed))

    def _lost(self, ident: str, out: PartBatch) -> None:
        # The part returned last is gone as well, or looks like its neighbours: better one part
        # twice than one never.
        self._resend = self._released = False
        reason = f"the server no longer has the parts between {self._current} and {ident}"
        # None of what was counted is left: what follows is told apart by itself from now on.
        self._after, self._previous, self._current, self._counted = self._current, "", "", 0
        out.append(BadPart(reason, None, self.index, self.position(), StreamTrimmed))

    def _start_before(self, ident: str) -> None:
        """Resume before the first part of a tail: no id is known there, so make one."""
        self._from_latest = False
        if not self._after and not self._counted:
            self._after = _before(ident)

    def _id_of(self, ident: str | None) -> str:
        """Return the id an event counts under: its own, or the one before it if it has no usable
        one."""
        if ident is not None and ident != self._event_id and is_v1_id(ident):
            self._event_id = ident
        return self._event_id


def _before(ident: str) -> str:
    ms, n = v1_id_key(ident)
    if n > 0:
        return f"{ms}-{n - 1}"
    return f"{ms - 1}-{MAX_U64}" if ms > 0 else ""
