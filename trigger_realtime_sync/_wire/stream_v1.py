"""Streams v1, the Redis-backed format, and the resume that is exact on it (protocol section 4).

A Redis entry holds any piece of the writer's text. The server joins the pieces, cuts them at line
ends, drops blank lines, and gives each line the id of the entry that ended it. So an id names the
place of a part only together with what was read before it:

- Reading after an entry that ends mid-line tears the line: read from two ids before the current
  one. The previous id's own parts may then look different; every one of them was handed out, so
  they are dropped by their id. The current id's parts look as they did: they are dropped by count.
- A body that ends for idleness ends with the unfinished line, as if it were a part, under the
  wrong id. So a body's last part is not counted under its id before another one follows; if it
  was handed out, the first uncounted part of the next body is its re-send.
- Such a half mostly shows: it is not JSON. A part that could be one, which comes last after a
  silence, waits for more bytes; if the body ends instead, the next one sends it again, whole.

What cannot be exact: entries the server has dropped (a `BadPart` says so where it can be told, and
the first part after may be the tail of a line); a place that is a bare server id, or that lies
within the first two entries after a start at the tail; and a line of plain text that begins like
`[1] see`, when the server gave up waiting for the rest of it right after its `[1]`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from .joined import MALFORMED, Malformed, loads_all
from .sse import Event
from .stream_parts import BadPart, Part, Parts

_ID = r"[0-9]{1,20}-[0-9]{1,20}"
_IS_ID = re.compile(_ID)
_TOKEN = re.compile(
    rf"v1:({_ID})?,({_ID})?,({_ID})?,([0-9]{{1,15}}),([01]),([0-9]{{1,15}})(?:,([0-9]{{1,15}}))?"
)
_PLAIN_IDS = re.compile(r"[0-9]{1,19}-[0-9]{1,19}(?:,[0-9]{1,19}-[0-9]{1,19})*")
_MAX_U64 = 2**64 - 1
_NOT_JSON = frozenset({"NaN", "Infinity", "-Infinity"})
# What `_judged` may take for text.
_MAY_BE_TEXT = frozenset({Malformed, float})
_CERTAIN = frozenset({dict, list, str})  # what ends with a bracket or quote is no half of itself


class PositionV1(NamedTuple):
    """A place in a v1 stream.

    Attributes:
        after: resume after this id; empty for the beginning.
        previous: the id before the current one, or empty.
        current: the id of the last part counted, or empty.
        counted: how many parts of the current id were counted.
        handed: whether one more part was handed out, whose id is not certain yet.
        consumed: how many parts came before this place.
        skip_until: parts with an index below this one are not wanted (`start_index`).
    """

    after: str = ""
    previous: str = ""
    current: str = ""
    counted: int = 0
    handed: bool = False
    consumed: int = 0
    skip_until: int = 0

    def __str__(self) -> str:
        text = (
            f"v1:{self.after},{self.previous},{self.current},"
            f"{self.counted},{self.handed:d},{self.consumed}"
        )
        return f"{text},{self.skip_until}" if self.skip_until > self.consumed else text

    @classmethod
    def parse(cls, text: str) -> PositionV1:
        """Read what `str()` wrote, or a bare server id: "after that entry, wherever its last
        part ends". Raises ValueError for anything else."""
        if is_v1_id(text):
            return cls(after=text)
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError("not a last_event_id of a v1 stream")
        after, previous, current = (match[n] or "" for n in (1, 2, 3))
        position = cls(
            after,
            previous,
            current,
            int(match[4]),
            match[5] == "1",
            int(match[6]),
            int(match[7] or 0),
        )
        position._check()
        return position

    def _check(self) -> None:
        if (
            not all(is_v1_id(ident) for ident in self[:3] if ident)
            or ((self.previous or self.current) and not self.counted)
            or self.counted + self.handed > self.consumed
        ):
            raise ValueError("not a last_event_id of a v1 stream: its fields contradict each other")


