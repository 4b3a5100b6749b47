"""Handles: what `client.trigger` returns, and how a run is found again in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, overload

import attrs

from ._calls.trigger import Triggered
from ._checks import check_timeout
from ._clock import monotonic
from ._encode.payload import Payload, encode_payload
from ._http.tokens import Token
from .errors import RunFailed
from .models import OutputT, PayloadT, Run, RunDetails, Task
from .subscription import RunSubscription, StreamSubscription

if TYPE_CHECKING:
    from typing_extensions import TypeForm, Unpack

    from .options import OneStreamOptions, PartT, RunOptions, RunWithStreamsOptions

__all__ = ["RunHandle"]

# Seconds for which a 404 of a new run means "not yet": a server may hold it in a buffer.
ABSENT_SECONDS = 30.0


class RunCalls(Protocol):
    """What a handle needs of `client.runs`."""

    @property
    def retrieve(self) -> Callable[..., RunDetails]:
        """Returns a run."""

    @property
    def cancel(self) -> Callable[..., None]:
        """Cancels a run."""

    @property
    def replay(self) -> Callable[..., RunHandle[Any, Any]]:
        """Runs it once more."""

    @property
    def reschedule(self) -> Callable[..., RunDetails]:
        """Lets it start at another time."""

    @property
    def add_tags(self) -> Callable[..., None]:
        """Adds tags to it."""

    @property
    def set_metadata(self) -> Callable[..., dict[str, Any]]:
        """Replaces its metadata."""


class Client(Protocol):
    """What a handle needs of its client."""

    @property
    def runs(self) -> RunCalls:
        """The calls about runs."""

    @property
    def subscribe_to_run(self) -> Callable[..., RunSubscription[Any, Any]]:
        """Follows a run."""

    @property
    def subscribe_to_run_with_streams(self) -> Callable[..., RunSubscription[Any, Any]]:
        """Follows a run and its streams."""

    @property
    def subscribe_to_stream(self) -> Callable[..., StreamSubscription[Any]]:
        """Reads one stream of a run."""

    @property
    def wait_for_completion(self) -> Callable[..., Run[Any, Any]]:
        """Waits for the end of a run."""

    @property
    def send(self) -> Callable[..., None]:
        """Sends to an input stream of a run."""

    def clear_cache(self, id: str | None = None) -> None:
        """Forgets what is known of a subscription."""

    def _patient_until(self, moment: float) -> Client:
        """Return the same client, for which a 404 means "not yet" before a moment of
        `time.monotonic()`."""


@attrs.frozen(kw_only=True, eq=False)
class RunHandle(Generic[PayloadT, OutputT]):
    """A run that was triggered, or that is known by its id. Safe from any thread.

    Equal to another handle of the same run. It can't be pickled: keep `handle.id`, and pass it to
    `client.handle`.

    Attributes:
        id: of the run.
        task_identifier: of its task; None where only the id was known.
        is_cached: whether an idempotency key found a run that was triggered before.
        public_access_token: good for following this run and for sending to its input streams, for
            an hour; None after `client.handle` and `replay`.
    """

    id: str
    task_identifier: str | None = None
    is_cached: bool = False
    public_access_token: str | None = attrs.field(default=None, repr=False)
    _client: Client = attrs.field(alias="client", repr=False)
    _task: Task[Any, Any] | None = attrs.field(alias="task", default=None, repr=False)
    # What its run was triggered with, where that is not the client's own token.
    _access_token: Token | None = attrs.field(alias="access_token", default=None, repr=False)
    # Its own token is the better one to follow the run with.
    _reads_with_own: bool = attrs.field(alias="reads_with_own", default=False, repr=False)
    _absent_until: float = attrs.field(alias="absent_until", repr=False)

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, RunHandle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> Any:
        raise TypeError("a RunHandle can't be pickled: keep handle.id, and client.handle(id)")

    # Following it.

    def subscribe(
        self, **options: Unpack[RunOptions[Run[PayloadT, OutputT]]]
    ) -> RunSubscription[PayloadT, OutputT]:
        """Follow the run: see `client.subscribe_to_run`.

        For 30 seconds from the answer to `trigger`, or from `client.handle`, a run that the server
        does not know yet is waited for. The client's token is used, or the handle's own where the
        client has a public one.
        """
        return self._now.subscribe_to_run(self.id, task=self._task, **self._reading({**options}))

    def subscribe_with_streams(
        self, **options: Unpack[RunWithStreamsOptions[Run[PayloadT, OutputT]]]
    ) -> RunSubscription[PayloadT, OutputT]:
        """Follow the run and its streams: see `client.subscribe_to_run_with_streams`, and
        `subscribe`."""
        return self._now.subscribe_to_run_with_streams(
            self.id, task=self._task, **self._reading({**options})
        )

    @overload
    def stream(
        self,
        key: str = "default",
        *,
        part_type: type[PartT],
        **options: Unpack[OneStreamOptions[PartT, Run[PayloadT, OutputT]]],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def stream(
        self,
        key: str = "default",
        *,
        part_type: TypeForm[PartT],
        **options: Unpack[OneStreamOptions[PartT, Run[PayloadT, OutputT]]],
    ) -> StreamSubscription[PartT]: ...
    @overload
    def stream(
        self,
        key: str = "default",
        *,
        part_type: None = None,
        **options: Unpack[OneStreamOptions[Any, Run[PayloadT, OutputT]]],
    ) -> StreamSubscription[Any]: ...
    def stream(self, key: str = "default", **options: Any) -> StreamSubscription[Any]:
        """Read one stream of the run: see `client.subscribe_to_stream`, and `subscribe`."""
        return self._now.subscribe_to_stream(
            self.id, key, task=self._task, **self._reading(options)
        )

    def wait_for_completion(self, timeout: float | None = None) -> Run[PayloadT, OutputT]:
        """Block until the run has finished, well or not, and return it.

        Args:
            timeout: seconds; None for no bound.

        Raises:
            WaitTimeout: it did not finish in time.
            TriggerRealtimeError: what kept it from being followed.
        """
        return self._now.wait_for_completion(
            self.id, task=self._task, timeout=timeout, **self._reading({})
        )

    def result(self, timeout: float | None = None) -> OutputT:
        """Block like `wait_for_completion`, and return the run's output.

        Raises:
            RunFailed: the run did not succeed; it has the run and its error.
            PayloadError: the output can't be read.
            TriggerRealtimeError: as `wait_for_completion`.
        """
        run = self.wait_for_completion(timeout)
        if not run.is_success:
            raise RunFailed(run)
        return run.output

    def updates(self, timeout: float | None = None) -> Iterator[Run[PayloadT, OutputT]]:
        """Iterate over the states of the run, from the current one to the last.

        Args:
            timeout: seconds without a change after which `WaitTimeout` is raised.
        """
        check_timeout(timeout)
        return self._updates(timeout)

    def _updates(self, timeout: float | None) -> Iterator[Run[PayloadT, OutputT]]:
        with self.subscribe() as subscription:
            try:
                yield from subscription.updates(timeout)
            finally:
                subscription.cancel()
                self._client.clear_cache(subscription.id)

    # Managing it.

    def retrieve(self, **options: Any) -> RunDetails:
        """Return the run as the REST API tells it: see `client.runs.retrieve`."""
        return self._now.runs.retrieve(self.id, **self._calling(options))

    def cancel(self, **options: Any) -> None:
        """Cancel the run: see `client.runs.cancel`."""
        self._now.runs.cancel(self.id, **self._calling(options))

    def replay(self, **options: Any) -> RunHandle[PayloadT, OutputT]:
        """Run it once more: see `client.runs.replay`."""
        replayed = self._now.runs.replay(self.id, **self._calling(options))
        return attrs.evolve(replayed, task=self._task, task_identifier=self.task_identifier)

    def reschedule(self, delay: timedelta | datetime | str, **options: Any) -> RunDetails:
        """Let a delayed run start at another time: see `client.runs.reschedule`."""
        return self._now.runs.reschedule(self.id, delay, **self._calling(options))

    def add_tags(self, tags: Any, **options: Any) -> None:
        """Add tags to the run: see `client.runs.add_tags`."""
        self._now.runs.add_tags(self.id, tags, **self._calling(options))

    def set_metadata(self, metadata: Any, **options: Any) -> dict[str, Any]:
        """Replace the run's metadata: see `client.runs.set_metadata`."""
        return self._now.runs.set_metadata(self.id, metadata, **self._calling(options))

    def send(self, stream: str, data: Any, **options: Any) -> None:
        """Send to an input stream of the run: see `client.send`."""
        self._now.send(self.id, stream, data, **self._reading(options))

    # What the methods above share.

    @property
    def _now(self) -> Client:
        return self._client._patient_until(self._absent_until)

    def _reading(self, options: dict[str, Any]) -> dict[str, Any]:
        """Add the token for what the handle's own token allows."""
        own = self.public_access_token if self._reads_with_own else None
        return self._with_token(options, own or self._access_token)

    def _calling(self, options: dict[str, Any]) -> dict[str, Any]:
        return self._with_token(options, self._access_token)

    def _with_token(self, options: dict[str, Any], token: Token | None) -> dict[str, Any]:
        if token is None or options.get("access_token") is not None:
            return options
        return {**options, "access_token": token}


