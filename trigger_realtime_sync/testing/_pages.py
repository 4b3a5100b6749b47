"""Lists in pages: which page is asked for, and how one leads to the next."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ._durations import duration, moment
from ._replies import Refused

_MOST = 100
_ItemT = TypeVar("_ItemT")


def query_error(name: str, message: str) -> Refused:
    detail = {"code": "custom", "path": [name], "message": message}
    return Refused(400, {"error": "Query Error", "details": [detail]})


def page(
    items: Sequence[_ItemT], query: Mapping[str, str], key: Callable[[_ItemT], str], usual: int
) -> tuple[list[_ItemT], dict[str, str]]:
    """Return the page that is asked for, and the cursors to those beside it.

    Args:
        items: all of them, in order.
        key: an item's id. Cursors name items, so that new ones move no page.

    Raises:
        Refused: the page is malformed.
    """
    size = _size(query.get("page[size]"), usual)
    places = {key(item): number for number, item in enumerate(items)}
    after, before = (_cursor(query.get(f"page[{name}]")) for name in ("after", "before"))
    start = 0
    if after:
        start = places.get(after, len(items)) + 1
    elif before:
        start = max(0, places.get(before, 0) - size)
    chosen = list(items[start : start + size])
    links = {}
    if start + size < len(items):
        links["next"] = _encode(key(chosen[-1]))
    if start > 0 and chosen:
        links["previous"] = _encode(key(chosen[0]))
    return chosen, links


def _size(text: str | None, usual: int) -> int:
    if text is None:
        return usual
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise query_error("page[size]", f"Must be a number from 1 to {_MOST}")
    return int(text)


def _encode(name: str) -> str:
    return "cursor_" + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _cursor(text: str | None) -> str | None:
    if not text:
        return None
    try:
        middle = text.removeprefix("cursor_")
        return base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)).decode()
    except ValueError:
        raise query_error("page", "Unknown cursor") from None


def window(query: Mapping[str, str], now: float, usual: int | None) -> tuple[float, float]:
    """Return the times, in epoch seconds, between which items were created.

    Args:
        usual: how many seconds back, where the query says nothing; None: any time.
    """
    names = ("period", "from", "to")
    period, start, end = (query.get(f"filter[createdAt][{name}]") for name in names)
    if period is not None:
        # It switches the other two off.
        back = duration(period)
        if back is None:
            raise query_error("filter[createdAt][period]", "Invalid period")
        return now - back, now + 1
    if start is None and end is None:
        return (0.0 if usual is None else now - usual), now + 1
    return _instant(start, 0.0), _instant(end, now + 1)


def _instant(text: str | None, other: float) -> float:
    if text is None:
        return other
    if text.isdecimal():
        return int(text) / 1000
    found: Any = moment(text)
    if found is None:
        raise query_error("filter[createdAt]", "Invalid date")
    return float(found)


def chosen(query: Mapping[str, str], name: str) -> list[str]:
    """Return the values of a filter, which are joined with commas."""
    text = query.get(f"filter[{name}]")
    return text.split(",") if text else []