class StreamV1:
    """A v1 stream between events and parts; see `StreamFormat`."""

    def __init__(self, position: PositionV1, *, from_latest: bool = False) -> None:
        self.over = False
        self.drained = False
        (
            self._after,
            self._previous,
            self._current,
            self._counted,
            self._handed,
            self.index,
            self.skip_until,
        ) = position
        self._from_latest = from_latest
        self._held: tuple[Any] | None = None
        self.begin()

    @property
    def started(self) -> bool:
        """Whether the place is known: at the tail, not before the first part was seen."""
        return not self._from_latest

    def resume_id(self) -> str | None:
        """The id two before the current one, None while there is none."""
        return self._after or None

    def position(self) -> PositionV1:
        """The place after the last part handed out."""
        return PositionV1(
            self._after,
            self._previous,
            self._current,
            self._counted,
            self._handed,
            self.index,
            self.skip_until,
        )

    def begin(self) -> None:
        """A new body: it starts with what was handed out before, from `resume_id` on."""
        self.drained = False
        self._replaying = self._counted > 0
        self._replayed = 0
        self._resend = self._handed
        self._last: str | None = None
        self._event_id = ""
        self._silent = False

    def idle(self) -> None:
        """What comes next comes after a silence: its last part may be an unfinished line."""
        self._silent = True

    def end(self, *, clean: bool) -> None:
        """The body ended. A part still held back stays so: the next body sends it again."""
        self.drained = clean

    def finish(self) -> Parts:
        """The stream is over, so what looked like half a line was the whole of the last one."""
        out = Parts()
        self._release(out)
        return out

    def take(self, events: list[Event], *, at_end: bool, out: Parts) -> None:
        """Put the parts of `events` into `out`."""
        if self._replaying or self._resend:
            events = self._without_replays(events, out)
        if events:
            self._take_new(events, out)
            self._silent = False
        # Without events, `at_end` still being true means that no byte came.
        if self._last is not None and not at_end:
            self._release(out)

    def _take_new(self, events: list[Event], out: Parts) -> None:
        values = loads_all([data for _, data, _ in events])
        *earlier, (ident, data, _) = events
        if earlier:
            self._take_certain(earlier, values, out)
        self._follow(ident, out)
        value, certain = _judged(values[-1], data)
        self._held = (value,)
        if certain or not self._silent:
            self._release(out)

    def _take_certain(self, events: list[Event], values: list[Any], out: Parts) -> None:
        """Parts that another one follows in the same bytes."""
        idents = _plain_ids(events)
        begun = 0
        if self._last is None or self._held is not None or idents is None:
            begun = len(events) if idents is None else 1
            for (ident, data, _), value in zip(events[:begun], values, strict=False):
                self._follow(ident, out)
                self._held = (_judged(value, data)[0],)
                self._release(out)
        if idents is not None and begun < len(events):
            self._take_plain(events[begun:], idents[begun:], values[begun:-1], out)

    def _take_plain(
        self, events: list[Event], idents: list[str], values: list[Any], out: Parts
    ) -> None:
        """Parts of good ids, none of which is the first of its body: what `_follow`, `_count` and
        `_release` do to each, done to all at once."""
        if not _MAY_BE_TEXT.isdisjoint(map(type, values)):
            values = [
                _judged(value, event[1])[0] for value, event in zip(values, events, strict=True)
            ]
        skipped = min(max(self.skip_until - self.index, 0), len(values))
        places = _PlacesV1(self.position(), [self._last or "", *idents], skipped)
        out.append_all(values[skipped:], self.index + skipped, places)
        self._last = self._event_id = idents[-1]
        last = places.position_after(len(idents))
        self._after, self._previous, self._current, self._counted, self._handed = last[:5]
        self.index = last.consumed

    def _without_replays(self, events: list[Event], out: Parts) -> list[Event]:
        for n, (ident, _, _) in enumerate(events):
            if self._replaying and self._is_replay(self._id_of(ident), out):
                continue
            if not self._resend:
                return events[n:]
            self._resend = False
            self._follow(ident, out)
        return []

    def _follow(self, ident: str | None, out: Parts) -> None:
        """A part beyond the current place arrived: the one before it is certain by that."""
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

    def _release(self, out: Parts) -> None:
        """Hand out the part in hand."""
        if self._held is None:
            return
        (value,) = self._held
        self._held = None
        index = self.index
        self.index = index + 1
        self._handed = True
        if index >= self.skip_until:
            out.append(Part(value, index, self.position()))

    def _count(self, ident: str) -> None:
        """A part whose id is certain, because another one followed in the same body."""
        if ident == self._current and self._counted:
            self._counted += 1
        else:
            if self._counted:
                self._after = self._previous or self._after
                self._previous = self._current
            self._current, self._counted = ident, 1
        self._handed = False

    def _is_replay(self, ident: str, out: Parts) -> bool:
        """Whether a part from before the current place is it again; ends the replay if not."""
        here, current = _key(ident), _key(self._current)
        if here < current:
            return True
        if here == current and self._replayed < self._counted:
            self._replayed += 1
            return True
        self._replaying = False
        if self._replayed < self._counted:
            self._lost(ident, out)
        return False

    def _lost(self, ident: str, out: Parts) -> None:
        # What was handed out last is gone as well, or can't be told from its neighbours: a part
        # twice is better than one never.
        self._resend = self._handed = False
        reason = f"the server no longer has the parts between {self._current} and {ident}"
        out.append(BadPart(reason, None, self.index, self.position()))

    def _start_before(self, ident: str) -> None:
        """After a start at the tail there is no id before the first: the number before it does."""
        self._from_latest = False
        if not self._after and not self._counted:
            self._after = _before(ident)

    def _id_of(self, ident: str | None) -> str:
        """An event without a usable id counts under the one before it."""
        if ident is not None and ident != self._event_id and is_v1_id(ident):
            self._event_id = ident
        return self._event_id


