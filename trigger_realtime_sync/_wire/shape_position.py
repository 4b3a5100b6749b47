"""Where in the log of a shape a reader is, and so what it asks next. Pure.

Source: docs/protocol.md, section 2.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from . import names as wire

# How many offsets are remembered that were looked at twice.
LOOKED_AT_LIMIT = 1000
# How many handles are remembered that a 409 refused.
REFUSED_LIMIT = 10


class ShapePosition:
    """Offset, handle and cursor, and what the last answer said of them.

    Attributes:
        offset: where in the log the next request starts.
        live: whether the log is up to date, so that the next request may be a long poll.
        electric: whether the backend is Electric, by its last answer that was up to date.
        ask_again: whether this offset must be asked for once more, not live: Electric may have left
            a change out.
        from_cache: whether the last answer named a handle that a 409 had refused, as only a cache
            does.
        unmoved: whether the first answer after a snapshot left the offset where it was. A sound
            Electric moves it.
    """

    def __init__(self) -> None:
        self.offset = wire.START_OFFSET
        self.live = False
        self.electric = False
        self.ask_again = False
        self.from_cache = False
        self.unmoved = False
        self._handle: str | None = None
        self._refused: dict[str, None] = {}
        self._cursor = ""
        self._cache_buster: str | None = None
        self._looked_at: set[str] = set()

    @property
    def is_at_start(self) -> bool:
        """Whether the next request asks for a snapshot of a new log."""
        return self.offset == wire.START_OFFSET

    def query(self, *, at_once: bool = False) -> dict[str, str]:
        """Return the parameters of the next request.

        Args:
            at_once: whether it must not be a long poll, though the log is up to date. It asks for
                what follows the offset, or (native) for a whole snapshot, from no cache.
        """
        query = {"log": "full", "offset": self.offset}
        if self._handle is not None:
            query["handle"] = self._handle
        if self.live and not at_once:
            query["live"] = "true"
            query["cursor"] = self._cursor
        elif self.live:
            query[wire.CACHE_BUSTER] = secrets.token_hex(8)
        elif self._cache_buster is not None:
            query[wire.CACHE_BUSTER] = self._cache_buster
        return query

    def start_over(self, *, refused: bool = False) -> None:
        """Go to the beginning of the log.

        Args:
            refused: the server no longer knows the handle. No later answer may bring it back.
        """
        if refused and self._handle is not None:
            self._refused[self._handle] = None
            if len(self._refused) > REFUSED_LIMIT:
                del self._refused[next(iter(self._refused))]
        self.offset = wire.START_OFFSET
        self.live = self.ask_again = self.from_cache = self.unmoved = False
        self._handle = None
        self._cursor = ""
        self._cache_buster = secrets.token_hex(8)
        self._looked_at.clear()

    def is_cached(self, handle: str, up_to_date: Mapping[str, Any] | None) -> bool:
        """Return True for an answer that a cache gave after the server had refused its handle.

        Native's handle of a run is always the same one, and only Electric refuses handles.
        """
        native = up_to_date is not None and wire.LAST_SEEN_LSN not in up_to_date
        return handle in self._refused and not native

    def is_foreign(self, handle: str) -> bool:
        """Return True for an answer out of another log than the one that was asked for."""
        return self._handle is not None and handle != self._handle

    def advance(
        self,
        headers: Mapping[str, str],
        up_to_date: Mapping[str, Any] | None,
        *,
        news: bool,
        within: bool,
    ) -> None:
        """Go on behind a whole answer.

        Args:
            headers: of the answer, names in lower case.
            up_to_date: the headers of the `up-to-date` that ends it, None without one.
            news: whether it has rows.
            within: whether it ends within a transaction.
        """
        asked, was_live = self.offset, self.live
        self._handle, self.offset = headers[wire.HANDLE], headers[wire.OFFSET]
        self._cursor = headers.get(wire.CURSOR) or self._cursor
        self.live = up_to_date is not None
        self.unmoved = self.ask_again = False
        if up_to_date is None:
            return
        self._cache_buster = None
        self.electric = wire.LAST_SEEN_LSN in up_to_date
        if not self.electric:
            return
        self.unmoved = not was_live and asked == self.offset and _is_within_snapshot(asked)
        skipped = not news and self.offset != asked and not _is_of_snapshot(self.offset)
        self.ask_again = (skipped or within) and self._may_look_again(asked)
        if self.ask_again:
            # The log is whole there.
            self.offset = asked

    def advance_by_headers(self, headers: Mapping[str, str]) -> None:
        """Go on behind a 204.

        A known offset stays: a 204 has no body that would prove its headers whole, and half an
        offset is another offset.
        """
        if self._handle is None:
            self._handle = headers.get(wire.HANDLE)
            self.offset = headers.get(wire.OFFSET) or self.offset
        self._cursor = headers.get(wire.CURSOR) or self._cursor
        self.live = self._handle is not None and not self.is_at_start
        self.ask_again = self.unmoved = False

    def _may_look_again(self, offset: str) -> bool:
        """Return True once for each offset: what is asked for there again is the last word."""
        if offset == wire.START_OFFSET or offset in self._looked_at:
            return False
        if len(self._looked_at) >= LOOKED_AT_LIMIT:
            self._looked_at.clear()
        self._looked_at.add(offset)
        return True


def _is_of_snapshot(offset: str) -> bool:
    return offset.startswith(wire.SNAPSHOT_OFFSETS)


def _is_within_snapshot(offset: str) -> bool:
    return _is_of_snapshot(offset) and offset != wire.SNAPSHOT_END
