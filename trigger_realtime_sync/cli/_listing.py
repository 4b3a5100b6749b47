"""What the commands that list have in common: how far back, how many, and what is left out."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from .. import Page
from ._output import warn
from ._values import age, count

ItemT = TypeVar("ItemT")

# As many as a server puts on a page by itself, and at the most.
USUAL_LIMIT = 25
MOST_ON_A_PAGE = 100

# What this program itself calls a status, and what servers do.
_SPELLED = {"CANCELLED": "CANCELED"}


def add_listing(parser: argparse.ArgumentParser, *, since: str) -> None:
    """Add the options of a list.

    Args:
        since: how far back is looked by default.
    """
    parser.add_argument(
        "--since",
        metavar="AGE",
        type=age,
        help=f"only those created within this time, such as 90m or 1d; default: {since}",
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count,
        default=USUAL_LIMIT,
        help=f"at most so many, the newest; default: {USUAL_LIMIT}",
    )


def listing_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of `client.….list` that all lists have."""
    # One more than is shown, so that it is known whether there are more.
    return {"period": options.since, "page_size": min(options.limit + 1, MOST_ON_A_PAGE)}


def shown(page: Page[ItemT], limit: int) -> list[ItemT]:
    """Return the first items of a list. stderr says if there are more."""
    items = page.first(limit + 1)
    if len(items) > limit:
        warn(f"there are more: --limit {2 * limit} shows more of them")
    return items[:limit]


def statuses(given: Iterable[str], known: Sequence[str]) -> list[str] | None:
    """Return statuses as servers spell them, None for all.

    stderr names those that are known if one is not: a newer server may have more of them, and the
    others refuse it without a reason.
    """
    spelled = [_SPELLED.get(one.upper(), one.upper()) for one in given]
    for one in spelled:
        if one not in known:
            warn(f"--status {one} may not exist: known are {', '.join(known)}")
    return spelled or None
