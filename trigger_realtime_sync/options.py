"""The options of `subscribe_to_…`, for type checkers: nothing of it is there at run time.

Each is generic in the run that callbacks get, so that one of another task's runs is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Generic

    from typing_extensions import TypedDict, TypeVar

    from ._http.tokens import Token
    from .models import AnyRun, Parts

    RunT = TypeVar("RunT", default=AnyRun)
    PartT = TypeVar("PartT", default=Any)

    class RunsOptions(TypedDict, Generic[RunT], total=False):
        """Of every subscription."""

        on_update: Callable[[RunT], object] | None
        on_error: Callable[[Any], object] | None
        on_complete: Callable[[RunT], object] | None
        id: str | None
        enabled: bool
        access_token: Token | None
        base_url: str | None
        throttle_in_ms: float | None
        skip_columns: Iterable[str]

    class RunOptions(RunsOptions[RunT], Generic[RunT], total=False):
        """Of one run."""

        stop_on_completion: bool

    class PartsOptions(TypedDict, total=False):
        """Of whatever reads streams."""

        max_parts: int | None
        max_part_bytes: int | None

    class RunWithStreamsOptions(RunOptions[RunT], PartsOptions, Generic[RunT], total=False):
        """Of one run and its streams."""

        on_stream: Callable[[str, Parts[Any]], object] | None
        streams: Mapping[str, Any] | None

    class RunsWithStreamsOptions(RunsOptions[RunT], PartsOptions, Generic[RunT], total=False):
        """Of many runs and their streams."""

        on_stream: Callable[[str, str, Parts[Any]], object] | None
        streams: Mapping[str, Any] | None

    class OneStreamOptions(RunOptions[RunT], PartsOptions, Generic[PartT, RunT], total=False):
        """Of one stream."""

        on_stream: Callable[[str, Parts[PartT]], object] | None
        start_index: int | None
        last_event_id: str | None
        from_latest: bool
        timeout_in_seconds: int

    class SessionOptions(RunsOptions[None], PartsOptions, Generic[PartT], total=False):
        """Of a session, which has no run."""

        channel: str | None
        on_stream: Callable[[str, Parts[PartT]], object] | None
        on_control: Callable[[str, dict[str, str]], object] | None
        last_event_id: str | None
        from_latest: bool
        timeout_in_seconds: int
