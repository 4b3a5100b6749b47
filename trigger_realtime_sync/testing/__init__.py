"""An in-process server of the Realtime API over real HTTP, for tests and demonstrations."""

from __future__ import annotations

try:
    import werkzeug as _werkzeug  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "trigger_realtime_sync.testing needs werkzeug: "
        "pip install 'trigger-realtime-sync[testing]'",
        name=error.name,
    ) from error

from .server import RealtimeServer

__all__ = ["RealtimeServer"]
