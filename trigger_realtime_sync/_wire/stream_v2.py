"""Streams v2: batches of S2 records (docs/protocol.md, section 4).

The position is a sequence number. Each record's body is an envelope of its own, `{"data", "id"}`;
two records with one id are one write that was retried. The ids of the last thousands of records are
kept to recognize them; a position restored in another process starts by reading one batch back, as
much as one retry repeats, only for their ids.

Numbers have no holes: a record whose number is beyond the next one says that those between were
trimmed away. They never go back: a tail below the next number, or a record below the one that was
asked for, says that the storage lost the stream or restored an older copy. Then it is read again
from its beginning, but for the records that were handed out before. An S2 that does not name its
tail shows nothing of it: where its ping is the first event after a failure, the last record is read
again, and must be the same.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from ..errors import ApiConnectionError, ProtocolError, StreamRewound, StreamTrimmed
from .joined import loads_all
from .json import loads
from .positions import PositionV2
from .s2_records import body_of, is_command, is_control, mark_of, tail_of, text_of, what_is_wrong
from .sse_fast import Event
from .stream_parts import BadPart, Part, PartBatch
from .stream_v2_fast import usual_records
from .told_records import ToldRecords

REMEMBERED_IDS = 8_000
"""How many envelope ids are kept at most: about 1 MB. At least the last half of them always are,
those of the four largest batches that there can be."""

READ_BACK = 1_000
"""How many records before a restored position are read again for their ids: the largest batch."""

BEYOND_ANY_TAIL = "999999999999999"
"""An id that no stream reaches: servers start behind the latest record, as for any beyond it."""


class StreamV2:
    """Makes parts of the events of a v2 stream, and keeps the position across bodies.

    Args:
        position: where to start; None for the tail.
        is_wish: whether the position only says where to begin: no record of it was read, so the
            stream can't fall behind it.
        wants_all: whether to report records at or after the position that are no longer there.

    Attributes:
        is_holding: always False: no part is ever in doubt.
        over: whether the body said that it has nothing more of use.
        at_unnamed_tail: whether the last event was a ping without a tail, as S2 before 0.39.3 sends
            it: no record is left, as far as the server knows at that moment.
        index: how many parts were returned or skipped.
        skip_until: parts with an index below this one are not wanted.
    """

    def __init__(
        self, position: PositionV2 | None, *, is_wish: bool = False, wants_all: bool = True
    ) -> None:
        self._from_latest = position is None
        position = position or PositionV2()
        self.is_holding = False
        self.over = False
        self.index = position.consumed
        self.skip_until = position.skip_until
        self._next = position.next_seq_num
        self._first = position.first
        self._bare = position.bare
        self._is_wish = is_wish
        self._wants_all = wants_all
        self._counts_trimmed = not (self._from_latest or position.next_seq_num or wants_all)
        self._read_back = 0 if position.bare else READ_BACK
        # True from the first new record on: the rest follow it without gaps.
        self._settled = False
        self._ids: dict[str, None] = {}
        self._told = ToldRecords()
        # After a loss: up to where what was handed out before may come again.
        self._told_until = 0
        # Made when it is needed, for one body.
        self._told_set: set[int] | None = None
        # What tells the last record from any other, where it was read here.
        self._last_mark: tuple[Any, int] | None = None
        # Whether it may have been lost.
        self._in_doubt = False
        # Where it has gone: whether it was trimmed or lost shows by the first record that is there.
        self._lost_below = 0
        self._asked = 0
        self._last_seen: int | None = None
        self._tail: int | None = None
        self._is_done = False
        self.at_unnamed_tail = False

    @property
    def started(self) -> bool:
        """True if the position is known; at the tail it is once the server has named it."""
        return not (self._from_latest or self._is_wish)

    @property
    def drained(self) -> bool:
        """True if this body's last event was `[DONE]`, or a ping that said that no record is left.

        A ping comes as soon as that is so. A batch's tail may be its own end, with more to follow.
        """
        return self._is_done or (self._tail is not None and self._tail <= self._next)

    def resume_id(self) -> str | None:
        """Return the last record's sequence number, or one up to a batch before it."""
        if self._from_latest:
            return BEYOND_ANY_TAIL
        last = self._next - 1 - self._read_back
        return str(last) if last >= 0 else None

    def position(self) -> PositionV2:
        """Return the position after the last record."""
        return PositionV2(self._next, self.index, self.skip_until, self._first, self._bare)

    def begin(self) -> None:
        """Prepare for a new body."""
        self.over = self._is_done = self.at_unnamed_tail = False
        self._tail = self._last_seen = self._told_set = None
        self._asked = 0 if self._from_latest else max(0, self._next - self._read_back)

    def idle(self) -> None:
        """Do nothing: no part is ever in doubt."""

    def doubt(self) -> None:
        """Expect that the storage may have lost the stream: a request for it failed."""
        self._in_doubt = self._last_mark is not None

    def end(self, *, clean: bool) -> None:
        """Do nothing: `drained` stays what the server said last."""

    def finish(self) -> PartBatch:
        """Return nothing: no part is ever held back."""
        return PartBatch()

    def take(self, events: list[Event], *, at_end: bool, out: PartBatch) -> None:
        """Append the parts of `events` to `out`; `at_end` means nothing here.

        What is in `out` when this raises holds.

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
                self._take_ping(data, out)
            elif name == "error":
                raise ApiConnectionError(f"the stream broke off at the server: {data[:200]}")
            elif data.strip() == "[DONE]":
                self._take_done(out)

    def _take_ping(self, data: str, out: PartBatch) -> None:
        try:
            self._tail = tail_of(loads(data))
        except ValueError:
            return
        self.at_unnamed_tail = self._tail is None
        if self._tail is None:
            self._take_unnamed_tail(out)
            return
        self._in_doubt = False
        if self._from_latest:
            self._next, self._from_latest = self._tail, False
        if self._tail < self._next and self.started:
            self._rewind(out)
        elif self.drained:
            self._read_back = 0

    def _take_unnamed_tail(self, out: PartBatch) -> None:
        if self._ended_before_its_position():
            self._rewind(out)
        elif self._in_doubt:
            self.at_unnamed_tail = False
            # Only another body can tell.
            self.over = True
            if self._read_back:
                self._start_over()
            else:
                self._read_back = 1

    def _take_done(self, out: PartBatch) -> None:
        if self._ended_before_its_position():
            self._rewind(out)
        else:
            self.over = self._is_done = True

    def _ended_before_its_position(self) -> bool:
        """Return True if this body read records back, and the last one is not the one that it
        should have read."""
        return self.started and self._last_seen is not None and self._last_seen < self._next - 1

    def _take_batch(self, data: str, out: PartBatch) -> None:
        try:
            batch = loads(data)
        except ValueError:
            raise ProtocolError("a batch of the stream is not JSON") from None
        records = batch.get("records") if isinstance(batch, dict) else None
        if not isinstance(records, list):
            raise ProtocolError("a batch of the stream has no list of records")
        self._tail = None
        self.at_unnamed_tail = False
        if not self._take_fast(records, out):
            self._take_any(records, out)

    def _take_any(self, records: list[Any], out: PartBatch) -> None:
        bodies = [body_of(record) for record in records]
        envelopes = iter(loads_all([body for body in bodies if body is not None]))
        for record, body in zip(records, bodies, strict=True):
            self._take_record(record, None if body is None else next(envelopes), out)
            if self.over:
                return

    def _take_fast(self, records: list[Any], out: PartBatch) -> bool:
        """Do at once what `_take_record` does; return False, and do nothing, if it can't be."""
        usual = usual_records(records, self._next, self._ids) if self._settled else None
        if usual is None or not self._are_parts(usual[1]):
            return False
        idents, values, bodies = usual
        out.append_all(values, self.index, self.position().after, self.skip_until)
        self._next += len(values)
        self._last_seen = self._next - 1
        self._last_mark = mark_of(records[-1])
        self.index += len(values)
        self._ids.update(idents)
        self._told.add(bodies)
        self._in_doubt = False
        self._forget()
        return True

    def _are_parts(self, values: list[Any]) -> bool:
        """Return False if one of these values may be something else than a part."""
        return True

    def _take_record(self, record: Any, envelope: Any, out: PartBatch) -> None:
        seq_num = record.get("seq_num") if isinstance(record, dict) else None
        if type(seq_num) is not int or not 0 <= seq_num < 10**15:
            self._bad("a record of the stream has no sequence number", record, out)
            return
        again = seq_num < self._next
        if not again:
            self._advance(seq_num, out)
        elif seq_num < self._asked and self.started and self._is_news(record, envelope):
            self._rewind(out)
            return
        elif seq_num == self._next - 1:
            self._read_back = 0
            self._in_doubt = False
            if self._last_mark not in (None, mark_of(record)):
                self._rewind(out)
                return
        self._last_seen = seq_num
        if not again:
            self._last_mark = mark_of(record)
        again = again or seq_num < self._first
        out.skipped += again
        if type(envelope) is dict:
            self._take_envelope(envelope, record["body"], again, out)
        elif is_control(record):
            self._take_control(record, again, out)
        elif not again and not is_command(record):
            body = record.get("body")
            self._bad(what_is_wrong(seq_num, body), body, out, counts=True)

    def _take_control(self, record: dict[str, Any], again: bool, out: PartBatch) -> None:
        """Leave a control record out: only sessions have any that mean something."""

    def _is_news(self, record: Any, envelope: Any) -> bool:
        """Return True for a part that was not handed out: one that was only shows that the server,
        or something between, does not heed the id that it was asked for."""
        if type(envelope) is not dict or not text_of(envelope.get("id")):
            return False
        if self._told_set is None:
            self._told_set = self._told.as_set()
        return hash(record["body"]) not in self._told_set

    def _advance(self, seq_num: int, out: PartBatch) -> None:
        if self._counts_trimmed:
            self.index += seq_num  # the trimmed records were parts once
        elif self._wants_all and not self._from_latest and seq_num > self._next:
            self._report_trimmed(seq_num, out)
        if seq_num < self._lost_below:
            self._report_rewound(self._lost_below, out)
        self._lost_below = 0
        self._counts_trimmed = self._from_latest = self._bare = self._is_wish = False
        self._wants_all = True
        self._in_doubt = False
        self._read_back = 0
        self._settled = self._told_until <= seq_num and self._first <= seq_num
        if self._settled:
            self._told.settle()
        self._next = seq_num + 1

    def _report_trimmed(self, seq_num: int, out: PartBatch) -> None:
        what = f"records {self._next} to {seq_num - 1} were"
        if seq_num == self._next + 1:
            what = f"record {self._next} was"
        position = PositionV2(seq_num, self.index, self.skip_until, self._first)
        out.append(
            BadPart(f"{what} trimmed away unread", None, self.index, position, StreamTrimmed)
        )

    def _rewind(self, out: PartBatch) -> None:
        """Go back to the beginning: this is another stream, or an older state of the same."""
        read = self._next
        self._start_over()
        self._lost_below = 0
        self._report_rewound(read, out)

    def _start_over(self) -> None:
        """Go back to the beginning; what is told of it depends on what is there."""
        self._told.start_over()
        self._told_until = self._lost_below = max(self._told_until, self._next)
        self._next = self._read_back = 0
        self._settled = self._bare = self._wants_all = self._is_wish = self._in_doubt = False
        self._last_mark = None
        # An id alone says too little here: it has seven characters.
        self._ids.clear()
        self.over = True

    def _report_rewound(self, read: int, out: PartBatch) -> None:
        reason = (
            f"the server's storage lost the stream, or put it back to before record {read};"
            f" it is read again from its beginning, and what was not remembered is told again"
        )
        out.append(BadPart(reason, None, self.index, self.position(), StreamRewound))

    def _take_envelope(
        self, envelope: dict[str, Any], body: str, again: bool, out: PartBatch
    ) -> None:
        ident = text_of(envelope.get("id"))
        if ident:
            if ident in self._ids:
                out.skipped += not again
                return
            self._ids[ident] = None
            self._forget()
        if again:
            return
        if ident and self._told.is_again(body):
            out.skipped += 1
            return
        self._take_value(envelope.get("data"), out)

    def _take_value(self, value: Any, out: PartBatch) -> None:
        index = self.index
        self.index += 1
        if index >= self.skip_until:
            out.append(Part(value, index, self.position()))
        else:
            out.skipped += 1

    def _forget(self) -> None:
        if len(self._ids) > REMEMBERED_IDS:
            # In one sweep: removing the first key of a dict walks over all removed before it.
            keep = REMEMBERED_IDS // 2
            self._ids = dict.fromkeys(islice(self._ids, len(self._ids) - keep, None))

    def _bad(self, reason: str, raw: Any, out: PartBatch, *, counts: bool = False) -> None:
        index = self.index
        self.index += counts
        if not counts or index >= self.skip_until:
            out.append(BadPart(reason, raw, index, self.position()))
