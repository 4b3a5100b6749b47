"""The shape log: what to ask next, and which rows an answer changed. Pure.

Source: docs/protocol.md, section 2.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import attrs

from ..errors import ProtocolError
from . import names as wire
from .postgres import parse_timestamp
from .shape_messages import check_messages, control_of, is_last
from .shape_messages_fast import Inserts

RowT = TypeVar("RowT")
Decode = Callable[[Mapping[str, Any], RowT | None], RowT]
DecodeMany = Callable[[Sequence[Mapping[str, Any]]], "Sequence[RowT] | None"]

# In every whole row, since it can't be skipped.
_RUN_ID = wire.RUN_COLUMNS["id"]
_UPDATED_AT = wire.RUN_COLUMNS["updated_at"]
# From this many new rows in one answer on, they are decoded in bulk: below, it does not pay.
MANY_ROWS = 20
# How many rows are decoded at once: sized for the L2 cache.
MOST_AT_ONCE = 500
# How many deleted rows are remembered, to recognize a late, older state of one.
GONE_LIMIT = 10_000


@attrs.frozen
class Changes(Generic[RowT]):
    """What changed by one answer: nothing, unless the answer was up to date.

    Attributes:
        rows: the changed rows by row key, in the order first touched.
        gone: the row keys of rows that are no longer part of the shape.
        failures: the errors of rows that did not decode, by row key.
    """

    rows: dict[str, RowT] = attrs.field(factory=dict)
    gone: list[str] = attrs.field(factory=list)
    failures: dict[str, ProtocolError] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rows or self.gone or self.failures)


class ShapeLog(Generic[RowT]):
    """The state of one shape: the offset in its log, and its rows.

    Attributes:
        offset: where in the log the next request starts.
        live: whether the next request is a long poll.

    Args:
        decode: makes a row of all its columns and of the row it returned last for them, if any. It
            may raise ProtocolError. Rows compare with `==`, and may have an `updated_at`.
        decode_many: decodes many rows that were not known before; returns None where they are to
            be decoded one by one.
    """

    def __init__(
        self, decode: Decode[RowT], decode_many: DecodeMany[RowT] = lambda rows: None
    ) -> None:
        self._decode = decode
        self._decode_many = decode_many
        self._columns: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, RowT] = {}
        self._gone: dict[str, RowT] = {}
        self._touched: dict[str, None] = {}
        self._deleted: dict[str, None] = {}
        self._stale: set[str] | None = None
        self._unseen: set[str] = set()
        self.offset = wire.START_OFFSET
        self._handle: str | None = None
        self._cursor = ""
        self._cache_buster: str | None = None
        self.live = False

    def query(self) -> dict[str, str]:
        """Return the parameters of the next request."""
        query = {"log": "full", "offset": self.offset}
        if self._handle is not None:
            query["handle"] = self._handle
        if self.live:
            query["live"] = "true"
            query["cursor"] = self._cursor
        if self._cache_buster is not None:
            query[wire.CACHE_BUSTER] = self._cache_buster
        return query

    def refetch(self) -> None:
        """Start again from the beginning of the log, because the server rotated the shape, say.

        The rows stay, to be compared with those that come back: an equal one is no change, and one
        that does not come back is gone.
        """
        self.offset = wire.START_OFFSET
        self._handle = None
        self._cursor = ""
        self._cache_buster = secrets.token_hex(8)
        self.live = False
        self._columns.clear()
        self._touched.clear()
        self._deleted.clear()
        self._stale = set(self._rows)

    def forget_seen(self) -> None:
        """Report every row as changed when it next arrives, even if it is equal."""
        self._unseen = set(self._rows)

    def receive(
        self, headers: Mapping[str, str], messages: Any, source: str
    ) -> Changes[RowT] | None:
        """Apply a whole 200 answer. Return None if it asks to start again, as the log then does.

        Args:
            headers: of the answer, names in lower case.
            messages: its body, as `MessageReader` returns it. A list is emptied: it is most of the
                memory of a large answer.
            source: names the request in errors.

        Raises:
            ProtocolError: a header is missing, or a message has no known form. Nothing of the
                answer was applied.
        """
        if isinstance(messages, Inserts):
            if messages.rows.keys().isdisjoint(self._columns):
                _check_headers(headers, source)
                self._insert(messages.rows)
                return self._go_on(headers, up_to_date=messages.is_last)
            messages = messages.messages()
        check_messages(messages, source)
        _check_headers(headers, source)
        for message in messages:
            if not self._apply(message):
                self.refetch()
                return None
        up_to_date = is_last(messages)
        messages.clear()
        return self._go_on(headers, up_to_date=up_to_date)

    def _go_on(self, headers: Mapping[str, str], *, up_to_date: bool) -> Changes[RowT]:
        self._handle, self.offset = headers[wire.HANDLE], headers[wire.OFFSET]
        self._cursor = headers.get(wire.CURSOR) or self._cursor
        if not up_to_date:
            return Changes()
        self._cache_buster = None
        self.live = True
        return self._up_to_date()

    def receive_nothing(self, headers: Mapping[str, str]) -> Changes[RowT]:
        """Apply a 204: nothing new, up to date.

        A known offset stays: a 204 has no body that would prove its headers whole, and half an
        offset is another offset.
        """
        if self._handle is None:
            self._handle = headers.get(wire.HANDLE)
            self.offset = headers.get(wire.OFFSET) or self.offset
        self._cursor = headers.get(wire.CURSOR) or self._cursor
        self.live = self._handle is not None and self.offset != wire.START_OFFSET
        return self._up_to_date() if self.live else Changes()

    def _insert(self, rows: Mapping[str, dict[str, Any]]) -> None:
        self._columns.update(rows)
        self._touched.update(dict.fromkeys(rows))
        for row_key in self._deleted.keys() & rows.keys():
            del self._deleted[row_key]
        if self._stale is not None:
            self._stale.difference_update(rows)

    def _apply(self, message: dict[str, Any]) -> bool:
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
        row_key, operation = message["key"], message["headers"]["operation"]
        if operation == "delete":
            self._columns.pop(row_key, None)
            self._touched.pop(row_key, None)
            self._deleted[row_key] = None
            return True
        value, known = message["value"], self._columns.get(row_key)
        if known is None:
            if operation == "update" and _RUN_ID not in value:
                return False
        elif _is_older(value, known):
            return True
        elif operation == "update":
            value = {**known, **value}
        self._columns[row_key] = value
        self._touched[row_key] = None
        self._deleted.pop(row_key, None)
        if self._stale is not None:
            self._stale.discard(row_key)
        return True

    def _up_to_date(self) -> Changes[RowT]:
        changes: Changes[RowT] = Changes()
        decoded = self._decoded_at_once()
        if len(decoded) == len(self._touched) and not self._gone:
            # All are new: there is nothing to compare them with.
            self._rows.update(decoded)
            changes.rows.update(decoded)
        else:
            for row_key in self._touched:
                self._settle(row_key, decoded.get(row_key), changes)
        for row_key in [*self._deleted, *(self._stale or ())]:
            if row_key in self._rows:
                self._forget(row_key)
                changes.gone.append(row_key)
        self._touched.clear()
        self._deleted.clear()
        self._stale = None
        return changes

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

    def _settle(self, row_key: str, row: RowT | None, changes: Changes[RowT]) -> None:
        last = self._rows.get(row_key)
        try:
            if row is None:
                row = self._decode(self._columns[row_key], last)
        except ProtocolError as error:
            changes.failures[row_key] = error
            return
        before = last if last is not None else self._gone.pop(row_key, None)
        if before is not None and went_back(before, row):
            # The row was gone and is back in an older state: keep the newest one.
            row = before
        self._rows[row_key] = row
        if last is None or row != last or row_key in self._unseen:
            self._unseen.discard(row_key)
            changes.rows[row_key] = row

    def _forget(self, row_key: str) -> None:
        self._gone[row_key] = self._rows.pop(row_key)
        if len(self._gone) > GONE_LIMIT:
            del self._gone[next(iter(self._gone))]


class MissingHeader(ProtocolError):
    """A 200 lacks a header without which the log can't go on."""


def _check_headers(headers: Mapping[str, str], source: str) -> None:
    for name in (wire.HANDLE, wire.OFFSET):
        if not headers.get(name):
            raise MissingHeader(
                f"{source}: the answer has no {name} header: a proxy stripped it,"
                f" or this is not a Trigger.dev server"
            )


def _is_older(value: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Return True if a row is older than the known one: merging it would bring old columns back."""
    later, earlier = value.get(_UPDATED_AT), known.get(_UPDATED_AT)
    if later == earlier or not isinstance(later, str) or not isinstance(earlier, str):
        return False
    try:
        return parse_timestamp(later) < parse_timestamp(earlier)
    except ValueError:
        return False


def went_back(before: Any, after: Any) -> bool:
    """Return True if a state is older than the one before it (replica lag, a stale cache)."""
    earlier = getattr(before, "updated_at", None)
    later = getattr(after, "updated_at", None)
    return earlier is not None and later is not None and later < earlier
