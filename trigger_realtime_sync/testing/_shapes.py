"""Shapes, positions in their logs, and answers: common to both backends of the run feeds.

A backend answers at once: `read` returns the answer, or None when a live poll has to be held.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import attrs

from ._rows import Row
from ._store import RunState, Subject


@attrs.frozen
class Shape:
    """Which runs, and which of their columns, a request is about."""

    kind: str
    subject: Subject
    tags: frozenset[str] = frozenset()
    period_ms: int | None = None
    skipped: frozenset[str] = frozenset()

    def holds(self, state: RunState | None, created_after: str = "") -> bool:
        """Return True if the run, in this state, belongs to the shape."""
        if state is None:
            return False
        if self.kind == "run":
            return state.id == self.subject[1]
        if self.kind == "batch":
            return state.batch == self.subject[1]
        return self.tags <= state.tags and (state.row.get("createdAt") or "") >= created_after

    def columns(self, row: Row) -> Row:
        if not self.skipped:
            return row
        return {name: value for name, value in row.items() if name not in self.skipped}


@attrs.frozen
class ShapePosition:
    """Where in the log the client says it is."""

    offset: str
    handle: str | None
    live: bool


@attrs.frozen
class ShapeAnswer:
    """A 200 carries a handle and an offset; anything else is a refusal, explained by its body."""

    body: bytes
    handle: str | None = None
    offset: str | None = None
    status: int = 200
    # Electric: the answer ends with `up-to-date`, which is repeated in a header.
    complete: bool = False


class ShapeBackend(Protocol):
    def read(self, shape: Shape, at: ShapePosition, *, stale: bool = False) -> ShapeAnswer | None:
        """Return the current answer; None if there is nothing new and the poll is live."""

    def idle(self, shape: Shape, at: ShapePosition) -> ShapeAnswer:
        """Return the answer to a live poll that was held in vain."""


def row_key(state: RunState) -> str:
    return f'"public"."TaskRun"/"{state.row["id"]}"'


def messages_body(messages: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(messages) + b"]"
