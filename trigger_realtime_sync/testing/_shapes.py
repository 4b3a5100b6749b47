"""Shapes, positions in their logs, and answers: common to both backends of the run feeds.

A backend answers at once: `read` returns the answer, or None when a live poll has to be held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import attrs

from ._rows import BackendName, Row
from ._store import RunState, Subject


@attrs.frozen
class Shape:
    """Which runs, and which of their columns, a request is about.

    Attributes:
        replica: Electric's parameter of that name: `"full"` makes whole rows of its updates, and
            another shape (docs/protocol.md, section 2, item 7).
    """

    kind: str
    subject: Subject
    tags: frozenset[str] = frozenset()
    period_ms: int | None = None
    skipped: frozenset[str] = frozenset()
    replica: str = ""

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
    """Where in the log the client says it is.

    Attributes:
        held: True once the poll has been held.
    """

    offset: str
    handle: str | None
    live: bool
    held: bool = False


@attrs.frozen
class ShapeAnswer:
    """A 200 carries a handle and an offset; anything else is a refusal, explained by its body.

    Attributes:
        complete: Electric: the answer ends with `up-to-date`, which is repeated in a header.
        headers: others that the backend sends, those for caches first of all.
    """

    body: bytes
    handle: str | None = None
    offset: str | None = None
    status: int = 200
    complete: bool = False
    headers: Mapping[str, str] = attrs.field(factory=dict)


class ShapeBackend(Protocol):
    name: BackendName

    def read(
        self, shape: Shape, at: ShapePosition, *, stale: bool = False, leave_out: int = 0
    ) -> ShapeAnswer | None:
        """Return the current answer; None if there is nothing new and the poll is live.

        Args:
            stale: answer from an earlier state.
            leave_out: how many of the last changes to leave out, though the offset passes them.
        """

    def idle(self, shape: Shape, at: ShapePosition) -> ShapeAnswer:
        """Return the answer to a live poll that was held in vain."""

    def hold_seconds(self, hold: float) -> float:
        """Return how long to hold a live poll that is to be held for about `hold` seconds."""


def row_key(state: RunState) -> str:
    return f'"public"."TaskRun"/"{state.row["id"]}"'


def messages_body(messages: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(messages) + b"]"
