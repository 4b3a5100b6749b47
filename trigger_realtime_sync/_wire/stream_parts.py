"""What a stream hands out: parts, parts that did not decode, and the places after them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeAlias

import attrs

from .sse import Event

Place: TypeAlias = object
"""The place right after a part: its `str()` is the `last_event_id` that resumes right there. Seldom
asked for, so those of many parts are not made before."""


class Places(Protocol):
    """The places after parts that follow each other: a list of them, or what works each out when
    it is asked for."""

    def __len__(self) -> int: ...

    def __getitem__(self, n: int, /) -> Place: ...


class SomePlaces:
    """Of many places, those of these numbers."""

    __slots__ = ("_numbers", "_places")

    def __init__(self, places: Places, numbers: list[int]) -> None:
        self._places = places
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, n: int, /) -> Place:
        return self._places[self._numbers[n]]


@attrs.define
class Part:
    """One part of a stream.

    Attributes:
        value: the decoded JSON, or text.
        index: how many parts came before it, counted from the stream's beginning; from where the
            cursor was started for one that began at the tail or after a server's own id.
        place: right after this part.
    """

    value: Any
    index: int
    place: Place

    @property
    def id(self) -> str:
        """The `last_event_id` that resumes right after this part."""
        return str(self.place)


@attrs.define
class BadPart:
    """A part that did not decode, or word that parts are gone. Nothing else is lost by it.

    Attributes:
        reason: what was wrong, in words for an error message.
        raw: what came in its place, None when nothing did.
        index: as of `Part`; for parts that are gone, the index of the next one.
        place: right after it.
    """

    reason: str
    raw: Any
    index: int
    place: Place

    @property
    def id(self) -> str:
        """The `last_event_id` that resumes right after this part."""
        return str(self.place)


AnyPart = Part | BadPart


@attrs.define
class Stretch:
    """Parts that follow each other, as what they are made of: there may be a thousand of them.

    Attributes:
        values: of the parts.
        index: of the first one.
        places: after each of them.
    """

    values: list[Any]
    index: int
    places: Places


class Parts:
    """Parts in order. Iterating over them makes an object of each.

    Attributes:
        items: the same, with those that came together kept together.
    """

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[AnyPart | Stretch] = []

    def append(self, part: AnyPart) -> None:
        self.items.append(part)

    def append_all(self, values: list[Any], index: int, places: Places) -> None:
        """Parts that follow each other: their values, the index of the first, their places."""
        if values:
            self.items.append(Stretch(values, index, places))

    @property
    def place(self) -> Place:
        """After the last of them."""
        last = self.items[-1]
        return last.places[len(last.values) - 1] if isinstance(last, Stretch) else last.place

    def __iter__(self) -> Iterator[AnyPart]:
        for item in self.items:
            if isinstance(item, Stretch):
                for n, value in enumerate(item.values):
                    yield Part(value, item.index + n, item.places[n])
            else:
                yield item

    def __len__(self) -> int:
        return sum(len(i.values) if isinstance(i, Stretch) else 1 for i in self.items)


class StreamFormat(Protocol):
    """One of the two wire formats, between events and parts. Holds the place across bodies."""

    index: int
    skip_until: int
    over: bool

    @property
    def started(self) -> bool:
        """Whether the place is known, so that `X-Trigger-Stream-Start` would be wrong."""

    @property
    def drained(self) -> bool:
        """Whether the server said that nothing more is there."""

    def resume_id(self) -> str | None:
        """The `Last-Event-ID` to send, None to read from the beginning."""

    def position(self) -> object:
        """The place after the last part handed out; its `str()` is the `last_event_id`."""

    def begin(self) -> None:
        """A new body starts."""

    def take(self, events: list[Event], *, at_end: bool, out: Parts) -> None:
        """Put the parts of `events` into `out`; `at_end` says that no byte followed the last.

        Raises ProtocolError or ApiConnectionError when the body is no use any more; what is in
        `out` by then holds.
        """

    def idle(self) -> None:
        """What comes next comes after a silence."""

    def end(self, *, clean: bool) -> None:
        """The body ended."""

    def finish(self) -> Parts:
        """The stream is over: hand out what was held back."""
