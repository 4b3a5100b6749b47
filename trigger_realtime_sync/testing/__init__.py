"""An in-process server of the Realtime API over real HTTP, for tests and demonstrations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import RealtimeServer

__all__ = ["RealtimeServer"]


def __getattr__(name: str) -> Any:
    # Late, because every pytest run loads this package for its plugin, with werkzeug or without.
    if name != "RealtimeServer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .server import RealtimeServer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "werkzeug":
            raise
        raise ModuleNotFoundError(
            "trigger_realtime_sync.testing needs werkzeug: "
            "pip install 'trigger-realtime-sync[testing]'",
            name="werkzeug",
        ) from error
    return RealtimeServer
