"""Which records of a v2 stream were handed out, as far back as is remembered."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

MOST_REMEMBERED = 100_000
"""How many records are remembered at least, the newest ones; in up to a quarter more."""


class ToldRecords:
    """Remembers records by 64 bits of the hash of their bodies, 0.8 MB for the most.

    A body holds the record's id, so two with the same body have the same id as well.
    """

    def __init__(self) -> None:
        self._hashes: array[int] = array("q")
        # After a loss: what was handed out before it, and may come again.
        self._before: set[int] = set()

    def add(self, bodies: Iterable[str]) -> None:
        """Remember the bodies of records that were handed out."""
        self._hashes.fromlist(list(map(hash, bodies)))
        if len(self._hashes) > MOST_REMEMBERED * 5 // 4:
            del self._hashes[:-MOST_REMEMBERED]

    def is_again(self, body: str) -> bool:
        """Return True if a record was handed out before a loss; remember it otherwise."""
        if hash(body) in self._before:
            return True
        self.add([body])
        return False

    def as_set(self) -> set[int]:
        """Return the hashes, to look records up after a loss."""
        return set(self._hashes)

    def start_over(self) -> None:
        """Expect all of them again: the stream was lost."""
        self._before |= self.as_set()

    def settle(self) -> None:
        """Expect none of them again."""
        self._before = set()
