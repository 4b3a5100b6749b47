"""Positions in a stream, in either format, and the text that keeps one: a `last_event_id`."""

from __future__ import annotations

import re
from typing import NamedTuple

_V1_ID = r"[0-9]{1,20}-[0-9]{1,20}"
_IS_V1_ID = re.compile(_V1_ID)
_V1_TEXT = re.compile(
    rf"v1:({_V1_ID})?,({_V1_ID})?,({_V1_ID})?"
    r",([0-9]{1,15}),([01]),([0-9]{1,15})(?:,([0-9]{1,15}))?"
)
_V2_TEXT = re.compile(r"v2:([0-9]{1,15}),([0-9]{1,15})(?:,([0-9]{1,15})(?:,([0-9]{1,15}))?)?")
_SEQ_NUM = re.compile(r"[0-9]{1,15}")
MAX_U64 = 2**64 - 1


class PositionV1(NamedTuple):
    """A position in a v1 stream; `stream_v1` explains why it takes so much.

    Attributes:
        after: resume after this id; empty for the beginning.
        previous: the id before the current one, or empty.
        current: the id of the last part counted, or empty.
        counted: how many parts of the current id were counted.
        released: whether one more part was returned, whose id is not certain yet.
        consumed: how many parts came before this position.
        skip_until: parts with an index below this one are not wanted (`start_index`).
    """

    after: str = ""
    previous: str = ""
    current: str = ""
    counted: int = 0
    released: bool = False
    consumed: int = 0
    skip_until: int = 0

    def __str__(self) -> str:
        text = (
            f"v1:{self.after},{self.previous},{self.current},"
            f"{self.counted},{self.released:d},{self.consumed}"
        )
        return f"{text},{self.skip_until}" if self.skip_until > self.consumed else text

    @classmethod
    def parse(cls, text: str) -> PositionV1:
        """Read what `str()` wrote, or a bare server id: "after that entry, wherever its last
        part ends". Raises ValueError for anything else."""
        if is_v1_id(text):
            return cls(after=text)
        match = _V1_TEXT.fullmatch(text)
        if match is None:
            raise ValueError("not a last_event_id of a v1 stream")
        after, previous, current = (match[n] or "" for n in (1, 2, 3))
        counted, released, consumed, skip_until = (int(match[n] or 0) for n in (4, 5, 6, 7))
        position = cls(after, previous, current, counted, bool(released), consumed, skip_until)
        position._check()
        return position

    def _check(self) -> None:
        if (
            not all(is_v1_id(ident) for ident in self[:3] if ident)
            or ((self.previous or self.current) and not self.counted)
            or self.counted + self.released > self.consumed
        ):
            raise ValueError("not a last_event_id of a v1 stream: its fields contradict each other")


class PositionV2(NamedTuple):
    """A position in a v2 stream.

    Attributes:
        next_seq_num: the sequence number of the next record.
        consumed: how many parts came before this position.
        skip_until: parts with an index below this one are not wanted: they were read in the other
            format.
        first: records with a number below this one are not wanted (`start_index`).
        bare: whether it is a server's own sequence number, to be sent as it is.
    """

    next_seq_num: int = 0
    consumed: int = 0
    skip_until: int = 0
    first: int = 0
    bare: bool = False

    def __str__(self) -> str:
        if self.bare:
            return str(self.next_seq_num - 1)
        text = f"v2:{self.next_seq_num},{self.consumed}"
        if self.first > self.next_seq_num:
            return f"{text},{self.skip_until},{self.first}"
        return f"{text},{self.skip_until}" if self.skip_until > self.consumed else text

    @classmethod
    def parse(cls, text: str) -> PositionV2:
        """Read what `str()` wrote, or a bare sequence number: "after that record".

        Raises ValueError for anything else."""
        if _SEQ_NUM.fullmatch(text):
            return cls(int(text) + 1, bare=True)
        match = _V2_TEXT.fullmatch(text)
        if match is None:
            raise ValueError("not a last_event_id of a v2 stream")
        return cls(int(match[1]), int(match[2]), int(match[3] or 0), int(match[4] or 0))

    def after(self, n: int) -> PositionV2:
        """Return the position after part `n` of those that follow, each a record."""
        return PositionV2(
            self.next_seq_num + n + 1, self.consumed + n + 1, self.skip_until, self.first
        )


def is_v1_id(text: str) -> bool:
    """Return True for a Redis entry id. A malformed one makes the server cut every body."""
    return _IS_V1_ID.fullmatch(text) is not None and max(v1_id_key(text)) <= MAX_U64


def v1_id_key(ident: str) -> tuple[int, int]:
    """Return what orders Redis entry ids; the empty one comes first."""
    if not ident:
        return (-1, -1)
    ms, _, n = ident.partition("-")
    return int(ms), int(n)
