"""The parameters and the answers of lists. Source: docs/protocol.md, sections R6 and R8."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from ._calls.request import Reply
from ._checks import check_count
from ._decode.rest_run import text
from ._encode.options import check_name
from ._encode.times import check_duration, epoch_milliseconds
from ._http.retry import UnreadableAnswer

__all__ = ["check_filter", "page_query", "read_page", "several", "single", "time_query"]

MOST_ON_A_PAGE = 100


def read_page(reply: Reply) -> tuple[list[dict[str, Any]], str | None]:
    """Return the items of a page, and where the next one begins.

    Raises:
        UnreadableAnswer: it has no items.
    """
    document = reply.json()
    items, pagination = document.get("data"), document.get("pagination")
    if not isinstance(items, list):
        raise UnreadableAnswer(f"{reply.label}: the answer has no list")
    after = pagination.get("next") if isinstance(pagination, dict) else None
    return [one for one in items if isinstance(one, dict)], text(after)


def page_query(page_size: int | None, after: str | None) -> dict[str, str]:
    """Return the parameters of a page.

    Raises:
        ValueError: one can't work.
    """
    query = {}
    if page_size is not None:
        size = check_count(page_size, "page_size", most=MOST_ON_A_PAGE)
        query["page[size]"] = str(size)
    if after is not None:
        query["page[after]"] = check_name(after, "after")
    return query


def time_query(
    created_from: datetime | None, created_to: datetime | None, period: str | timedelta | None
) -> dict[str, str]:
    """Return the parameters of the time in which what is listed was created.

    Raises:
        ValueError: one can't work, or the period stands beside the others, which it switches off.
    """
    query = {}
    if period is not None:
        if created_from is not None or created_to is not None:
            raise ValueError("period says how far back to look: created_from and _to can't too")
        query["filter[createdAt][period]"] = check_duration(period, "period")
    if created_from is not None:
        query["filter[createdAt][from]"] = epoch_milliseconds(created_from, "created_from")
    if created_to is not None:
        query["filter[createdAt][to]"] = epoch_milliseconds(created_to, "created_to")
    return query


def several(name: str, values: str | Iterable[str] | None, parameter: str) -> dict[str, str]:
    """Return the parameter of a filter that takes several values; for errors see `check_filter`."""
    return {} if values is None else {parameter: ",".join(check_filter(values, name))}


def single(name: str, value: str | None, parameter: str) -> dict[str, str]:
    """Return the parameter of a filter that takes one value; for errors see `check_filter`."""
    return {} if value is None else {parameter: check_filter(value, name)[0]}


def check_filter(values: Any, name: str) -> list[str]:
    """Return the values of a filter.

    Raises:
        ValueError: there is none, or one holds a comma, which would make two of it.
    """
    given = [values] if isinstance(values, str) else values
    if not isinstance(given, Iterable):
        raise ValueError(f"{name} must be text or a list of texts, not {type(values).__name__}")
    checked = [check_name(one, name) for one in given]
    if not checked:
        raise ValueError(f"{name} is an empty list")
    for one in checked:
        if "," in one:
            raise ValueError(f"{name}: {one!r} holds a comma, which would make two of it")
    return checked
