"""What the calls of a client learnt of its servers. Safe from any thread."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, TypeVar

ValueT = TypeVar("ValueT")

# Of servers and tokens: a token that is renewed again and again must not fill the memory.
MOST_REMEMBERED = 100
# Seconds for which a server is not asked again to take uploads.
UPLOAD_SECONDS = 3600.0


class CallMemory:
    """Which servers take no uploads, and which environments their keys are of."""

    def __init__(self) -> None:
        # Protects everything below. Reentrant: a signal handler may make a call.
        self._lock = threading.RLock()
        self._no_uploads: OrderedDict[Hashable, float] = OrderedDict()
        self._claims: OrderedDict[Hashable, dict[str, Any]] = OrderedDict()

    def takes_uploads(self, key: Hashable, now: float) -> bool:
        """Return False if uploads were refused within the last hour."""
        with self._lock:
            return now - self._no_uploads.get(key, -UPLOAD_SECONDS) >= UPLOAD_SECONDS

    def uploads_refused(self, key: Hashable, now: float) -> None:
        """Note that uploads were refused."""
        with self._lock:
            _put(self._no_uploads, key, now)

    def claims(self, key: Hashable) -> dict[str, Any] | None:
        """Return the claims that name the environment of a key, if they are known."""
        with self._lock:
            return self._claims.get(key)

    def put_claims(self, key: Hashable, claims: dict[str, Any]) -> None:
        """Note the claims that name the environment of a key. They never change."""
        with self._lock:
            _put(self._claims, key, claims)


def _put(memory: OrderedDict[Hashable, ValueT], key: Hashable, value: ValueT) -> None:
    memory[key] = value
    if len(memory) > MOST_REMEMBERED:
        memory.popitem(last=False)
