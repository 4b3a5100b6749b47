"""Follow Trigger.dev runs live from Python.

`RealtimeClient` subscribes; callbacks hear of every change; scripts block on
`wait_for_completion()`.
"""

from ._channel import State
from ._version import __version__
from .client import RealtimeClient
from .config import RetryPolicy, Timeouts
from .errors import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    CallbackError,
    ClientClosed,
    ConfigurationError,
    ConflictError,
    NotFoundError,
    PayloadError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RunFailed,
    ServerError,
    SubscriptionCancelled,
    TriggerRealtimeError,
    UnprocessableEntityError,
    WaitTimeout,
)
from .models import Run, RunError, RunStatus, Task
from .subscription import RunsSubscription, RunSubscription, StreamSubscription, Subscription

__all__ = [
    "ApiConnectionError",
    "ApiError",
    "AuthenticationError",
    "BadRequestError",
    "CallbackError",
    "ClientClosed",
    "ConfigurationError",
    "ConflictError",
    "NotFoundError",
    "PayloadError",
    "PermissionDeniedError",
    "ProtocolError",
    "RateLimitError",
    "RealtimeClient",
    "RetryPolicy",
    "Run",
    "RunError",
    "RunFailed",
    "RunStatus",
    "RunSubscription",
    "RunsSubscription",
    "ServerError",
    "State",
    "StreamSubscription",
    "Subscription",
    "SubscriptionCancelled",
    "Task",
    "Timeouts",
    "TriggerRealtimeError",
    "UnprocessableEntityError",
    "WaitTimeout",
    "__version__",
]
