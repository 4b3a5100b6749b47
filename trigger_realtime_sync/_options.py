"""The options that all subscriptions share, for type checkers alone.

Imported only while type checking: `typing_extensions` is no dependency at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from typing_extensions import TypedDict

from ._http.tokens import Token
from .errors import TriggerRealtimeError
from .models import Run, Task


class RunsOptions(TypedDict, total=False):
    on_update: Callable[[Run[Any, Any]], object] | None
    on_error: Callable[[TriggerRealtimeError], object] | None
    on_complete: Callable[[Run[Any, Any]], object] | None
    id: str | None
    enabled: bool
    access_token: Token | None
    base_url: str | None
    throttle_in_ms: float | None
    skip_columns: Iterable[str]


class RunOptions(RunsOptions, total=False):
    stop_on_completion: bool


class StreamSubscriptionOptions(RunsOptions, total=False):
    task: Task[Any, Any] | None
    stop_on_completion: bool
    start_index: int | None
    last_event_id: str | None
    from_latest: bool
    max_parts: int | None
    timeout_in_seconds: int
