"""Trigger Trigger.dev runs from Python, and follow them live.

`RealtimeClient` triggers and subscribes; callbacks get every change; scripts block on
`result()`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from ._encode.options import Debounce
    from .batches import Batch, BatchHandle, BatchItem, BatchItemError
    from .client import RealtimeClient
    from .config import RetryPolicy, Timeouts
    from .errors import (
        ApiConnectionError,
        ApiError,
        AuthenticationError,
        BadRequestError,
        BatchTriggerError,
        CallbackError,
        CallTimeout,
        ClientClosed,
        ConfigurationError,
        ConflictError,
        ConnectionUntrusted,
        InvalidIdError,
        NotFoundError,
        PayloadError,
        PermissionDeniedError,
        ProtocolError,
        RateLimitError,
        RunFailed,
        ServerError,
        ShapeStale,
        StreamRewound,
        StreamTrimmed,
        StreamUnreadable,
        SubscriptionCancelled,
        TriggerRealtimeError,
        UnprocessableEntityError,
        WaitTimeout,
    )
    from .handles import RunHandle
    from .models import (
        Parts,
        Run,
        RunDetails,
        RunError,
        RunStatus,
        State,
        Task,
        WaitToken,
        WaitTokenStatus,
    )
    from .pages import Page
    from .sessions import Session
    from .subscription import RunsSubscription, RunSubscription, StreamSubscription, Subscription
    from .text_joiner import TextJoiner

__all__ = [
    "ApiConnectionError",
    "ApiError",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "BatchHandle",
    "BatchItem",
    "BatchItemError",
    "BatchTriggerError",
    "CallTimeout",
    "CallbackError",
    "ClientClosed",
    "ConfigurationError",
    "ConflictError",
    "ConnectionUntrusted",
    "Debounce",
    "InvalidIdError",
    "NotFoundError",
    "Page",
    "Parts",
    "PayloadError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RealtimeClient",
    "RetryPolicy",
    "Run",
    "RunDetails",
    "RunError",
    "RunFailed",
    "RunHandle",
    "RunStatus",
    "RunSubscription",
    "RunsSubscription",
    "ServerError",
    "Session",
    "ShapeStale",
    "State",
    "StreamRewound",
    "StreamSubscription",
    "StreamTrimmed",
    "StreamUnreadable",
    "Subscription",
    "SubscriptionCancelled",
    "Task",
    "TextJoiner",
    "Timeouts",
    "TriggerRealtimeError",
    "UnprocessableEntityError",
    "WaitTimeout",
    "WaitToken",
    "WaitTokenStatus",
    "__version__",
]

_SUBMODULES = ("config", "errors", "metadata", "models", "sharing", "testing")
_MODULES = (".errors", ".models", ".config", ".subscription", ".client", ".text_joiner")
# Of calls, which many users of the package make none of.
_OF_CALLS = {
    **dict.fromkeys(("Batch", "BatchHandle", "BatchItem", "BatchItemError"), ".batches"),
    "Debounce": "._encode.options",
    "Page": ".pages",
    "RunHandle": ".handles",
    "Session": ".sessions",
}


def __getattr__(name: str) -> Any:
    # Imported when first asked for: pytest loads this package in every run of everyone who has it
    # installed, for the fixture, and most of those runs need nothing of it.
    if name in __all__:
        from . import _forks

        for module in (_OF_CALLS[name],) if name in _OF_CALLS else _MODULES:
            with _forks.importing:
                value = getattr(import_module(module, __name__), name, None)
            if value is not None:
                globals()[name] = value
                return value
    if name in _SUBMODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
