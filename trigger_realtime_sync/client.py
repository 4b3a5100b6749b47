"""The client: its options, and every method that users call."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import attrs

from . import _forks
from ._channel.part_store import MAX_PART_BYTES
from ._channel.target import ChannelOptions, StreamOptions, Target
from ._checks import (
    check_base_url,
    check_branch,
    check_call_timeout,
    check_callback,
    check_count,
    check_created_at,
    check_flag,
    check_headers,
    check_id,
    check_io,
    check_key,
    check_proxies,
    check_seconds,
    check_skip_columns,
    check_tags,
    check_throttle,
    check_token,
    check_type,
    check_verify,
    hidden,
    is_async,
    is_generator,
)
from ._clock import monotonic
from ._encode.none import NONE
from ._http.session import HttpOptions
from ._http.tokens import Token, token_from_environment
from ._receivers.delivery import Callbacks
from ._receivers.engine import Engine, EngineOptions
from ._receivers.engine_owner import EngineOwner
from ._receivers.interrupted import is_inside
from ._wire.names import (
    CREATED_AT,
    RUNS_PATH,
    SKIP_COLUMNS,
    TAGS,
    batch_path,
    channel_path,
    run_path,
)
from .config import DEFAULT_BASE_URL, RetryPolicy, Timeouts
from .errors import ClientClosed, ConfigurationError
from .models import AnyRun, OutputT, Parts, PayloadT, Run, Task, TaskPayloadT
from .subscription import (
    RunsSubscription,
    RunSubscription,
    StreamSubscription,
    Subscription,
    SubscriptionMap,
)

if TYPE_CHECKING:
    import ssl

    # Never imported at run time: `typing_extensions` is no dependency, and those of calls are
    # imported by the first call.
    from typing_extensions import TypedDict, TypeForm, Unpack

    from ._calls.calls import Calls
    from ._calls.spans import Spans
    from ._encode.options import Debounce, Machine
    from .batches import BatchHandle, BatchItem
    from .handles import RunHandle
    from .options import (
        OneStreamOptions,
        PartT,
        RunOptions,
        RunsOptions,
        RunsWithStreamsOptions,
        RunWithStreamsOptions,
        SessionOptions,
    )
    from .resources import Runs
    from .sessions import Sessions
    from .sharing import RedisSharing, Sharing
    from .wait_tokens import WaitTokens

    class TriggerOptions(TypedDict, total=False):
        """The options of a trigger, for type checkers."""

        tags: str | Iterable[str]
        idempotency_key: str | Sequence[str] | None
        idempotency_key_ttl: timedelta | str | int | None
        delay: timedelta | datetime | str | None
        ttl: timedelta | str | int | None
        queue: str | None
        concurrency_key: str | None
        region: str | None
        version: str | None
        machine: Machine | None
        priority: timedelta | float | None
        max_duration: timedelta | float | None
        max_attempts: int | None
        metadata: Mapping[str, Any] | None
        debounce: Debounce | None
        is_test: bool
        call_timeout: float | None
        access_token: Token | None


SubscriptionT = TypeVar("SubscriptionT", bound=Subscription)

logger = logging.getLogger("trigger_realtime_sync")

# The retries of a call, which somebody waits for.
CALL_RETRY = RetryPolicy(initial_delay=0.5, max_delay=10.0, max_retries=4)

# Seconds that `close()` waits for all threads together: readers end at once, and one that is inside
# a callback of the user's can't be waited for.
CLOSE_SECONDS = 2.0


class RealtimeClient:
    """Triggers runs of Trigger.dev and follows them live. Safe from any thread: make one, keep it.

    Args:
        access_token: a secret key (`tr_…`) or a public access token; or a callable that returns
            one, called before each request, so keep it cheap, and once more when the server
            refused the token. Once it has worked in this client, a failure of its own, whatever it
            raises, is retried with back-off and shown in `.state` and the log. Where it never
            worked, a failure that is no OSError ends the subscription, and so does a
            `ConfigurationError` that it raises, at any time. Default: `TRIGGER_SECRET_KEY`, then
            `TRIGGER_ACCESS_TOKEN`. A personal access token (`tr_pat_…`) can't read runs, and is
            refused.
        base_url: of the API. Default: `TRIGGER_API_URL`, then `https://api.trigger.dev`.
        throttle_in_ms: the least time between two rounds of callbacks of a subscription.
        preview_branch: the name of a preview branch. Default: `TRIGGER_PREVIEW_BRANCH`, then none.
        retry: how long to wait between attempts when the network or the server fails.
        timeouts: for connecting, and for the silence on a connection.
        max_cached: how many ids the last known state is remembered for.
        headers: sent along with every request to the API.
        proxies: as in requests, those of the environment included; they are looked up again when a
            request failed. A SOCKS proxy needs `requests[socks]`.
        verify: as in requests: True, False, or the path of a CA bundle; or an `ssl.SSLContext`, for
            a certificate of the client's own, say. Its ALPN protocols are set to HTTP/1.1.
        stream_patience: seconds for which the end of a stream is sought once its run has finished,
            since the first read that proved none, three reads at least. Then the stream is given
            up: `on_error` gets a `StreamUnreadable`, and the run completes without it.
        shared: follows what other processes follow too over one connection for all; see
            `trigger_realtime_sync.sharing.RedisSharing`. None: every client reads for itself.
        call_retry: as `retry`, for calls: `trigger` and all that ends with an answer.
        call_timeout: seconds for a whole call with its retries, unless the call says otherwise. A
            look-up of a host's name can't be cut off, and may take longer; nor can an
            `access_token` function that runs on the call's own thread.
        telemetry: whether each call is a span of its own in OpenTelemetry, and what ends a
            subscription is reported there, as a span that failed, and to Sentry where
            `sentry_sdk.init()` was called; needs `opentelemetry-api` or `sentry-sdk`. Without it
            too, a call names the current span, to which the run's trace is linked.

    Raises:
        ConfigurationError: an option or environment variable can't work.

    Nothing is sent before the first subscription. As a context manager, it closes at the end. One
    that is dropped without `close()` while it follows something goes on, and a `ResourceWarning`
    says so, which `python -X dev` shows; at the end of the process it is closed.
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
        verify: bool | str | ssl.SSLContext = True,
        stream_patience: float = 30.0,
        shared: RedisSharing | None = None,
        call_retry: RetryPolicy = CALL_RETRY,
        call_timeout: float = 60.0,
        telemetry: bool = False,
    ) -> None:
        # Whatever is wrong with the options, what reports it may print this argument.
        access_token = hidden(access_token)
        _refuse_eventlet()
        self._token = _check_token_option(access_token)
        self._base_url = _base_url_option(base_url)
        self._throttle = _configured(check_throttle, throttle_in_ms)
        self._call_timeout = _configured(check_call_timeout, call_timeout)
        self._absent_until = -math.inf
        self._spans = _spans_option(telemetry)
        engine = Engine(
            EngineOptions(
                preview_branch=_branch_option(preview_branch),
                retry=check_type(retry, RetryPolicy, "retry must be a RetryPolicy"),
                call_retry=check_type(call_retry, RetryPolicy, "call_retry must be a RetryPolicy"),
                max_cached=_configured(check_count, max_cached, "max_cached", least=0),
                stream_patience=check_seconds(stream_patience, "stream_patience"),
                shared=_shared_option(shared, self._token),
                base_url=self._base_url,
                own_token=partial(_own_token, self._token),
                reports_failures=telemetry,
                http=HttpOptions(
                    timeouts=check_type(timeouts, Timeouts, "timeouts must be Timeouts"),
                    headers=check_headers(headers),
                    proxies=check_proxies(proxies),
                    verify=check_verify(verify),
                ),
            )
        )
        self._owner = EngineOwner(engine, self._base_url)
        self.subscriptions: Mapping[str, Subscription] = SubscriptionMap(
            lambda: _renewed(engine).registry
        )
        """The running subscriptions by id: live, and read-only."""

    # Triggering.

    @overload
    def trigger(
        self,
        task: Task[TaskPayloadT, OutputT],
        payload: TaskPayloadT = ...,
        **options: Unpack[TriggerOptions],
    ) -> RunHandle[TaskPayloadT, OutputT]: ...
    @overload
    def trigger(
        self, task: str, payload: Any = ..., **options: Unpack[TriggerOptions]
    ) -> RunHandle[Any, Any]: ...
    def trigger(
        self,
        task: Task[Any, Any] | str,
        payload: Any = NONE,
        *,
        tags: str | Iterable[str] = (),
        idempotency_key: str | Sequence[str] | None = None,
        idempotency_key_ttl: timedelta | str | int | None = None,
        delay: timedelta | datetime | str | None = None,
        ttl: timedelta | str | int | None = None,
        queue: str | None = None,
        concurrency_key: str | None = None,
        region: str | None = None,
        version: str | None = None,
        machine: str | None = None,
        priority: timedelta | float | None = None,
        max_duration: timedelta | float | None = None,
        max_attempts: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        debounce: Debounce | None = None,
        is_test: bool = False,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> RunHandle[Any, Any]:
        """Start a run of a task, and return its handle once the server has it.

        Args:
            task: its id, or a `Task`, which types the payload and the output. A task that does not
                exist is no error: its run waits.
            payload: what JSON can hold, and aware datetimes, sets, bytes, large integers, NaN,
                UUIDs, Decimals, Enums, dataclasses, attrs classes, and pydantic models by their
                aliases. Left out, the task gets undefined; None arrives as null.
            tags: up to ten, of at most 128 characters, without commas.
            idempotency_key: finds the run that was triggered with it before, also by JavaScript.
            idempotency_key_ttl: how long that works, 30 days by default: a timedelta, whole
                seconds, or one number with one unit, `"24h"`.
            delay: when to start: a timedelta, a duration such as `"1h30m"`, or an aware datetime.
            ttl: how long it may wait to be started: a timedelta, whole seconds or a duration.
            queue, concurrency_key, region, machine: where it runs.
            version: the deployed version to run, `"20261125.1"`.
            priority: seconds by which it is moved ahead of others in its queue.
            max_duration: seconds of compute time, or a timedelta.
            max_attempts: how often it is tried.
            metadata: of JSON's own types.
            debounce: makes one run of several triggers.
            is_test: marks it as a test.
            call_timeout: seconds for the call with its retries, instead of the client's.
            access_token: instead of the client's.

        A failed attempt is followed by another one. With an `idempotency_key` that never makes a
        second run. Without one the server may forget the first attempt: it is asked again 10
        seconds after it was sent at the earliest, and a second run is possible. Give one wherever
        two runs would hurt: `self.request.id` in a Celery task that may run twice, say.

        In Django, call it in `transaction.on_commit`; from asyncio, by
        `await asyncio.to_thread(client.trigger, …)`. It can be called from callbacks too.

        Raises:
            ValueError, TypeError: an argument can't work, or the payload can't be encoded.
            ConfigurationError: there is no token.
            ApiError: the server refused it.
            ApiConnectionError: the server can't be reached; `may_have_happened` says whether a run
                may have been made nevertheless. `CallTimeout`: not within `call_timeout`.
            ClientClosed: the client was closed.
        """
        with _forks.importing:
            from ._calls.trigger import trigger
            from ._encode.options import check_options
            from .handles import encoded_payload, new_handle, task_identifier

        identifier = task_identifier(task)
        check_id(identifier, "task")
        options = check_options(
            {
                "tags": tags,
                "idempotency_key": idempotency_key,
                "idempotency_key_ttl": idempotency_key_ttl,
                "delay": delay,
                "ttl": ttl,
                "queue": queue,
                "concurrency_key": concurrency_key,
                "region": region,
                "version": version,
                "machine": machine,
                "priority": priority,
                "max_duration": max_duration,
                "max_attempts": max_attempts,
                "metadata": metadata,
                "debounce": debounce,
                "is_test": is_test,
            }
        )
        encoded = encoded_payload(task, payload)
        calls = self._calls().bounded(call_timeout, access_token)
        run = trigger(identifier, encoded, options, calls)
        return new_handle(self, run, task, access_token)

    @overload
    def handle(
        self, run_id: str, task: Task[PayloadT, OutputT]
    ) -> RunHandle[PayloadT, OutputT]: ...
    @overload
    def handle(self, run_id: str, task: None = None) -> RunHandle[Any, Any]: ...
    def handle(self, run_id: str, task: Task[Any, Any] | None = None) -> RunHandle[Any, Any]:
        """Return the handle of a run whose id was kept, in a database say. Asks nothing.

        Args:
            task: types of its payload and output.
        """
        with _forks.importing:
            from .handles import found_handle

        check_id(run_id, "run_id")
        _check_tasks([] if task is None else [task])
        return found_handle(self, run_id, task)

    def batch_trigger(
        self,
        items: Iterable[BatchItem[Any, Any]],
        *,
        idempotency_key: str | Sequence[str] | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> BatchHandle:
        """Start a run for each item, and return the handle of the batch once the server has all.

        Args:
            items: read as a whole before anything is sent. A server takes 1,000, of any tasks;
                `itertools.batched` makes batches of more.
            idempotency_key: finds the batch that was triggered with it before, for a day; and
                items without a key of their own get one made of it and their index. With it,
                calling again after a `BatchTriggerError` goes on where it stopped.
            call_timeout: seconds for all of it, instead of the client's.
            access_token: instead of the client's.

        Large payloads are uploaded on up to eight threads, which have ended when it returns.

        Raises:
            ValueError, TypeError: there is no item, or something else than an item.
            BatchTriggerError: it failed, and something is left behind or unknown.
            ConfigurationError, ApiError, ApiConnectionError, ClientClosed: as in `trigger`: nothing
                was begun.
        """
        with _forks.importing:
            from ._calls.batch import trigger_batch
            from ._encode.idempotency import check_idempotency_key
            from .batches import checked_items, new_batch_handle

        checked = checked_items(items)
        key = None if idempotency_key is None else check_idempotency_key(idempotency_key)
        calls = self._calls().bounded(call_timeout, access_token)
        batch = trigger_batch([one.item for one in checked], key, calls)
        return new_batch_handle(self, batch, checked, access_token)

    def batch_handle(self, batch_id: str) -> BatchHandle:
        """Return the handle of a batch whose id was kept, in a database say. Asks nothing."""
        with _forks.importing:
            from .batches import found_batch_handle

        check_id(batch_id, "batch_id")
        return found_batch_handle(self, batch_id)

    def create_public_token(
        self,
        *,
        read: Mapping[str, Any] | None = None,
        write: Mapping[str, Any] | None = None,
        trigger: str | Task[Any, Any] | Iterable[str | Task[Any, Any]] = (),
        batch_trigger: str | Task[Any, Any] | Iterable[str | Task[Any, Any]] = (),
        scopes: str | Iterable[str] = (),
        expires_in: timedelta | str | int = timedelta(minutes=15),
        expires_at: datetime | None = None,
        skip_columns: Iterable[str] = (),
        one_time_use: bool | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> str:
        """Return a public access token: for browsers, and others who must not have the secret key.

        Args:
            read: what its holder may follow: maps `"runs"`, `"tasks"`, `"tags"`, `"batches"` and
                `"sessions"` to an id, to several, or to True for all.
            write: the same for `"input_streams"` of runs, `"waitpoints"`, `"runs"` and
                `"sessions"`.
            trigger, batch_trigger: tasks that it may trigger.
            scopes: more of them, as the server spells them: `"read:runs:run_1"`.
            expires_in: a timedelta, whole seconds or a duration such as `"1h"`.
            expires_at: instead of it, an aware datetime.
            skip_columns: columns that its holder never sees.
            one_time_use: whether it is good for one trigger. By default it is if it may do nothing
                else than trigger.
            call_timeout, access_token: as in `trigger`.

        With a root key the server is asked once which environment the key is of, and tokens are
        made here from then on; with an additional key (`tr_…_sk_…`) the server makes each.

        Raises:
            ValueError: an argument can't work, or would allow more than it seems to.
            ConfigurationError: there is no secret key.
            ApiError, ApiConnectionError, ClientClosed: as in `trigger`.
        """
        with _forks.importing:
            from ._calls.public_tokens import Grant, check_life, public_token
            from ._encode.scopes import check_scopes

        life, end = check_life(expires_in, expires_at)
        grant = Grant(
            scopes=check_scopes(read, write, trigger, batch_trigger, scopes),
            life=life,
            expires_at=end,
            skipped=check_skip_columns(skip_columns),
            one_time_use=one_time_use
            if one_time_use is None
            else check_flag(one_time_use, "one_time_use"),
        )
        return public_token(grant, self._calls().bounded(call_timeout, access_token))

    def send(
        self,
        run_id: str,
        stream: str,
        data: Any,
        *,
        retry: bool = False,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> None:
        """Send to an input stream of a run, which may read it later.

        Args:
            stream: its name, which the run chooses.
            data: what JSON can hold. Times arrive as text.
            retry: True if the run does not mind to get it twice.
            call_timeout, access_token: as in `trigger`.

        The order is that of the calls, if each waits for the one before. Without `retry` it is sent
        at most once: after a lost answer or a 500 the error says `may_have_happened`. Only where
        the server refused the connection, or asks to come again later, it is sent again.

        Raises:
            ValueError, TypeError: an argument can't work.
            BadRequestError: the run has finished.
            ApiError, ApiConnectionError, ClientClosed: as in `trigger`.
        """
        with _forks.importing:
            from ._calls.inputs import input_request
            from ._calls.request import acknowledged

        check_id(run_id, "run_id")
        check_id(stream, "stream")
        check_flag(retry, "retry")
        request = input_request(run_id, stream, data, retry=retry)
        self._calls().bounded(call_timeout, access_token).ask(request, acknowledged)

    @property
    def runs(self) -> Runs:
        """The runs of the environment: to retrieve, list, cancel, replay and change them."""
        with _forks.importing:
            from .resources import Runs

        return Runs(self, self._calls())

    @property
    def wait_tokens(self) -> WaitTokens:
        """The tokens that tasks wait for: to create, complete, retrieve and list them."""
        with _forks.importing:
            from .wait_tokens import WaitTokens

        return WaitTokens(self._calls())

    @property
    def sessions(self) -> Sessions:
        """The sessions of the environment, chats with agents: to start, close, list and send to."""
        with _forks.importing:
            from .sessions import Sessions

        return Sessions(self._calls())

    # Subscribing.

    @overload
    def subscribe_to_run(
        self,
        run_id: str,
        *,
        task: Task[PayloadT, OutputT],
        **options: Unpack[RunOptions[Run[PayloadT, OutputT]]],
    ) -> RunSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_run(
        self,
        run_id: str,
        *,
        task: None = None,
        **options: Unpack[RunOptions],
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
        """Follow one run, as `useRealtimeRun` does, until it has finished.

        Args:
            run_id: of the run (`run_…`).
            task: types of its payload and output.
            on_update: called with each new state of the run.
            on_error: called with each error; `error.terminal` says whether it ended by it. Failures
                of the network are retried and logged, and shown in `.state`, but not told here. A
                server that answers and brings nothing up to date for a minute is (`ShapeStale`),
                and so is a certificate that is not trusted any more (`ConnectionUntrusted`).
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
        return self._subscribe(
            RunSubscription,
            _run(run_id, task, skip_columns),
            self._callbacks(on_update, on_error, on_complete),
            _Common(id, enabled, access_token, base_url, throttle_in_ms),
            stops_on_completion=stop_on_completion,
        )

    @overload
    def subscribe_to_runs_with_tag(
        self,
        tag: str | Sequence[str],
        *,
        tasks: Sequence[Task[PayloadT, OutputT]],
        created_at: str | timedelta | None = None,
        **options: Unpack[RunsOptions[Run[PayloadT, OutputT]]],
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
    @overload
    def subscribe_to_runs_with_tag(
        self,
        tag: str | Sequence[str],
        *,
        tasks: Sequence[Task[Any, Any]],
        created_at: str | timedelta | None = None,
        **options: Unpack[RunsOptions[Run[object, object]]],
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
        """Follow all runs that carry a tag, or all of several, as `useRealtimeRunsWithTag` does.

        Args:
            tag: a tag, or several that a run must all carry. The server knows no escape for a
                comma, and refuses backslashes, double quotes and control characters.
            created_at: how far back to look, `"90m"` or a timedelta; 24 hours is the default and
                the most.
            tasks: types of payload and output, matched by `run.task_identifier`.

        The other arguments, and what is raised: see `subscribe_to_run`. It has no end. A finished
        run that the server shows no longer leaves `.runs`, and is kept whole for a while only: see
        `RunsSubscription.wait_for_completion`.
        """
        return self._subscribe(
            RunsSubscription,
            _tag(tag, created_at, tasks, skip_columns),
            self._callbacks(on_update, on_error, on_complete),
            _Common(id, enabled, access_token, base_url, throttle_in_ms),
        )

    @overload
    def subscribe_to_batch(
        self,
        batch_id: str,
        *,
        tasks: Sequence[Task[PayloadT, OutputT]],
        **options: Unpack[RunsOptions[Run[PayloadT, OutputT]]],
    ) -> RunsSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_batch(
        self,
        batch_id: str,
        *,
        tasks: None = None,
        **options: Unpack[RunsOptions],
    ) -> RunsSubscription[Any, Any]: ...
    @overload
    def subscribe_to_batch(
        self,
        batch_id: str,
        *,
        tasks: Sequence[Task[Any, Any]],
        **options: Unpack[RunsOptions[Run[object, object]]],
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
        """Follow the runs of a batch, as `useRealtimeBatch` does, until all have finished.

        Args:
            batch_id: of the batch (`batch_…`).
            tasks: types of payload and output, matched by `run.task_identifier`.

        Once every run that is known has finished, the REST API is asked which runs the batch has;
        where the token may not ask that, the subscription goes on. The other arguments, and what
        is raised: see `subscribe_to_run`.
        """
        check_id(batch_id, "batch_id")
        return self._subscribe(
            RunsSubscription,
            _what("batch", batch_id, batch_path(batch_id), _query(skip_columns), tasks),
            self._callbacks(on_update, on_error, on_complete),
            _Common(id, enabled, access_token, base_url, throttle_in_ms),
        )

    @overload
    def subscribe_to_run_with_streams(
        self,
        run_id: str,
        *,
        task: Task[PayloadT, OutputT],
        **options: Unpack[RunWithStreamsOptions[Run[PayloadT, OutputT]]],
    ) -> RunSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_run_with_streams(
        self,
        run_id: str,
        *,
        task: None = None,
        **options: Unpack[RunWithStreamsOptions],
    ) -> RunSubscription[Any, Any]: ...
    def subscribe_to_run_with_streams(
        self,
        run_id: str,
        *,
        on_stream: Callable[[str, Parts[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        max_part_bytes: int | None = MAX_PART_BYTES,
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
        """Follow one run and the streams that it names, as `useRealtimeRunWithStreams` does.

        Args:
            run_id: of the run (`run_…`).
            on_stream: called with the key of a stream and its new `Parts`, a list that is never
                empty, in order. One that is slow holds the server back.
            streams: types of the parts by key, `{"openai": str}`; a part that does not fit goes
                to `on_error` as a `PayloadError`.
            max_parts: how many parts of each stream `.streams` keeps, within `max_part_bytes`; no
                bound by default.
            max_part_bytes: in how many bytes of the body the parts that `.streams` keeps may have
                come, those of all streams together; 64 MiB by default, None for any. The oldest
                are dropped first, and what `on_stream` has still to take never is;
                `.dropped_parts` counts them, and the log says it once. A subscription that joins
                later under the same `id` begins with the oldest part that is kept.

        The other arguments, and what is raised: see `subscribe_to_run`. It completes, and
        `on_complete` is called, when the run has finished and the last part was delivered.
        """
        return self._subscribe(
            RunSubscription,
            _run(run_id, task, skip_columns, streams=_streams(streams, max_parts, max_part_bytes)),
            _of_one_run(self._callbacks(on_update, on_error, on_complete, on_stream)),
            _Common(id, enabled, access_token, base_url, throttle_in_ms),
            stops_on_completion=stop_on_completion,
        )

    @overload
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        tasks: Sequence[Task[PayloadT, OutputT]],
        created_at: str | timedelta | None = None,
        **options: Unpack[RunsWithStreamsOptions[Run[PayloadT, OutputT]]],
    ) -> RunsSubscription[PayloadT, OutputT]: ...
    @overload
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        tasks: None = None,
        created_at: str | timedelta | None = None,
        **options: Unpack[RunsWithStreamsOptions],
    ) -> RunsSubscription[Any, Any]: ...
    @overload
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        tasks: Sequence[Task[Any, Any]],
        created_at: str | timedelta | None = None,
        **options: Unpack[RunsWithStreamsOptions[Run[object, object]]],
    ) -> RunsSubscription[Any, Any]: ...
    def subscribe_to_runs_with_streams(
        self,
        tag: str | Sequence[str],
        *,
        on_stream: Callable[[str, str, Parts[Any]], object] | None = None,
        streams: Mapping[str, Any] | None = None,
        max_parts: int | None = None,
        max_part_bytes: int | None = MAX_PART_BYTES,
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
        """Follow the runs of a tag and their streams, as `useRealtimeRunsWithStreams` does.

        Args:
            tag: see `subscribe_to_runs_with_tag`.
            on_stream: called with a run's id, the key of a stream, and its new `Parts`, a list that
                is never empty, in order. One that is slow holds the server back.
            streams: types of the parts by key.
            max_parts, max_part_bytes: see `subscribe_to_run_with_streams`; the bytes are those of
                the streams of all runs together.

        At most 64 streams are read at the same time; more take turns, and none is left out. The
        other arguments, and what is raised: see `subscribe_to_runs_with_tag`.
        """
        read = _streams(streams, max_parts, max_part_bytes)
        return self._subscribe(
            RunsSubscription,
            _tag(tag, created_at, tasks, skip_columns, streams=read),
            self._callbacks(on_update, on_error, on_complete, on_stream),
            _Common(id, enabled, access_token, base_url, throttle_in_ms),
        )

    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: type[PartT],
        task: Task[PayloadT, OutputT],
        **options: Unpack[OneStreamOptions[PartT, Run[PayloadT, OutputT]]],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: type[PartT],
        task: None = None,
        **options: Unpack[OneStreamOptions[PartT]],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: TypeForm[PartT],
        task: Task[PayloadT, OutputT],
        **options: Unpack[OneStreamOptions[PartT, Run[PayloadT, OutputT]]],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: TypeForm[PartT],
        task: None = None,
        **options: Unpack[OneStreamOptions[PartT]],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: None = None,
        task: Task[PayloadT, OutputT],
        **options: Unpack[OneStreamOptions[Any, Run[PayloadT, OutputT]]],
    ) -> StreamSubscription[Any]: ...
    @overload
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        part_type: None = None,
        task: None = None,
        **options: Unpack[OneStreamOptions[Any]],
    ) -> StreamSubscription[Any]: ...
    def subscribe_to_stream(
        self,
        run_id: str,
        key: str = "default",
        *,
        on_stream: Callable[[str, Parts[Any]], object] | None = None,
        part_type: Any = None,
        start_index: int | None = None,
        last_event_id: str | None = None,
        from_latest: bool = False,
        max_parts: int | None = None,
        max_part_bytes: int | None = MAX_PART_BYTES,
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
        """Read one stream of a run, as `useRealtimeStream` does, until the run has finished.

        Args:
            run_id: of the run (`run_…`).
            key: of the stream.
            on_stream: called with the key and the new `Parts`, a list that is never empty, in
                order. One that is slow holds the server back.
            part_type: type of the parts, as in `Task`; one that does not fit goes to `on_error`.
            start_index: where to begin. On v2 the number of a record, from 0, of which commands,
                control records and retried writes take one each; those that were trimmed away go to
                `on_error` as a `StreamTrimmed`. On v1 it counts parts from the oldest one that the
                server keeps, about the last thousand entries: of a longer stream, nobody can tell
                which part that is.
            last_event_id: goes on after what another subscription had read: its `last_event_id`.
                Should the server lose a v2 stream, or put it back (`StreamRewound`), what was read
                before that place is delivered again.
            from_latest: starts at the end of what is there. v1, up to server 4.5.12, can't be asked
                for that, and delivers all that it keeps.
            max_parts: how many parts `.parts` keeps, within `max_part_bytes`; no bound by default.
            max_part_bytes: in how many bytes of the body they may have come; 64 MiB by default,
                None for any. What `on_stream` or `updates()` has still to take is never dropped;
                see `subscribe_to_run_with_streams`.
            timeout_in_seconds: of silence, 1 to 600, after which the server ends one answer; the
                next is asked for as long as the run lives. A wish: what is asked for stays below
                nine tenths of `Timeouts.read`. Behind a proxy that holds answers back until they
                end, shorter ones are asked for; a busy v1 stream can't be followed there, since the
                server ends no answer while parts come, and arrives when the run has finished.
            task: types of the run's payload and output.

        The run is followed as well, to know when it has finished. The other arguments, and what is
        raised: see `subscribe_to_run`.
        """
        check_id(run_id, "run_id")
        check_key(key)
        options = _stream_options(
            StreamOptions,
            key=key,
            types=_types({} if part_type is None else {key: part_type}, "part_type"),
            start_index=start_index,
            last_event_id=last_event_id,
            from_latest=from_latest,
            most_kept=max_parts,
            most_kept_bytes=max_part_bytes,
            timeout=timeout_in_seconds,
        )
        return self._subscribe(
            StreamSubscription,
            _run(run_id, task, skip_columns, kind="stream", streams=options),
            _of_one_run(self._callbacks(on_update, on_error, on_complete, on_stream)),
            _Common(id, enabled, access_token, base_url, throttle_in_ms),
            stops_on_completion=stop_on_completion,
        )

    @overload
    def subscribe_to_session(
        self,
        session_id: str,
        io: Literal["in", "out"] = "out",
        *,
        part_type: TypeForm[PartT],
        **options: Unpack[SessionOptions[PartT]],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def subscribe_to_session(
        self,
        session_id: str,
        io: Literal["in", "out"] = "out",
        *,
        part_type: None = None,
        **options: Unpack[SessionOptions[Any]],
    ) -> StreamSubscription[Any]: ...
    def subscribe_to_session(
        self,
        session_id: str,
        io: Literal["in", "out"] = "out",
        *,
        channel: str | None = None,
        on_stream: Callable[[str, Parts[Any]], object] | None = None,
        on_control: Callable[[str, dict[str, str]], object] | None = None,
        part_type: Any = None,
        last_event_id: str | None = None,
        from_latest: bool = False,
        max_parts: int | None = None,
        max_part_bytes: int | None = MAX_PART_BYTES,
        timeout_in_seconds: int = 60,
        on_update: Callable[[Any], object] | None = None,
        on_error: Callable[[Any], object] | None = None,
        on_complete: Callable[[Any], object] | None = None,
        id: str | None = None,
        enabled: bool = True,
        access_token: Token | None = None,
        base_url: str | None = None,
        throttle_in_ms: float | None = None,
        skip_columns: Iterable[str] = (),
    ) -> StreamSubscription[Any]:
        """Read a session, as `useSessionStream` does, across all of its runs, until it is closed.

        Args:
            session_id: the server's (`session_…`), or the user's own. One of these that nobody has
                used yet is an empty stream.
            io: `"out"` is what the agent writes, `"in"` what is sent to it, as texts.
            channel: a side channel of that name, where the server knows them.
            on_stream: called with `io`, or the name of the side channel, and the new `Parts`, a
                list that is never empty, in order. One that is slow holds the server back. Their
                `first_index` counts the control records before them as well.
            on_control: called with the name and the headers of each control record, in its place
                among the parts: `"turn-complete"` (with a fresh `public-access-token`, and with
                `session-in-event-id`, the number of the last message that the turn has taken in),
                `"upgrade-required"`, `"session-closed"`, `"pending-version"`. Headers hold a token:
                log names only.
            part_type, last_event_id, from_latest, max_parts, max_part_bytes, timeout_in_seconds:
                as in `subscribe_to_stream`. What the agent has trimmed after a turn is no loss.
            on_complete: called with None when the session is closed, and all was delivered.
            on_update, skip_columns: mean nothing here: a session has no run of its own.

        A public token of the session lives an hour. The one that a turn brings replaces it, for
        `client.sessions.send` too.

        The agent writes of the close. Where none runs nobody does, so the REST API is asked soon
        after the start, after each silence of `timeout_in_seconds`, and when this client closes the
        session; with a public token, which it refuses, the subscription goes on then. `.run` is
        None, and so is what `wait_for_completion()` returns.

        The other arguments, and what is raised: see `subscribe_to_run`.
        """
        check_id(session_id, "session_id")
        check_io(io)
        if channel is not None:
            check_id(channel, "channel")
        check_skip_columns(skip_columns)
        key = io if channel is None else channel
        options = _stream_options(
            ChannelOptions,
            key=key,
            types=_types({} if part_type is None else {key: part_type}, "part_type"),
            last_event_id=last_event_id,
            from_latest=from_latest,
            most_kept=max_parts,
            most_kept_bytes=max_part_bytes,
            timeout=timeout_in_seconds,
        )
        path = channel_path(session_id, io, channel)
        callbacks = self._callbacks(on_update, on_error, on_complete, on_stream, on_control)
        return self._subscribe(
            StreamSubscription,
            _what("session", session_id, path, _query(()), None, options),
            _of_one_run(callbacks),
            _Common(id, enabled, access_token, base_url, throttle_in_ms),
        )

    @overload
    def wait_for_completion(
        self,
        run_id: str,
        *,
        task: Task[PayloadT, OutputT],
        timeout: float | None = None,
        **options: Unpack[RunOptions[Run[PayloadT, OutputT]]],
    ) -> Run[PayloadT, OutputT]: ...
    @overload
    def wait_for_completion(
        self,
        run_id: str,
        *,
        task: None = None,
        timeout: float | None = None,
        **options: Unpack[RunOptions],
    ) -> AnyRun: ...
    def wait_for_completion(
        self,
        run_id: str,
        *,
        task: Task[Any, Any] | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> AnyRun:
        """Block until the run has finished, well or not, and return it.

        Args:
            run_id: of the run (`run_…`).
            task: types of its payload and output.
            timeout: seconds; None for no bound.
            options: those of `subscribe_to_run`.

        Raises:
            WaitTimeout: it did not finish in time.
            TriggerRealtimeError: what kept it from being followed.
        """
        subscription = self.subscribe_to_run(run_id, task=task, **options)
        try:
            return subscription.wait_for_completion(timeout)
        finally:
            subscription.cancel()
            if options.get("id") is None:
                self.clear_cache(subscription.id)

    # The registry.

    def get(self, id: str) -> Subscription | None:
        """Return the running subscription of this id, or None."""
        return self.subscriptions.get(id)

    def cancel(self, id: str) -> bool:
        """Cancel every subscription of this id.

        Returns:
            Whether there was one.
        """
        registry = self._engine.registry
        seats = registry.seats_of(id)
        registry.end(seats, is_inside=is_inside())
        return bool(seats)

    def cancel_all(self) -> None:
        """Cancel everything; the client can be used again."""
        registry = self._engine.registry
        registry.end(registry.all_seats(), is_inside=is_inside())

    def clear_cache(self, id: str | None = None) -> None:
        """Drop what is cached under this id, or everything. A running subscription delivers its
        next snapshot anew."""
        self._engine.registry.forget(id)

    @property
    def sharing(self) -> Sharing | None:
        """What this client reads for its fleet, and what it follows; None without `shared`."""
        fleet = self._engine.fleet
        if fleet is None:
            return None
        from .sharing import Sharing

        return Sharing(fleet)

    # The end.

    def close(self) -> None:
        """Cancel everything and wait for the threads to end, for two seconds at most.

        Idempotent. A thread that is inside a callback of yours ends when the callback returns; one
        that is fetching a large payload or output gets a `PayloadError`. A signal handler and
        `__del__` may call it. In `__del__`, and where it interrupted a call of this library, it
        returns at once, and waits for nothing.
        """
        if is_inside():
            self._engine.stop()
            return
        left = self._engine.close(monotonic() + CLOSE_SECONDS)
        if left:
            logger.warning("close() left threads that did not end in time: %s", ", ".join(left))

    def __enter__(self) -> RealtimeClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a RealtimeClient can't be pickled: make one in each process, from the same options"
        )

    def __repr__(self) -> str:
        try:
            return f"<RealtimeClient {self._base_url} subscriptions={len(self.subscriptions)}>"
        except AttributeError:
            # An option could not work, and what reports that shows the local variables.
            return "<RealtimeClient, not made>"

    # What the methods above share.

    def _patient_until(self, moment: float) -> RealtimeClient:
        """Return the same client, for which a 404 means "not yet" before a moment of
        `time.monotonic()`: for handles of new runs."""
        patient = object.__new__(type(self))
        vars(patient).update(vars(self))
        patient._absent_until = moment
        return patient

    def _calls(self) -> Calls:
        with _forks.importing:
            from ._calls.calls import Calls

        return Calls(
            engine=self._engine,
            base_url=self._base_url,
            token=self._token_or_default,
            seconds=self._call_timeout,
            absent_until=self._absent_until,
            spans=self._spans,
        )

    @property
    def _engine(self) -> Engine:
        return _renewed(self._owner.engine)

    def _around_callback(self, callback: Callable[..., object]) -> Callable[..., object]:
        """Return what is called in place of a callback of the user's: a hook for subclasses."""
        return callback

    def _callbacks(
        self,
        on_update: Any,
        on_error: Any,
        on_complete: Any,
        on_stream: Any = None,
        on_control: Any = None,
    ) -> Callbacks:
        given = {"on_update": on_update, "on_error": on_error, "on_complete": on_complete}
        given.update(on_stream=on_stream, on_control=on_control)
        for name, callback in given.items():
            check_callback(callback, name)
        wrapped: dict[str, Any] = {
            name: one and self._around_callback(one) for name, one in given.items()
        }
        return Callbacks(**wrapped)

    def _subscribe(
        self,
        kind: type[SubscriptionT],
        what: dict[str, Any],
        callbacks: Callbacks,
        common: _Common,
        *,
        stops_on_completion: bool = False,
    ) -> SubscriptionT:
        check_flag(common.enabled, "enabled")
        check_flag(stops_on_completion, "stop_on_completion")
        registry = self._engine.registry
        if registry.closed:
            raise ClientClosed("the client is closed")
        url, throttle = common.base_url, common.throttle_in_ms
        target = Target(
            **what,
            token=self._token_or_default(common.access_token),
            base_url=self._base_url if url is None else check_base_url(url),
            absent_until=self._absent_until,
        )
        seconds = self._throttle if throttle is None else check_throttle(throttle)
        if common.id is not None:
            check_id(common.id, "id")
        seat = self._engine.seat(
            target, callbacks, seconds, stops_on_completion=stops_on_completion
        )
        try:
            subscription = kind(seat)
            registry.add(seat, common.id, enabled=common.enabled)
        except BaseException:
            registry.undo(seat)
            raise
        return subscription

    def _token_or_default(self, access_token: Token | None) -> Token:
        token = _check_token_option(access_token) or self._token or token_from_environment()
        if token is None:
            raise ConfigurationError(
                "no access_token: pass one to RealtimeClient or to the subscription,"
                " or set TRIGGER_SECRET_KEY or TRIGGER_ACCESS_TOKEN"
            )
        return token


def _renewed(engine: Engine) -> Engine:
    """Return an engine, made anew if this is a child of a fork that went unnoticed."""
    _forks.notice()
    return engine


@attrs.frozen
class _Common:
    """The options that every subscription takes."""

    id: str | None
    enabled: bool
    access_token: Token | None
    base_url: str | None
    throttle_in_ms: float | None


def _refuse_eventlet() -> None:
    """Raise ConfigurationError where eventlet has replaced the sockets: what ends a blocked read
    from another thread does not work with its own."""
    patcher = sys.modules.get("eventlet.patcher")
    if patcher is not None and patcher.is_monkey_patched("socket"):
        raise ConfigurationError(
            "eventlet.monkey_patch() is not supported: use threads, or gevent instead"
        )


def _what(
    kind: str,
    subject: str,
    path: str,
    query: Any,
    tasks: Sequence[Task[Any, Any]] | None,
    streams: StreamOptions | None = None,
) -> dict[str, Any]:
    """Return the fields of a target, but for its server and token."""
    what = {"kind": kind, "subject": subject, "path": path, "query": query, "streams": streams}
    return {**what, "tasks": _check_tasks(tasks)}


def _run(
    run_id: str,
    task: Task[Any, Any] | None,
    skip_columns: Iterable[str],
    kind: str = "run",
    streams: StreamOptions | None = None,
) -> dict[str, Any]:
    check_id(run_id, "run_id")
    tasks = [] if task is None else [task]
    return _what(kind, run_id, run_path(run_id), _query(skip_columns), tasks, streams)


def _tag(
    tag: str | Sequence[str],
    created_at: str | timedelta | None,
    tasks: Sequence[Task[Any, Any]] | None,
    skip_columns: Iterable[str],
    streams: StreamOptions | None = None,
) -> dict[str, Any]:
    tags = ",".join(check_tags(tag))
    query = _query(skip_columns, {TAGS: tags, CREATED_AT: check_created_at(created_at)})
    return _what("tag", tags, RUNS_PATH, query, tasks, streams)


def _of_one_run(callbacks: Callbacks) -> Callbacks:
    """Return the callbacks with an `on_stream` that is called without the run's id."""
    on_stream: Callable[..., object] | None = callbacks.on_stream
    if on_stream is None:
        return callbacks
    return attrs.evolve(callbacks, on_stream=lambda run_id, key, parts: on_stream(key, parts))


def _check_tasks(tasks: Any) -> tuple[Task[Any, Any], ...]:
    if tasks is not None and not isinstance(tasks, (list, tuple)):
        raise ValueError(f"tasks must be a list of Task, not {type(tasks).__name__}")
    for task in tasks or ():
        if not isinstance(task, Task):
            raise ValueError(f"task must be a Task, not {type(task).__name__}")
    return tuple(tasks or ())


def _query(
    skip_columns: Iterable[str], more: Mapping[str, str | None] | None = None
) -> tuple[tuple[str, str], ...]:
    query = {SKIP_COLUMNS: ",".join(check_skip_columns(skip_columns)) or None, **(more or {})}
    return tuple(sorted((name, text) for name, text in query.items() if text is not None))


def _streams(
    types: Mapping[str, Any] | None, max_parts: int | None, max_part_bytes: int | None
) -> StreamOptions:
    if types is not None and not isinstance(types, Mapping):
        raise ValueError(f"streams must map keys to types, not be {type(types).__name__}")
    return _stream_options(
        StreamOptions,
        types=_types(types or {}, "streams"),
        most_kept=max_parts,
        most_kept_bytes=max_part_bytes,
    )


def _types(types: Mapping[str, Any], name: str) -> tuple[tuple[str, Any], ...]:
    for type_ in types.values():
        if type_ is not None:
            from ._types.check import check_structurable

            check_structurable(type_, name)
    return tuple(types.items())


def _stream_options(kind: type[StreamOptions], **options: Any) -> StreamOptions:
    given = kind(**options)
    if given.start_index is not None:
        check_count(given.start_index, "start_index", least=0)
    if given.most_kept is not None:
        check_count(given.most_kept, "max_parts", least=0)
    if given.most_kept_bytes is not None:
        check_count(given.most_kept_bytes, "max_part_bytes")
    check_count(given.timeout, "timeout_in_seconds", most=600)
    check_flag(given.from_latest, "from_latest")
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


def _shared_option(shared: Any, token: Token | None) -> Any:
    if shared is None:
        return None
    if not hasattr(shared, "make_log"):
        raise ConfigurationError(
            f"shared must be a RedisSharing or None, not {type(shared).__name__}"
        )
    if callable(token) and shared.audience is None:
        raise ConfigurationError(
            "audience: RedisSharing must name it where access_token is a function, since which"
            " processes may read the same can't be told by tokens that change"
        )
    return shared


def _own_token(token: Token | None) -> Token | None:
    return token or token_from_environment()


def _check_token_option(token: Any) -> Token | None:
    token = hidden(token)
    if is_async(token):
        raise ConfigurationError("access_token is an async function: pass a plain one, or a token")
    if is_generator(token):
        raise ConfigurationError("access_token is a generator function: pass one without yield")
    if token is None or callable(token):
        return token  # type: ignore[no-any-return]
    return check_token(token)


def _base_url_option(base_url: Any) -> str:
    if base_url is not None:
        return check_base_url(base_url)
    if os.environ.get("TRIGGER_API_URL"):
        return check_base_url(os.environ["TRIGGER_API_URL"], "TRIGGER_API_URL")
    return DEFAULT_BASE_URL


def _branch_option(branch: Any) -> str | None:
    if branch is None and os.environ.get("TRIGGER_PREVIEW_BRANCH", "").strip():
        return check_branch(os.environ["TRIGGER_PREVIEW_BRANCH"], "TRIGGER_PREVIEW_BRANCH")
    return check_branch(branch)


def _spans_option(telemetry: Any) -> Spans | None:
    if not isinstance(telemetry, bool):
        raise ConfigurationError(f"telemetry must be True or False, not {telemetry!r}")
    if not telemetry:
        return None
    from ._calls.spans import Spans
    from ._receivers.failure_reports import sentry_is_installed

    try:
        return Spans()
    except ConfigurationError:
        if sentry_is_installed():
            return None
        raise


def _configured(check: Callable[..., Any], *arguments: Any, **bounds: Any) -> Any:
    try:
        return check(*arguments, **bounds)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
