"""Streams v2: batches of S2 records (protocol section 4).

The place is a sequence number. Each record's body is an envelope of its own, `{"data", "id"}`; two
records with one id are one write that was retried. The ids of the last thousands of records are
kept to tell; a place restored in another process starts by reading one batch back, as much as
one retry repeats, only for their ids.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, NamedTuple

from ..errors import ApiConnectionError, ProtocolError
from .joined import MALFORMED, loads_all
from .json import loads
from .sse import Event
from .stream_parts import BadPart, Part, Parts

REMEMBERED_IDS = 8_000
"""How many envelope ids are kept at most, about 1 MB. The last half of them always are: four of the
largest batches."""

READ_BACK = 1_000
"""How many records before a restored place are read again for their ids: the largest batch."""

_TOKEN = re.compile(r"v2:([0-9]{1,15}),([0-9]{1,15})(?:,([0-9]{1,15}))?")
_DATA, _ID, _END = '{"data":', ',"id":"', '"}'
_SEQ_NUM = re.compile(r"[0-9]{1,15}")


class PositionV2(NamedTuple):
    """A place in a v2 stream.

    Attributes:
        next_seq_num: the sequence number of the next record.
        consumed: how many parts came before this place.
        skip_until: parts with an index below this one are not wanted (`start_index`).
        bare: whether it is a plain sequence number, to be sent as it is.
    """

    next_seq_num: int = 0
    consumed: int = 0
    skip_until: int = 0
    bare: bool = False

    def __str__(self) -> str:
        if self.bare:
            return str(self.next_seq_num - 1)
        text = f"v2:{self.next_seq_num},{self.consumed}"
        return f"{text},{self.skip_until}" if self.skip_until > self.consumed else text

    @classmethod
    def parse(cls, text: str) -> PositionV2:
        """Read what `str()` wrote, or a plain sequence number: "after that record".

        Raises ValueError for anything else."""
        if _SEQ_NUM.fullmatch(text):
            return cls(int(text) + 1, bare=True)
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise ValueError("not a last_event_id of a v2 stream")
        return cls(int(match[1]), int(match[2]), int(match[3] or 0))


class StreamV2:
    """A v2 stream between events and parts; see `StreamFormat`."""

    def __init__(self, position: PositionV2, *, from_latest: bool = False) -> None:
        self.over = False
        self.index = position.consumed
        self.skip_until = position.skip_until
        self._next = position.next_seq_num
        self._bare = position.bare
        self._from_latest = from_latest
        self._from_beginning = not (from_latest or position.next_seq_num)
        self._read_back = 0 if position.bare else READ_BACK
        self._settled = False  # until the first new record: the rest come one after the other
        self._ids: dict[str, None] = {}
        self._tail: int | None = None

    @property
    def started(self) -> bool:
        """Whether the place is known: at the tail, not before the server named it."""
        return not self._from_latest

    @property
    def drained(self) -> bool:
        """Whether the last thing this body said is that no record is left: by a ping alone, which
        comes as soon as that is so. A batch's tail may be its own end, with more to follow."""
        return self._tail is not None and self._tail <= self._next

    def resume_id(self) -> str | None:
        """The last record's sequence number, or one up to a batch before it."""
        last = self._next - 1 - self._read_back
        return str(last) if last >= 0 else None

    def position(self) -> PositionV2:
        """The place after the last record."""
        return PositionV2(self._next, self.index, self.skip_until, self._bare)

    def begin(self) -> None:
        """A new body starts."""
        self.over = False
        self._tail = None

    def idle(self) -> None:
        """Means nothing here: no part is ever in doubt."""

    def end(self, *, clean: bool) -> None:
        """The body ended; whether the stream is drained stays what the server said last."""

    def finish(self) -> Parts:
        """Nothing is ever held back."""
        return Parts()

    def take(self, events: list[Event], *, at_end: bool, out: Parts) -> None:
        """Put the parts of `events` into `out`.

        Raises:
            ApiConnectionError: the server reported a failure, which is transient.
            ProtocolError: a batch is not what it should be.
        """
        for _, data, name in events:
            if self.over:
                return
            if name == "batch":
                self._take_batch(data, out)
            elif name == "ping":
                self._take_ping(data)
            elif name == "error":
                raise ApiConnectionError(f"the stream broke off at the server: {data[:200]}")
            elif data.strip() == "[DONE]":
                self.over = True

    def _take_ping(self, data: str) -> None:
        try:
            self._tail = _tail_of(loads(data))
        except ValueError:
            return
        if self._from_latest and self._tail is not None:
            self._next, self._from_latest = self._tail, False
        if self.drained:
            self._read_back = 0

    def _take_batch(self, data: str, out: Parts) -> None:
        try:
            batch = loads(data)
        except ValueError:
            raise ProtocolError("a batch of the stream is not JSON") from None
        records = batch.get("records") if isinstance(batch, dict) else None
        if not isinstance(records, list):
            raise ProtocolError("a batch of the stream has no list of records")
        bodies = _plain_bodies(records, self._next) if self._settled else None
        if bodies is None or not self._take_plain(bodies, out):
            self._take_any(records, out)
        self._tail = None

    def _take_any(self, records: list[Any], out: Parts) -> None:
        bodies = [_body_of(record) for record in records]
        envelopes = iter(loads_all([body for body in bodies if body is not None]))
        for record, body in zip(records, bodies, strict=True):
            self._take_record(record, None if body is None else next(envelopes), out)

    def _take_plain(self, bodies: list[Any], out: Parts) -> bool:
        """What `_take_record` does, to the bodies of the next records at once. False, and nothing
        done, where one of them may not be an envelope of the usual form, or is a retried write."""
        idents, texts = _split(bodies)
        if len(set(idents)) < len(bodies) or not self._ids.keys().isdisjoint(idents):
            return False
        values = loads_all(texts)
        if MALFORMED in values:
            return False
        index = self.index
        skipped = min(max(self.skip_until - index, 0), len(values))
        places = _PlacesV2(self._next, index, self.skip_until, skipped, len(values) - skipped)
        out.append_all(values[skipped:], index + skipped, places)
        self._next += len(values)
        self.index += len(values)
        self._ids.update(dict.fromkeys(idents))
        self._forget()
        return True

    def _take_record(self, record: Any, envelope: Any, out: Parts) -> None:
        seq_num = record.get("seq_num") if isinstance(record, dict) else None
        if type(seq_num) is not int or not 0 <= seq_num < 10**15:
            self._bad("a record of the stream has no sequence number", record, out)
            return
        again = seq_num < self._next
        if not again:
            self._advance(seq_num)
        elif seq_num == self._next - 1:
            self._read_back = 0
        if type(envelope) is dict:
            self._take_envelope(envelope, again, out)
        elif not again and not _is_command(record) and not _is_control(record):
            body = record.get("body")
            self._bad(f"record {seq_num} of the stream is not an envelope", body, out, counts=True)

    def _advance(self, seq_num: int) -> None:
        if self._from_beginning and seq_num > 0:
            self.index += seq_num  # trimmed: they were parts once
        self._from_beginning = self._from_latest = self._bare = False
        self._read_back = 0
        self._settled = True
        self._next = seq_num + 1

    def _take_envelope(self, envelope: dict[str, Any], again: bool, out: Parts) -> None:
        ident = envelope.get("id")
        if type(ident) is str:
            if ident in self._ids:
                return
            self._ids[ident] = None
            self._forget()
        if again:
            return
        index = self.index
        self.index += 1
        if index >= self.skip_until:
            out.append(Part(envelope.get("data"), index, self.position()))

    def _forget(self) -> None:
        if len(self._ids) > REMEMBERED_IDS:
            # In one sweep: taking the first of a dict each time walks over all that were taken.
            keep = REMEMBERED_IDS // 2
            self._ids = dict.fromkeys(islice(self._ids, len(self._ids) - keep, None))

    def _bad(self, reason: str, raw: Any, out: Parts, *, counts: bool = False) -> None:
        index = self.index
        self.index += counts
        if not counts or index >= self.skip_until:
            out.append(BadPart(reason, raw, index, self.position()))


