"""The methods of the client that subscribe: which options, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

import attrs

from ._channel.target import StreamOptions, Target
from ._checks import (
    check_callback,
    check_count,
    check_created_at,
    check_id,
    check_skip_columns,
    check_tags,
)
from ._http.tokens import Token
from ._receivers.handle import Callbacks, Subscription
from ._receivers.registry import Registry
from ._wire.names import RUNS_PATH, SKIP_COLUMNS, batch_path, run_path
from .models import AnyRun, OutputT, PayloadT, Run, Task
from .subscription import RunsSubscription, RunSubscription, StreamSubscription

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import RunOptions, RunsOptions, StreamSubscriptionOptions

HandleT = TypeVar("HandleT", bound=Subscription)
PartT = TypeVar("PartT")


class SubscribeMethods:
    """The subscribing half of `RealtimeClient`; the other half says where to and as whom."""

    _registry: Registry

    def _target(
        self,
        *,
        base_url: str | None,
        access_token: Token | None,
        tasks: Sequence[Task[Any, Any]] | None,
        **what: Any,
    ) -> Target:
        raise NotImplementedError

    def _add(self, handle: HandleT, id_: str | None, target: Target, enabled: bool) -> HandleT:
        raise NotImplementedError

    def _throttle_of(self, throttle_in_ms: float | None) -> float:
        raise NotImplementedError

    def clear_cache(self, id: str | None = None) -> None:
        raise NotImplementedError

    @overload
    def subscribe_to_run(
        self, run_id: str, *, task: Task[PayloadT, OutputT], **options: Unpack[RunOptions]
    ) -> RunSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_run(
        self, run_id: str, *, task: None = None, **options: Unpack[RunOptions]
    ) -> RunSubscription[Any, Any]: ...
    def subscribe_to_run(
        self,
        run_id: str,
        *,
        task: Task[Any, Any] | None = None,
        on_update: Callable[[AnyRun], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[AnyRun], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
        stop_on_completion: bool = True,
    ) -> RunSubscription[Any, Any]:
        """Follows one run, as `useRealtimeRun` does, until it has finished.

        Args:
            run_id: of the run (`run_…`).
            task: types of its payload and output.
            on_update: called with each new state of the run.
            on_error: called with each error; `error.terminal` says whether it ended by it.
            on_complete: called once with the finished run, after its `on_update`.
            id: joins a running subscription of this id and target, or takes over the id. A unique
                one by default.
            enabled: whether to start at once, or at `enable()`.
            access_token: instead of the client's.
            base_url: instead of the client's.
            throttle_in_ms: instead of the client's.
            skip_columns: columns that the server need not send, `"payload"` say.
            stop_on_completion: False to go on after the run has finished.

        Callbacks run one at a time and in order, on threads of the client's own, never on this
        one; the first may run before this call has returned.

        Raises:
            ValueError: an argument can't work.
            ConfigurationError: there is no token.
            ClientClosed: the client was closed.
        """
        check_id(run_id, "run_id")
        target = self._target(
            kind="run",
            subject=run_id,
            path=run_path(run_id),
            query=_query(skip_columns),
            base_url=base_url,
            access_token=access_token,
            tasks=[task] if task is not None else [],
        )
        callbacks = _callbacks(on_update, on_error, on_complete)
        handle: RunSubscription[Any, Any] = RunSubscription(
            self._registry, callbacks, self._throttle_of(throttle_in_ms), stop_on_completion
        )
        return self._add(handle, id, target, enabled)

    @overload
    def subscribe_to_runs_with_tag(
        self,
        tag: str | Sequence[str],
        *,
        tasks: Sequence[Task[PayloadT, OutputT]],
        created_at: str | timedelta | None = None,
        **options: Unpack[RunsOptions],
    ) -> RunsSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_runs_with_tag(
        self,
        tag: str | Sequence[str],
        *,
        tasks: None = None,
        created_at: str | timedelta | None = None,
        **options: Unpack[RunsOptions],
    ) -> RunsSubscription[Any, Any]: ...
    def subscribe_to_runs_with_tag(
        self,
        tag: str | Sequence[str],
        *,
        created_at: str | timedelta | None = None,
        tasks: Sequence[Task[Any, Any]] | None = None,
        on_update: Callable[[AnyRun], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[AnyRun], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
    ) -> RunsSubscription[Any, Any]:
        """Follows all runs that carry a tag, or all of several, as `useRealtimeRunsWithTag` does.

        Args:
            tag: a tag, or several that a run must all carry. The server knows no escape for a
                comma, and refuses backslashes, double quotes and control characters.
            created_at: how far back to look, `"90m"` or a timedelta; 24 hours is the default and
                the most.
            tasks: types of payload and output, matched by `run.task_identifier`.

        The other arguments, and what is raised: see `subscribe_to_run`. It has no end.
        """
        tags = check_tags(tag)
        since = check_created_at(created_at)
        target = self._target(
            kind="tag",
            subject=",".join(tags),
            path=RUNS_PATH,
            query=_query(skip_columns, tags=",".join(tags), createdAt=since),
            base_url=base_url,
            access_token=access_token,
            tasks=tasks,
        )
        callbacks = _callbacks(on_update, on_error, on_complete)
        handle: RunsSubscription[Any, Any] = RunsSubscription(
            self._registry, callbacks, self._throttle_of(throttle_in_ms), False
        )
        return self._add(handle, id, target, enabled)

    @overload
    def subscribe_to_batch(
        self,
        batch_id: str,
        *,
        tasks: Sequence[Task[PayloadT, OutputT]],
        **options: Unpack[RunsOptions],
    ) -> RunsSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_batch(
        self, batch_id: str, *, tasks: None = None, **options: Unpack[RunsOptions]
    ) -> RunsSubscription[Any, Any]: ...
    def subscribe_to_batch(
        self,
        batch_id: str,
        *,
        tasks: Sequence[Task[Any, Any]] | None = None,
        on_update: Callable[[AnyRun], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[AnyRun], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
    ) -> RunsSubscription[Any, Any]:
        """Follows the runs of a batch, as `useRealtimeBatch` does, until all have finished.

        Args:
            batch_id: of the batch (`batch_…`).
            tasks: types of payload and output, matched by `run.task_identifier`.

        Once every run that is known has finished, the REST API is asked which runs the batch has;
        where the token may not ask that, the subscription goes on. The other arguments, and what
        is raised: see `subscribe_to_run`.
        """
        check_id(batch_id, "batch_id")
        target = self._target(
            kind="batch",
            subject=batch_id,
            path=batch_path(batch_id),
            query=_query(skip_columns),
            base_url=base_url,
            access_token=access_token,
            tasks=tasks,
        )
        callbacks = _callbacks(on_update, on_error, on_complete)
        handle: RunsSubscription[Any, Any] = RunsSubscription(
            self._registry, callbacks, self._throttle_of(throttle_in_ms), False
        )
        return self._add(handle, id, target, enabled)

    @overload
    def subscribe_to_run_with_streams(
        self,
        run_id: str,
        *,
        task: Task[PayloadT, OutputT],
        on_stream: Callable[[str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        **options: Unpack[RunOptions],
    ) -> RunSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_run_with_streams(
        self,
        run_id: str,
        *,
        task: None = None,
        on_stream: Callable[[str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        **options: Unpack[RunOptions],
    ) -> RunSubscription[Any, Any]: ...
    def subscribe_to_run_with_streams(
        self,
        run_id: str,
        *,
        on_stream: Callable[[str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        task: Task[Any, Any] | None = None,
        on_update: Callable[[AnyRun], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[AnyRun], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
        stop_on_completion: bool = True,
    ) -> RunSubscription[Any, Any]:
        """Follows one run and the streams that it names, as `useRealtimeRunWithStreams` does.

        Args:
            run_id: of the run (`run_…`).
            on_stream: called with the key of a stream and a non-empty list of its new parts, in
                order. One that is slow holds the server back.
            streams: types of the parts by key, `{"openai": str}`; a part that does not fit goes
                to `on_error` as a `PayloadError`.
            max_parts: how many parts of each stream `.streams` keeps; all by default.

        The other arguments, and what is raised: see `subscribe_to_run`. It completes, and
        `on_complete` is called, when the run has finished and the last part was delivered.
        """
        check_id(run_id, "run_id")
        target = self._target(
            kind="run",
            subject=run_id,
            path=run_path(run_id),
            query=_query(skip_columns),
            base_url=base_url,
            access_token=access_token,
            tasks=[task] if task is not None else [],
            streams=_streams(streams, max_parts),
        )
        callbacks = _callbacks(on_update, on_error, on_complete, on_stream)
        handle: RunSubscription[Any, Any] = RunSubscription(
            self._registry, callbacks, self._throttle_of(throttle_in_ms), stop_on_completion
        )
        return self._add(handle, id, target, enabled)

    @overload
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        tasks: Sequence[Task[PayloadT, OutputT]],
        created_at: str | timedelta | None = None,
        on_stream: Callable[[str, str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        **options: Unpack[RunsOptions],
    ) -> RunsSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        tasks: None = None,
        created_at: str | timedelta | None = None,
        on_stream: Callable[[str, str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        **options: Unpack[RunsOptions],
    ) -> RunsSubscription[Any, Any]: ...
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        on_stream: Callable[[str, str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        created_at: str | timedelta | None = None,
        tasks: Sequence[Task[Any, Any]] | None = None,
        on_update: Callable[[AnyRun], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[AnyRun], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
    ) -> RunsSubscription[Any, Any]:
        """Follows the runs of a tag and their streams, as `useRealtimeRunsWithStreams` does.

        Args:
            tag: as of `subscribe_to_runs_with_tag`.
            on_stream: called with a run's id, the key of a stream, and a non-empty list of its new
                parts, in order. One that is slow holds the server back.
            streams: types of the parts by key.

        At most 64 streams are read at the same time; more take turns, and none is left out. The
        other arguments, and what is raised: see `subscribe_to_runs_with_tag`.
        """
        tags = check_tags(tag)
        since = check_created_at(created_at)
        target = self._target(
            kind="tag",
            subject=",".join(tags),
            path=RUNS_PATH,
            query=_query(skip_columns, tags=",".join(tags), createdAt=since),
            base_url=base_url,
            access_token=access_token,
            tasks=tasks,
            streams=_streams(streams, max_parts),
        )
        callbacks = _callbacks(on_update, on_error, on_complete, on_stream)
        handle: RunsSubscription[Any, Any] = RunsSubscription(
            self._registry, callbacks, self._throttle_of(throttle_in_ms), False
        )
        return self._add(handle, id, target, enabled)

    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: type[PartT],
        on_stream: Callable[[str, list[PartT]], object] | None = None,
        **options: Unpack[StreamSubscriptionOptions],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: None = None,
        on_stream: Callable[[str, list[Any]], object] | None = None,
        **options: Unpack[StreamSubscriptionOptions],
    ) -> StreamSubscription[Any]: ...
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        on_stream: Callable[[str, list[Any]], object] | None = None,
        part_type: Any = None,
        start_index: int | None = None,
        last_event_id: str | None = None,
        from_latest: bool = False,
        max_parts: int | None = None,
        timeout_in_seconds: int = 60,
        task: Task[Any, Any] | None = None,
        on_update: Callable[[AnyRun], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[AnyRun], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
        stop_on_completion: bool = True,
    ) -> StreamSubscription[Any]:
        """Reads one stream of a run, as `useRealtimeStream` does, until the run has finished.

        Args:
            run_id: of the run (`run_…`).
            key: of the stream.
            on_stream: called with the key and a non-empty list of new parts, in order. One that is
                slow holds the server back.
            part_type: type of the parts; one that does not fit goes to `on_error`.
            start_index: how many parts to leave out at the start.
            last_event_id: goes on after what another subscription had read: its `last_event_id`.
            from_latest: starts at the end of what is there. Servers up to 4.5 ignore it.
            max_parts: how many parts `.parts` keeps; all by default.
            timeout_in_seconds: of silence, 1 to 600, after which the server ends one answer; the
                next is asked for as long as the run lives.
            task: types of the run's payload and output.

        The run is followed as well, to know when it has finished. The other arguments, and what is
        raised: see `subscribe_to_run`.
        """
        check_id(run_id, "run_id")
        check_id(key, "key")
        options = _stream_options(
            key=key,
            types=((key, part_type),) if part_type is not None else (),
            start_index=start_index,
            last_event_id=last_event_id,
            from_latest=from_latest,
            most_kept=max_parts,
            timeout=timeout_in_seconds,
        )
        target = self._target(
            kind="stream",
            subject=run_id,
            path=run_path(run_id),
            query=_query(skip_columns),
            base_url=base_url,
            access_token=access_token,
            tasks=[task] if task is not None else [],
            streams=options,
        )
        callbacks = _callbacks(on_update, on_error, on_complete, on_stream)
        handle: StreamSubscription[Any] = StreamSubscription(
            self._registry, callbacks, self._throttle_of(throttle_in_ms), stop_on_completion
        )
        return self._add(handle, id, target, enabled)

    @overload
    def wait_for_completion(
        self,
        run_id: str,
        *,
        task: Task[PayloadT, OutputT],
        timeout: float | None = None,
        **options: Unpack[RunOptions],
    ) -> Run[PayloadT, OutputT]: ...
    @overload
    def wait_for_completion(
        self,
        run_id: str,
        *,
        task: None = None,
        timeout: float | None = None,
        **options: Unpack[RunOptions],
    ) -> Run[Any, Any]: ...
    def wait_for_completion(
        self, run_id: str, *, timeout: float | None = None, **options: Any
    ) -> Run[Any, Any]:
        """Blocks until the run has finished, well or not, and returns it.

        Args:
            run_id: of the run (`run_…`).
            timeout: seconds; None for no bound.
            options: those of `subscribe_to_run`.

        Raises:
            WaitTimeout: it did not finish in time.
            TriggerRealtimeError: what kept it from being followed.
        """
        subscription: RunSubscription[Any, Any] = self.subscribe_to_run(run_id, **options)
        try:
            return subscription.wait_for_completion(timeout)
        finally:
            subscription.cancel()
            if options.get("id") is None:
                self.clear_cache(subscription.id)


def _query(skip_columns: Iterable[str], **parameters: str | None) -> tuple[tuple[str, str], ...]:
    columns = check_skip_columns(skip_columns)
    query = {name: value for name, value in parameters.items() if value is not None}
    if columns:
        query[SKIP_COLUMNS] = ",".join(columns)
    return tuple(sorted(query.items()))


def _callbacks(on_update: Any, on_error: Any, on_complete: Any, on_stream: Any = None) -> Callbacks:
    callbacks = Callbacks(
        on_update=on_update, on_error=on_error, on_complete=on_complete, on_stream=on_stream
    )
    for name, callback in attrs.asdict(callbacks, recurse=False).items():
        check_callback(callback, name)
    return callbacks


def _streams(types: Mapping[str, Any] | None, max_parts: int | None) -> StreamOptions:
    if types is not None and not isinstance(types, Mapping):
        raise ValueError(f"streams must map keys to types, not be {type(types).__name__}")
    if max_parts is not None:
        check_count(max_parts, "max_parts", least=0)
    return StreamOptions(types=tuple((types or {}).items()), most_kept=max_parts)


def _stream_options(**options: Any) -> StreamOptions:
    given = StreamOptions(**options)
    if given.start_index is not None:
        check_count(given.start_index, "start_index", least=0)
    if given.most_kept is not None:
        check_count(given.most_kept, "max_parts", least=0)
    check_count(given.timeout, "timeout_in_seconds", most=600)
    if given.last_event_id is not None:
        _check_last_event_id(given)
    return given


def _check_last_event_id(options: StreamOptions) -> None:
    if not isinstance(options.last_event_id, str):
        raise ValueError(f"last_event_id must be a string, not {options.last_event_id!r}")
    if options.start_index is not None or options.from_latest:
        raise ValueError("last_event_id says where to start: start_index and from_latest can't too")
    try:
        options.cursor()
    except ValueError as error:
        raise ValueError(f"last_event_id {options.last_event_id!r}: {error}") from None