def new_handle(
    client: Client, run: Triggered, task: Task[Any, Any] | str, access_token: Token | None
) -> RunHandle[Any, Any]:
    """Return the handle of a run that was just triggered."""
    typed = task if isinstance(task, Task) else None
    return RunHandle(
        id=run.id,
        task_identifier=task_identifier(task),
        is_cached=run.is_cached,
        public_access_token=run.public_token,
        client=client,
        task=typed,
        access_token=access_token,
        reads_with_own=run.by_public_token,
        absent_until=run.answered_at + ABSENT_SECONDS,
    )


def found_handle(
    client: Client,
    run_id: str,
    task: Task[Any, Any] | None = None,
    access_token: Token | None = None,
) -> RunHandle[Any, Any]:
    """Return the handle of a run whose id is known."""
    return RunHandle(
        id=run_id,
        task_identifier=None if task is None else task.identifier,
        client=client,
        task=task,
        access_token=access_token,
        absent_until=monotonic() + ABSENT_SECONDS,
    )


def encoded_payload(task: Task[Any, Any] | str, payload: Any) -> Payload:
    """Return a payload to send; for errors see `encode_payload`."""
    return encode_payload(payload, task.payload if isinstance(task, Task) else None)


def task_identifier(task: Task[Any, Any] | str) -> str:
    """Return the id of a task."""
    return task.identifier if isinstance(task, Task) else task