class _PlacesV2:
    """The places after parts whose records follow each other.

    Args:
        next_seq_num: of the record of the first of them.
        consumed: how many parts came before it.
        skipped: how many of them are not asked for.
        length: how many are.
    """

    __slots__ = ("_consumed", "_length", "_next_seq_num", "_skip_until")

    def __init__(
        self, next_seq_num: int, consumed: int, skip_until: int, skipped: int, length: int
    ) -> None:
        self._next_seq_num = next_seq_num + skipped
        self._consumed = consumed + skipped
        self._skip_until = skip_until
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, n: int, /) -> PositionV2:
        if not 0 <= n < self._length:
            raise IndexError(n)
        return PositionV2(self._next_seq_num + n + 1, self._consumed + n + 1, self._skip_until)


def _plain_bodies(records: list[Any], next_seq_num: int) -> list[Any] | None:
    """The bodies, if these are just the next records, and nothing else of them needs to be looked
    at."""
    try:
        bodies = [record["body"] for record in records if not record.get("headers")]
        numbers = [record["seq_num"] for record in records]
    except (KeyError, TypeError, AttributeError):
        return None
    if len(bodies) < len(records) or set(map(type, numbers)) != {int}:
        return None
    return bodies if numbers == list(range(next_seq_num, next_seq_num + len(numbers))) else None


