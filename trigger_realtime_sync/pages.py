"""Lists that a server hands out page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from .errors import ProtocolError

__all__ = ["Page"]

ItemT = TypeVar("ItemT")


class Page(Generic[ItemT]):
    """A page of a list. Iterated over, it goes on to the last page, asking for one at a time.

    Attributes:
        items: those of this page.
        next: what `after=` of the next page is; None if this is the last one.
    """

    def __init__(
        self, items: list[ItemT], next: str | None, turn: Callable[[str], Page[ItemT]]
    ) -> None:
        self.items = items
        self.next = next
        self._turn = turn

    def __iter__(self) -> Iterator[ItemT]:
        page, seen = self, set[str]()
        while True:
            yield from page.items
            if page.next is None:
                return
            if page.next in seen:
                raise ProtocolError("the server's list goes in a circle")
            seen.add(page.next)
            page = page._turn(page.next)

    def first(self, n: int) -> list[ItemT]:
        """Return the first `n` items, of as many pages as it takes."""
        return list(islice(self, n))

    def __repr__(self) -> str:
        return f"<Page of {len(self.items)}{'' if self.next is None else ', and more'}>"
