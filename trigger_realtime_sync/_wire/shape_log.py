"""The shape log: what to ask next, and which rows an answer changed. Pure.

Source: docs/protocol.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from ..errors import ProtocolError
from . import names as wire
from .changes import Changes
from .gone_rows import AbsentRows, GoneRows, Shelve
from .row_judge import RowJudge, is_finished, is_older
from .shape_messages import check_messages, control_of, ends_within, up_to_date_of
from .shape_messages_fast import Inserts
from .shape_position import ShapePosition

RowT = TypeVar("RowT")
Decode = Callable[[Mapping[str, Any], RowT | None], RowT]
DecodeMany = Callable[[Sequence[Mapping[str, Any]]], "Sequence[RowT] | None"]
Told = Callable[[Iterable[str]], Mapping[str, RowT]]

# In every whole row, since it can't be skipped.
_RUN_ID = wire.RUN_COLUMNS["id"]
# From this many new rows in one answer on, they are decoded in bulk: below, it does not pay.
MANY_ROWS = 20
# How many rows are decoded at once: sized for the L2 cache.
MOST_AT_ONCE = 500
# How many rows a snapshot of native has at the most.
MOST_IN_SNAPSHOT = 1_000


class ShapeLog(ShapePosition, Generic[RowT]):
    """The state of one shape: the position in its log, and its rows.

    Args:
        decode: makes a row of all its columns and of the row it returned last for them, if any. It
            may raise ProtocolError. Rows compare with `==`, and may have an `updated_at` and an
            `is_finished`.
        decode_many: decodes many rows that were not known before; returns None where they are to
            be decoded one by one.
        told: returns the last known states of rows, by anyone's account; by default this log's.
        shelve: returns a row that left the shape as it is kept, and its weight in bytes.
        has_window: whether finished rows leave the shape in the course of time. Native does not say
            so: its snapshots lack them.
    """

    def __init__(
        self,
        decode: Decode[RowT],
        decode_many: DecodeMany[RowT] = lambda rows: None,
        told: Told[RowT] | None = None,
        shelve: Shelve[RowT] = lambda row: (row, 0),
        *,
        has_window: bool = False,
    ) -> None:
        super().__init__()
        self._decode = decode
        self._decode_many = decode_many
        self._told = told or self._reported
        self._columns: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, RowT] = {}
        self._gone: GoneRows[RowT] = GoneRows(shelve)
        self._has_window = has_window
        self._absent = AbsentRows()
        self._judge: RowJudge[RowT] = RowJudge()
        self._touched: dict[str, None] = {}
        self._deleted: dict[str, None] = {}
        # The rows that a snapshot under way has not shown yet, and whether it is a new log's.
        self._unseen: set[str] | None = None
        self._restarted = False
        self._forgotten: set[str] = set()
        self._news = False

    @property
    def doubts(self) -> bool:
        """Whether a state is held back that another answer may confirm."""
        return self._judge.doubts

    @property
    def has_rows(self) -> bool:
        """Whether any row is known."""
        return bool(self._rows)

    def latest(self) -> tuple[str | None, RowT | None]:
        """Return the key and the last known state of the row of a shape that has one row."""
        row_key = next(reversed(self._rows), None)
        if row_key is None:
            return None, None
        return row_key, self.told(row_key)

    def told(self, row_key: str) -> RowT | None:
        """Return the last known state of a row."""
        return self._told((row_key,)).get(row_key, self._rows.get(row_key))

    def is_to_be_looked_at(self) -> bool:
        """Return True if a known row may still change, or if some must have left the shape."""
        if self._has_window and not self.electric and len(self._rows) > MOST_IN_SNAPSHOT:
            return True
        told = self._told(self._rows)
        return not all(map(is_finished, told.values()))

    def columns(self, row_key: str) -> Mapping[str, Any]:
        """Return the columns of a row, as far as the log told them."""
        return self._columns.get(row_key, {})

    def refetch(self, *, refused: bool = False) -> None:
        """Start again from the beginning of the log, because the server rotated the shape, say.

        The rows stay, to be compared with those that come back: an equal one is no change.

        Args:
            refused: the server no longer knows the handle. No later answer may bring it back.
        """
        self.start_over(refused=refused)
        self._columns.clear()
        self._touched.clear()
        self._deleted.clear()
        self._judge.start_over()
        self._unseen = set(self._rows)
        self._restarted = True

    def forget_seen(self) -> None:
        """Report every row as changed when it next arrives, even if it is equal."""
        self._forgotten = set(self._rows)

    def receive(
        self,
        headers: Mapping[str, str],
        messages: Any,
        source: str,
        *,
        live: bool = False,
        now: float = 0.0,
    ) -> Changes[RowT] | None:
        """Apply a whole 200 answer. Return None if it asks to start again, as the log then does.

        Args:
            headers: of the answer, names in lower case.
            messages: its body, as `MessageReader` returns it. A list is emptied: it is most of the
                memory of a large answer.
            source: names the request in errors.
            live: whether the request was a long poll.
            now: seconds of any clock that does not go back.

        Raises:
            ProtocolError: a header is missing, or a message has no known form. Nothing of the
                answer was applied.
        """
        if isinstance(messages, Inserts) and not messages.rows.keys().isdisjoint(self._columns):
            messages = messages.messages()
        if isinstance(messages, Inserts):
            up_to_date, within = messages.up_to_date, False
        else:
            check_messages(messages, source)
            up_to_date, within = up_to_date_of(messages), ends_within(messages)
        _check_headers(headers, source)
        if self._is_of_another_log(headers[wire.HANDLE], up_to_date):
            return None
        if not live and self.live and self._unseen is None:
            self._unseen = set(self._rows)
        if isinstance(messages, Inserts):
            self._insert(messages.rows)
        elif not self._apply_all(messages, live=live):
            return None
        return self._go_on(headers, up_to_date, within=within, live=live, now=now)

    def receive_nothing(
        self, headers: Mapping[str, str], *, live: bool = False, now: float = 0.0
    ) -> Changes[RowT]:
        """Apply a 204: nothing new, up to date. For the arguments see `receive`."""
        self.advance_by_headers(headers)
        return self._up_to_date(live=live, now=now) if self.live else Changes()

    def _is_of_another_log(self, handle: str, up_to_date: Mapping[str, Any] | None) -> bool:
        """Return True, and start again, for a cache's answer or that of another backend."""
        cached = self.is_cached(handle, up_to_date)
        if not cached and not self.is_foreign(handle):
            return False
        self.refetch()
        self.from_cache = cached
        return True

    def _go_on(
        self,
        headers: Mapping[str, str],
        up_to_date: Mapping[str, Any] | None,
        *,
        within: bool,
        live: bool,
        now: float,
    ) -> Changes[RowT]:
        news, self._news = self._news, False
        self.advance(headers, up_to_date, news=news, within=within)
        if not self.live:
            return Changes(news=news)
        changes = self._up_to_date(live=live, now=now)
        changes.news = news
        return changes

    def _insert(self, rows: Mapping[str, dict[str, Any]]) -> None:
        self._news = True
        self._columns.update(rows)
        self._touched.update(dict.fromkeys(rows))
        self._judge.came_whole(rows)
        for row_key in self._deleted.keys() & rows.keys():
            del self._deleted[row_key]
        if self._unseen is not None:
            self._unseen.difference_update(rows)

    def _apply_all(self, messages: list[Any], *, live: bool) -> bool:
        """Apply messages, and empty the list. Return False, and start again, if the log can't go
        on."""
        for message in messages:
            if not self._apply(message, live=live):
                self.refetch()
                return False
        messages.clear()
        return True

    def _apply(self, message: dict[str, Any], *, live: bool) -> bool:
        """Apply one message.

        Returns:
            True if the log can go on. If not, the server said so, or a partial row has no known
            row to merge into: a stale answer from a cache came in between, say, and only a
            snapshot has the whole row.
        """
        if control_of(message) == "must-refetch":
            return False
        if "key" not in message:
            return True
        self._news = True
        row_key, operation = message["key"], message["headers"]["operation"]
        if operation == "delete":
            self._columns.pop(row_key, None)
            self._touched.pop(row_key, None)
            self._judge.forget(row_key)
            self._deleted[row_key] = None
            return True
        value, known = message["value"], self._columns.get(row_key)
        whole = operation == "insert" or known is None or value.keys() >= known.keys()
        if known is None and operation == "update" and _RUN_ID not in value:
            return False
        self._deleted.pop(row_key, None)
        if self._unseen is not None:
            self._unseen.discard(row_key)
        if value == known and not self._forgotten and not self._judge.doubts:
            return True
        self._touched[row_key] = None
        if not whole:
            self._columns[row_key] = {**known, **value}  # type: ignore[dict-item]
            self._judge.went_on(row_key)
        elif wire.LSN in message["headers"] and live:
            self._columns[row_key] = value
            self._judge.went_on(row_key)
        elif known is not None and is_older(value, known):
            # Not the base of later partial rows: the log does not go on from it.
            self._judge.hold(row_key, value)
        else:
            self._columns[row_key] = value
            self._judge.came_whole((row_key,))
        return True

    def _up_to_date(self, *, live: bool, now: float) -> Changes[RowT]:
        changes: Changes[RowT] = Changes()
        decoded = self._decoded_at_once()
        told = self._told(self._touched)
        known = told or self._gone.knows_any_of(self._touched)
        if len(decoded) == len(self._touched) and not known:
            # All are new: there is nothing to compare them with.
            self._rows.update(decoded)
            changes.rows.update(decoded)
        else:
            for row_key in self._touched:
                self._settle(row_key, decoded.get(row_key), told, changes, live=live, now=now)
        if self.electric and not live:
            self._settle_untouched(changes, now)
        changes.missing = self._missing(changes, now)
        for row_key in self._deleted:
            if row_key in self._rows:
                self._forget(row_key)
                changes.gone.append(row_key)
        self._touched.clear()
        self._deleted.clear()
        self._judge.start_over()
        return changes

    def _missing(self, changes: Changes[RowT], now: float) -> list[str] | None:
        """Return the unfinished rows that a whole snapshot lacks; None without one."""
        unseen, restarted = self._unseen, self._restarted
        self._unseen, self._restarted = None, False
        if unseen is None or (self.electric and not restarted):
            # Electric says what follows the offset, and nothing of all other rows.
            return None
        told = self._told(unseen)
        missing, absent = [], []
        for row_key in [row_key for row_key in self._rows if row_key in unseen]:
            # Later answers of this log say nothing of it, not that a doubted state is true.
            self._judge.forget(row_key)
            if row_key in self._deleted:
                continue
            if row_key in told and not is_finished(told[row_key]):
                missing.append(row_key)
            else:
                absent.append(row_key)
        if not restarted:
            # A lagging replica may lack a row as well.
            absent = self._absent.gone(absent, now) if self._has_window else []
        for row_key in absent:
            self._forget(row_key)
            changes.gone.append(row_key)
        return missing

    def _decoded_at_once(self) -> dict[str, RowT]:
        new = [row_key for row_key in self._touched if row_key not in self._rows]
        if len(new) < MANY_ROWS:
            return {}
        decoded: dict[str, RowT] = {}
        for at in range(0, len(new), MOST_AT_ONCE):
            keys = new[at : at + MOST_AT_ONCE]
            rows = self._decode_many([self._columns[row_key] for row_key in keys])
            if rows is not None:
                decoded.update(zip(keys, rows, strict=True))
        return decoded

    def _settle(
        self,
        row_key: str,
        row: RowT | None,
        told: Mapping[str, RowT],
        changes: Changes[RowT],
        *,
        live: bool,
        now: float,
    ) -> None:
        last = self._rows.get(row_key)
        before = told.get(row_key, last)
        columns = self._judge.columns(row_key, self._columns[row_key])
        try:
            if row is None:
                row = self._decode(columns, before)
        except ProtocolError as error:
            changes.failures[row_key] = error
            return
        if before is None:
            before = self._gone.take(row_key)
        known = before if before is not None else self._gone.left_of(row_key)
        if self._judge.accepts(row_key, known, row, live=live, now=now):
            self._columns[row_key] = columns
        elif before is not None:
            row = before
        else:
            # It is back, in a state that is old, and the last one is not kept.
            return
        self._gone.forget(row_key)
        self._rows[row_key] = row
        if last is None or row != before or row_key in self._forgotten:
            self._forgotten.discard(row_key)
            changes.rows[row_key] = row

    def _settle_untouched(self, changes: Changes[RowT], now: float) -> None:
        for row_key, row in self._judge.confirmed(self._touched, now):
            self._gone.forget(row_key)
            self._rows[row_key] = row
            changes.rows[row_key] = row

    def _forget(self, row_key: str) -> None:
        self._columns.pop(row_key, None)
        self._gone.add(row_key, self._rows.pop(row_key))

    def _reported(self, row_keys: Iterable[str]) -> dict[str, RowT]:
        rows = self._rows
        return {row_key: rows[row_key] for row_key in row_keys if row_key in rows}


class MissingHeader(ProtocolError):
    """A 200 lacks a header without which the log can't go on."""


def _check_headers(headers: Mapping[str, str], source: str) -> None:
    for name in (wire.HANDLE, wire.OFFSET):
        if not headers.get(name):
            raise MissingHeader(
                f"{source}: the answer has no {name} header: a proxy stripped it,"
                f" or this is not a Trigger.dev server"
            )