def _split(bodies: list[Any]) -> tuple[list[str], list[str]]:
    """The ids, and the JSON texts of the data, of envelopes as servers write them: `{"data":…,
    "id":"…"}`. No ids where one may be otherwise.

    Not parsed, and yet certain: where the text between is one JSON value, and the id holds nothing
    but itself, the whole is an object of these two and nothing else.
    """
    try:
        joined = "\n".join(bodies)
    except TypeError:
        return [], []
    pieces = joined[len(_DATA) : -len(_END)].split(f"{_END}\n{_DATA}")
    parts = [piece.rpartition(_ID) for piece in pieces]
    idents = [ident for _, _, ident in parts]
    names = "".join(idents)
    if (
        len(pieces) < len(bodies)
        or joined.count("\n") >= len(bodies)
        or not (joined.startswith(_DATA) and joined.endswith(_END))
        or '"' in names
        or "\\" in names
        or not names.isprintable()
    ):
        return [], []
    return idents, [text for text, _, _ in parts]


def _body_of(record: Any) -> str | None:
    """The body, None where there is none to decode."""
    if not isinstance(record, dict):
        return None
    body = record.get("body")
    return body if isinstance(body, str) and body and not _is_command(record) else None


def _headers_of(record: dict[str, Any]) -> list[list[Any]]:
    headers = record.get("headers")
    if not isinstance(headers, list):
        return []
    return [header for header in headers if isinstance(header, list) and header]


def _is_command(record: dict[str, Any]) -> bool:
    """A trim or a fence: for the storage, not for readers."""
    if not record.get("headers"):
        return False
    headers = _headers_of(record)
    return bool(headers) and headers[0][0] == ""


def _is_control(record: dict[str, Any]) -> bool:
    return not record.get("body") and any(h[0] == "trigger-control" for h in _headers_of(record))


def _tail_of(message: Any) -> int | None:
    tail = message.get("tail") if isinstance(message, dict) else None
    seq_num = tail.get("seq_num") if isinstance(tail, dict) else None
    return seq_num if type(seq_num) is int and seq_num >= 0 else None
