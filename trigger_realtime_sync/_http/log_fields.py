"""What the library's log records say beside their text, for those who write them as JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

logger = logging.getLogger("trigger_realtime_sync")

# Every record has them all; None, or no ids, where there is none or it is not known.
FIELDS = ("target", "run_id", "subscription_ids", "attempt")

# Set on threads of the library's own alone: elsewhere an exception out of a signal handler could
# leave it set, and records that are about one thing say so by `extra`.
_context: ContextVar[Mapping[str, Any]] = ContextVar(
    "trigger_realtime_sync.log", default=MappingProxyType({})
)


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Give these fields to what the thread logs in the block, unless a record has its own."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def bound(
    work: Callable[[], None], *, subscription_ids: Callable[[], tuple[str, ...]], **fields: Any
) -> Callable[[], None]:
    """Return the work of a thread of the library's own, with fields for what it logs.

    Args:
        subscription_ids: called for each record; takes no lock.
    """

    def run() -> None:
        with about(subscription_ids=subscription_ids, **fields):
            work()

    return run


class FillFields(logging.Filter):
    """Gives each record the fields that it lacks, so that a format may name them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True: no record is dropped."""
        context = _context.get()
        for name in FIELDS:
            if name in record.__dict__:
                continue
            value = context.get(name, () if name == "subscription_ids" else None)
            setattr(record, name, value() if callable(value) else value)
        return True


logger.addFilter(FillFields())
