"""The client: options, wiring, and the public methods."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, overload

import attrs

from . import _lifetime
from ._batching import BatchChannel
from ._channel import Channel
from ._handle import Callbacks, Subscription
from ._registry import Registry, SubscriptionMap
from ._streaming import StreamingChannel
from ._target import RUNS_PATH, StreamOptions, Target, batch_path, run_path
from ._transport.http import HttpOptions, Transport
from ._transport.requester import Origin
from ._transport.tokens import Token, TokenSource, token_from_environment
from ._view import RunView
from .config import (
    DEFAULT_BASE_URL,
    RetryPolicy,
    Timeouts,
    check_base_url,
    check_callback,
    check_count,
    check_created_at,
    check_headers,
    check_id,
    check_skip_columns,
    check_tags,
    check_throttle,
    check_token,
    check_verify,
)
from .errors import ClientClosed, ConfigurationError
from .models import AnyRun, OutputT, PayloadT, Run, Task
from .subscription import RunsSubscription, RunSubscription, StreamSubscription

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._options import RunOptions, RunsOptions, StreamSubscriptionOptions

logger = logging.getLogger("trigger_realtime_sync")

HandleT = TypeVar("HandleT", bound=Subscription)
PartT = TypeVar("PartT")

# How long `close()` waits for its threads in all: those that read end at once, and one that is in
# a callback of the user's can't be waited for.
CLOSE_SECONDS = 2.0
CANCEL_GRACE = 0.02


class RealtimeClient:
    """Follows runs of Trigger.dev live. Safe from any thread; make one and keep it.

    Args:
        access_token: a secret key (`tr_…`) or a public access token; or a callable that returns
            one, called before each request, so keep it cheap, and once more when the server
            refused the token. Default: `TRIGGER_ACCESS_TOKEN`, then `TRIGGER_SECRET_KEY`.
        base_url: of the API. Default: `TRIGGER_API_URL`, then `https://api.trigger.dev`.
        throttle_in_ms: the least time between two rounds of callbacks of a subscription.
        preview_branch: the name of a preview branch.
        retry: how long to wait between attempts when the network or the server fails.
        timeouts: for connecting, and for the silence on a connection.
        max_cached: how many ids the last known state is remembered for.
        headers: sent along with every request to the API.
        proxies: as in requests.
        verify: as in requests: True, False, or the path of a CA bundle.

    Raises:
        ConfigurationError: an option or environment variable can't work.

    Nothing is sent before the first subscription. As a context manager, it closes at the end.
    """

    def __init__(
        self,
        access_token: Token | None = None,
        *,
        base_url: str | None = None,
        throttle_in_ms: float = 0,
        preview_branch: str | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 (frozen)
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (frozen)
        max_cached: int = 1000,
        headers: Mapping[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        verify: bool | str = True,
    ) -> None:
        self._token = _check_token_option(access_token)
        self._base_url = _base_url_option(base_url)
        self._throttle = _configured(check_throttle, throttle_in_ms)
        self._preview_branch = _check_branch(preview_branch)
        if not isinstance(retry, RetryPolicy):
            raise ConfigurationError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        if not isinstance(timeouts, Timeouts):
            raise ConfigurationError(f"timeouts must be Timeouts, not {type(timeouts).__name__}")
        self._retry = retry
        self._max_cached = _configured(check_count, max_cached, "max_cached", least=0)
        self._http = HttpOptions(
            timeouts=timeouts,
            headers=check_headers(headers),
            proxies=dict(proxies) if proxies else None,
            verify=check_verify(verify),
        )
        self._reset()
        self.subscriptions: Mapping[str, Subscription] = SubscriptionMap(lambda: self._registry)
        """The running subscriptions by id: live, and read-only."""
        _lifetime.watch(self)

    # Subscribing.

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
        **options: Unpack[RunOptions],
    ) -> RunSubscription[Any, Any]: ...
    def subscribe_to_run_with_streams(
        self,
        run_id: str,
        *,
        on_stream: Callable[[str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
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
            streams=_stream_types(streams),
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
        **options: Unpack[RunsOptions],
    ) -> RunsSubscription[Any, Any]: ...
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        on_stream: Callable[[str, str, list[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
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
            streams=_stream_types(streams),
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
        on_update: Callable[[AnyRun], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[AnyRun], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
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
            tasks=None,
            streams=options,
        )
        callbacks = _callbacks(on_update, on_error, on_complete, on_stream)
        handle: StreamSubscription[Any] = StreamSubscription(
            self._registry, callbacks, self._throttle_of(throttle_in_ms), True
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

    # The registry.

    def get(self, id: str) -> Subscription | None:
        """The running subscription of this id, or None."""
        return self.subscriptions.get(id)

    def cancel(self, id: str) -> bool:
        """Cancels every handle of this id. Whether there was one."""
        return bool(_settle(self._registry.cancel(id)))

    def cancel_all(self) -> None:
        """Cancels everything; the client can be used again."""
        _settle(self._registry.cancel_all())

    def clear_cache(self, id: str | None = None) -> None:
        """Drops what is cached under this id, or all. What runs delivers its next snapshot anew."""
        self._registry.forget(id)

    # The end.

    def close(self) -> None:
        """Cancels everything and waits for the threads to end, for two seconds at the most.

        Idempotent. A thread that is inside a callback of yours ends when the callback returns.
        """
        left = self._close(CLOSE_SECONDS)
        if left:
            logger.warning("close() left threads that did not end in time: %s", ", ".join(left))

    def _close(self, seconds: float) -> list[str]:
        """Returns the names of the threads that did not end in time."""
        registry = self._registry
        with registry.lock:
            registry.closed = True
            handles = registry.cancel_all()
        deadline = time.monotonic() + seconds
        _settle(handles)
        left = registry.join(deadline)
        self._transport.close()
        return sorted(thread.name for thread in left)

    def __enter__(self) -> RealtimeClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RealtimeClient {self._base_url} subscriptions={len(self.subscriptions)}>"

    # Wiring.

    def _reset(self) -> None:
        """Everything that holds threads, locks or sockets: made new in a forked child."""
        self._transport = Transport(self._http)
        self._registry = Registry(self._make_channel, self._max_cached)
        self._sources: dict[Token, TokenSource] = {}
        self._sources_lock = threading.Lock()

    def _after_fork(self) -> None:
        """In the child: an empty client; the handles it inherited are cancelled."""
        closed = self._registry.closed
        self._registry.abandon()
        self._reset()
        self._registry.closed = closed

    def _target(
        self,
        *,
        base_url: str | None,
        access_token: Token | None,
        tasks: Sequence[Task[Any, Any]] | None,
        **what: Any,
    ) -> Target:
        if self._registry.closed:
            raise ClientClosed("the client is closed")
        for task in tasks or ():
            if not isinstance(task, Task):
                raise ValueError(f"task must be a Task, not {type(task).__name__}")
        token = _check_token_option(access_token) or self._token or token_from_environment()
        if token is None:
            raise ConfigurationError(
                "no access_token: pass one to RealtimeClient or to the subscription,"
                " or set TRIGGER_ACCESS_TOKEN or TRIGGER_SECRET_KEY"
            )
        url = self._base_url if base_url is None else check_base_url(base_url)
        return Target(base_url=url, token=token, tasks=tuple(tasks or ()), **what)

    def _add(self, handle: HandleT, id_: str | None, target: Target, enabled: bool) -> HandleT:
        if id_ is None:
            id_ = f"{target.kind}-{uuid.uuid4().hex}"
        check_id(id_, "id")
        self._registry.add(handle, id_, target, enabled=enabled)
        return handle

    def _make_channel(self, target: Target, view: RunView) -> Channel:
        origin = Origin(
            transport=self._transport,
            base_url=target.base_url,
            token=self._token_source(target.token),
            retry=self._retry,
            preview_branch=self._preview_branch,
        )
        if target.streams is not None:
            return StreamingChannel(target, origin, view)
        if target.is_batch:
            return BatchChannel(target, origin, view)
        return Channel(target, origin, view)

    def _token_source(self, token: Token) -> TokenSource:
        """One for each callable, so that one thread renews the token for all."""
        if not callable(token):
            return TokenSource(token)
        with self._sources_lock:
            return self._sources.setdefault(token, TokenSource(token))

    def _throttle_of(self, throttle_in_ms: float | None) -> float:
        return self._throttle if throttle_in_ms is None else check_throttle(throttle_in_ms)


def _settle(handles: list[Subscription]) -> list[Subscription]:
    """Waits a moment for callbacks that were running: none begins after this."""
    deadline = time.monotonic() + CANCEL_GRACE
    for handle in handles:
        handle._mailbox.wait_for_turn_to_end(deadline)
    return handles


def _query(skip_columns: Iterable[str], **parameters: str | None) -> tuple[tuple[str, str], ...]:
    columns = check_skip_columns(skip_columns)
    query = {name: value for name, value in parameters.items() if value is not None}
    if columns:
        query["skipColumns"] = ",".join(columns)
    return tuple(sorted(query.items()))


def _callbacks(on_update: Any, on_error: Any, on_complete: Any, on_stream: Any = None) -> Callbacks:
    callbacks = Callbacks(
        on_update=on_update, on_error=on_error, on_complete=on_complete, on_stream=on_stream
    )
    for name, callback in attrs.asdict(callbacks, recurse=False).items():
        check_callback(callback, name)
    return callbacks


def _stream_types(types: Mapping[str, Any] | None) -> StreamOptions:
    if types is not None and not isinstance(types, Mapping):
        raise ValueError(f"streams must map keys to types, not be {type(types).__name__}")
    return StreamOptions(types=tuple((types or {}).items()))


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


def _check_token_option(token: Any) -> Token | None:
    if token is None or callable(token):
        return token  # type: ignore[no-any-return]
    return check_token(token)


def _base_url_option(base_url: Any) -> str:
    if base_url is not None:
        return check_base_url(base_url)
    if os.environ.get("TRIGGER_API_URL"):
        return check_base_url(os.environ["TRIGGER_API_URL"], "TRIGGER_API_URL")
    return DEFAULT_BASE_URL


def _check_branch(branch: Any) -> str | None:
    if branch is None:
        return None
    if (
        not isinstance(branch, str)
        or not branch
        or not branch.isprintable()
        or not branch.isascii()
    ):
        raise ConfigurationError(f"preview_branch must be the name of a branch, not {branch!r}")
    return branch


def _configured(check: Callable[..., Any], *arguments: Any, **bounds: Any) -> Any:
    try:
        return check(*arguments, **bounds)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
