"""A cache between the client and the server, as a proxy may have one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import attrs

from .._clock import monotonic
from ._observer import RecordedRequest
from ._replies import Reply

# What the feeds know of a query.
_PARAMETERS = frozenset(
    {"offset", "handle", "live", "cursor", "log", "replica", "shape_id"}
    | {"tags", "createdAt", "skipColumns"}
)
_Key = tuple[str, frozenset[tuple[str, str]]]


class Cache:
    """Answers again what may be kept, for as long as the answer's `Cache-Control` says.

    It does not heed the request's: only another URL gets past it (docs/protocol.md, section 2,
    under "Caches").

    Args:
        known_only: ignore what the API does not know of the query, a cache-busting parameter too.
    """

    def __init__(self, *, known_only: bool) -> None:
        self._known_only = known_only
        # Protects the replies: when each was stored, and when it is too old, by its URL.
        self._lock = threading.Lock()
        self._replies: dict[_Key, tuple[float, float, Reply]] = {}

    def answer(self, request: RecordedRequest, ask: Callable[[], Reply]) -> Reply:
        """Return the answer that is kept for the request's URL, or ask for one and keep it."""
        query = request.query.items()
        kept = [one for one in query if not self._known_only or one[0] in _PARAMETERS]
        key = (request.path, frozenset(kept))
        with self._lock:
            stored, until, reply = self._replies.get(key, (0.0, 0.0, None))
        now = monotonic()
        if reply is not None and now < until:
            return attrs.evolve(reply, headers={**reply.headers, "age": str(int(now - stored))})
        reply = ask()
        seconds = _max_age(reply)
        with self._lock:
            self._replies[key] = (monotonic(), monotonic() + seconds, reply)
        return reply


def _max_age(reply: Reply) -> int:
    control = reply.headers.get("cache-control", "")
    found = re.search(r"\bs-maxage=(\d+)", control) or re.search(r"\bmax-age=(\d+)", control)
    return int(found[1]) if found and "public" in control else 0