class _PlacesV1:
    """The places after parts of one body, worked out from the ids of the parts before each.

    Args:
        start: the place before the first of them.
        idents: the id of the part before the first of them, which is not counted yet, and theirs.
        skipped: how many of them are not asked for.
    """

    __slots__ = ("_idents", "_latest", "_skipped", "_start")

    def __init__(self, start: PositionV1, idents: list[str], skipped: int) -> None:
        self._start = start
        self._idents = idents
        self._skipped = skipped
        self._latest = (0, start)

    def __len__(self) -> int:
        return len(self._idents) - 1 - self._skipped

    def __getitem__(self, n: int, /) -> PositionV1:
        if not 0 <= n < len(self):
            raise IndexError(n)
        return self.position_after(n + self._skipped + 1)

    def position_after(self, number: int) -> PositionV1:
        """After so many of them: as many are counted by then, beginning with the one before."""
        before, asked = self._latest
        if before == number - 1:
            # Whoever asks for one after the other need not wait for a whole group each time.
            groups, position = [(self._idents[before], 1)], asked
        else:
            groups, position = _last_groups(self._idents, number), self._start
        for group in groups:
            position = _counted(position, *group)
        position = position._replace(handed=True, consumed=self._start.consumed + number)
        self._latest = (number, position)
        return position


def _counted(position: PositionV1, ident: str, length: int) -> PositionV1:
    """The place after so many more parts of an id are certain."""
    if position.counted:
        if ident == position.current:
            return position._replace(counted=position.counted + length)
        after = position.previous or position.after
        position = position._replace(after=after, previous=position.current)
    return position._replace(current=ident, counted=length)


def _last_groups(idents: list[str], end: int) -> list[tuple[str, int]]:
    """The groups of equal ids next to each other, and their lengths, up to an end. Of these only
    the last three say where it is, whatever came before."""
    groups: list[tuple[str, int]] = []
    while end and len(groups) < 3:
        ident, start = idents[end - 1], end - 1
        while start and idents[start - 1] == ident:
            start -= 1
        groups.append((ident, end - start))
        end = start
    groups.reverse()
    return groups


def _plain_ids(events: list[Event]) -> list[str] | None:
    """The ids, if all events have one, of which none could be too large a number."""
    idents = [ident for ident, _, _ in events]
    if None in idents or _PLAIN_IDS.fullmatch(",".join(idents)) is None:  # type: ignore[arg-type]
        return None
    return idents  # type: ignore[return-value]


def is_v1_id(text: str) -> bool:
    """Whether `text` is a Redis entry id. A malformed one makes the server cut every body."""
    return _IS_ID.fullmatch(text) is not None and max(_key(text)) <= _MAX_U64


def _key(ident: str) -> tuple[int, int]:
    if not ident:
        return (-1, -1)
    ms, _, n = ident.partition("-")
    return int(ms), int(n)


def _before(ident: str) -> str:
    ms, n = _key(ident)
    if n > 0:
        return f"{ms}-{n - 1}"
    return f"{ms - 1}-{_MAX_U64}" if ms > 0 else ""


def _judged(value: Any, data: str) -> tuple[Any, bool]:
    """The value, text where the data is no JSON, and whether it is certain to be a whole line's."""
    if value is MALFORMED or (type(value) is float and data.strip() in _NOT_JSON):
        return data, False
    return value, type(value) in _CERTAIN
