"""An in-process server of the Realtime API over real HTTP, for tests and demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import RealtimeServer

__all__ = ["RealtimeServer"]


def __getattr__(name: str) -> Any:
    # Late, because every pytest run loads this package for its plugin, used or not.
    if name != "RealtimeServer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .server import RealtimeServer

    return RealtimeServer
