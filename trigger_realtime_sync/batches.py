"""Batches: many runs, triggered at once and followed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Protocol, overload

import attrs

from ._calls.batch import Item, TriggeredBatch
from ._calls.calls import Calls
from ._calls.request import Reply, Request
from ._checks import check_id
from ._clock import monotonic
from ._decode.rest_run import integer, moment, text, texts
from ._encode.none import NONE
from ._encode.options import Debounce, check_options
from ._http.tokens import Token
from ._wire.names import batch_members_path
from .handles import ABSENT_SECONDS, encoded_payload, task_identifier
from .models import AnyRun, OutputT, Task, TaskPayloadT
from .subscription import RunsSubscription

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ._encode.options import Machine
    from .options import RunsOptions

__all__ = ["Batch", "BatchHandle", "BatchItem", "BatchItemError"]


@attrs.frozen(init=False)
class BatchItem(Generic[TaskPayloadT, OutputT]):
    """One run of a batch: a task, its payload, and the options of `client.trigger` by their names.

    Raises:
        ValueError, TypeError: an option can't work, or the payload can't be encoded.
    """

    task: Task[TaskPayloadT, OutputT] | str
    payload: Any
    options: Mapping[str, Any]
    _item: Item = attrs.field(repr=False, eq=False)

    @overload
    def __init__(
        self,
        task: Task[TaskPayloadT, OutputT],
        payload: TaskPayloadT = ...,
        *,
        tags: str | Iterable[str] = ...,
        idempotency_key: str | Sequence[str] | None = ...,
        idempotency_key_ttl: timedelta | str | int | None = ...,
        delay: timedelta | datetime | str | None = ...,
        ttl: timedelta | str | int | None = ...,
        queue: str | None = ...,
        concurrency_key: str | None = ...,
        region: str | None = ...,
        version: str | None = ...,
        machine: Machine | None = ...,
        priority: timedelta | float | None = ...,
        max_duration: timedelta | float | None = ...,
        max_attempts: int | None = ...,
        metadata: Mapping[str, Any] | None = ...,
        debounce: Debounce | None = ...,
        is_test: bool = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: BatchItem[Any, Any],
        task: str,
        payload: Any = ...,
        *,
        tags: str | Iterable[str] = ...,
        idempotency_key: str | Sequence[str] | None = ...,
        idempotency_key_ttl: timedelta | str | int | None = ...,
        delay: timedelta | datetime | str | None = ...,
        ttl: timedelta | str | int | None = ...,
        queue: str | None = ...,
        concurrency_key: str | None = ...,
        region: str | None = ...,
        version: str | None = ...,
        machine: Machine | None = ...,
        priority: timedelta | float | None = ...,
        max_duration: timedelta | float | None = ...,
        max_attempts: int | None = ...,
        metadata: Mapping[str, Any] | None = ...,
        debounce: Debounce | None = ...,
        is_test: bool = ...,
    ) -> None: ...
    def __init__(self, task: Any, payload: Any = NONE, **options: Any) -> None:
        identifier = task_identifier(task)
        check_id(identifier, "task")
        if "tags" in options and not isinstance(options["tags"], str):
            # Read once: it may be an iterator.
            options["tags"] = _listed(options["tags"])
        checked = check_options(options)
        item = Item(identifier, encoded_payload(task, payload), checked)
        self.__attrs_init__(task, payload, options, item)

    @property
    def item(self) -> Item:
        """What is sent."""
        return self._item


def _listed(tags: Any) -> Any:
    return list(tags) if isinstance(tags, Iterable) else tags


@attrs.frozen
class BatchItemError:
    """Why an item of a batch has no run."""

    task_identifier: str | None
    message: str
    code: str | None = None


@attrs.frozen(kw_only=True)
class Batch:
    """A batch as the REST API tells it.

    Attributes:
        status: `"PENDING"`, `"PROCESSING"`, `"COMPLETED"`, `"PARTIAL_FAILED"` or `"ABORTED"`.
        run_count: how many items it has.
        run_ids: the runs that there are by now.
        errors: why an item has no run, by its index.
    """

    id: str
    status: str
    run_count: int | None = None
    created_at: datetime | None = None
    run_ids: list[str] = attrs.field(factory=list, hash=False)
    errors: dict[int, BatchItemError] = attrs.field(factory=dict, hash=False)


class Client(Protocol):
    """What a handle of a batch needs of its client."""

    @property
    def subscribe_to_batch(self) -> Callable[..., RunsSubscription[Any, Any]]:
        """Follows a batch."""

    def clear_cache(self, id: str | None = None) -> None:
        """Forgets what is known of a subscription."""

    def _calls(self) -> Calls:
        """Return what it calls with."""

    def _patient_until(self, moment: float) -> Client:
        """Return the same client, for which a 404 means "not yet" before a moment of
        `time.monotonic()`."""


@attrs.frozen(kw_only=True, eq=False)
class BatchHandle:
    """A batch that was triggered, or that is known by its id. Safe from any thread.

    Equal to another handle of the same batch. It can't be pickled: keep `handle.id`, and pass it to
    `client.batch_handle`.

    Attributes:
        id: of the batch.
        run_count: how many items it has; None where only the id was known.
        is_cached: whether an idempotency key found a batch that was made before.
        public_access_token: good for following this batch, for an hour; None after
            `client.batch_handle`.
    """

    id: str
    run_count: int | None = None
    is_cached: bool = False
    public_access_token: str | None = attrs.field(default=None, repr=False)
    _client: Client = attrs.field(alias="client", repr=False)
    _tasks: tuple[Task[Any, Any], ...] = attrs.field(alias="tasks", default=(), repr=False)
    _access_token: Token | None = attrs.field(alias="access_token", default=None, repr=False)
    _reads_with_own: bool = attrs.field(alias="reads_with_own", default=False, repr=False)
    _absent_until: float = attrs.field(alias="absent_until", repr=False)

    def __eq__(self, other: object) -> bool:
        return self.id == other.id if isinstance(other, BatchHandle) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> Any:
        raise TypeError("a BatchHandle can't be pickled: keep its id, and client.batch_handle(id)")

    def subscribe(
        self, *, tasks: Sequence[Task[Any, Any]] | None = None, **options: Unpack[RunsOptions]
    ) -> RunsSubscription[Any, Any]:
        """Follow the runs of the batch: see `client.subscribe_to_batch`.

        Args:
            tasks: types of payload and output; the `Task`s of its items by default.
        """
        client = self._client._patient_until(self._absent_until)
        return client.subscribe_to_batch(
            self.id,
            tasks=list(self._tasks) if tasks is None else tasks,
            **self._reading({**options}),
        )

    def wait_for_completion(self, timeout: float | None = None) -> list[AnyRun]:
        """Block until all runs have finished, well or not, and return them.

        They come in the order in which they were created, which is **not that of the items**: give
        items a tag or a key to tell them apart.

        Args:
            timeout: seconds; None for no bound.

        Raises:
            WaitTimeout: they did not finish in time.
            TriggerRealtimeError: what kept them from being followed.
        """
        subscription = self.subscribe()
        try:
            return subscription.wait_for_completion(timeout)
        finally:
            subscription.cancel()
            self._client.clear_cache(subscription.id)

    def retrieve(
        self, *, call_timeout: float | None = None, access_token: Token | None = None
    ) -> Batch:
        """Return the batch as the REST API tells it."""
        token = self._reading({"access_token": access_token})["access_token"]
        request = Request(method="GET", path=batch_members_path(self.id), label=f"batch {self.id}")
        calls = self._client._patient_until(self._absent_until)._calls()
        return calls.bounded(call_timeout, token).ask(request, _batch)

    def _reading(self, options: dict[str, Any]) -> dict[str, Any]:
        own = self.public_access_token if self._reads_with_own else None
        token = own or self._access_token
        if token is None or options.get("access_token") is not None:
            return options
        return {**options, "access_token": token}


def new_batch_handle(
    client: Client,
    batch: TriggeredBatch,
    items: list[BatchItem[Any, Any]],
    access_token: Token | None,
) -> BatchHandle:
    """Return the handle of a batch that was just triggered."""
    tasks = {item.task.identifier: item.task for item in items if isinstance(item.task, Task)}
    return BatchHandle(
        id=batch.id,
        run_count=len(items),
        is_cached=batch.is_cached,
        public_access_token=batch.public_token,
        client=client,
        tasks=tuple(tasks.values()),
        access_token=access_token,
        reads_with_own=batch.by_public_token,
        absent_until=monotonic() + ABSENT_SECONDS,
    )


def found_batch_handle(client: Client, batch_id: str) -> BatchHandle:
    """Return the handle of a batch whose id is known."""
    return BatchHandle(id=batch_id, client=client, absent_until=monotonic() + ABSENT_SECONDS)


def checked_items(items: Any) -> list[BatchItem[Any, Any]]:
    """Return the items of a batch.

    Raises:
        ValueError: there is none.
        TypeError: one is something else.
    """
    if isinstance(items, (str, Mapping)) or not isinstance(items, Iterable):
        raise TypeError(f"items must be a list of BatchItem, not {type(items).__name__}")
    checked = list(items)
    for item in checked:
        if not isinstance(item, BatchItem):
            raise TypeError(f"items must be BatchItems, not {type(item).__name__}")
    if not checked:
        raise ValueError("items is empty: a batch has at least one")
    return checked


def _batch(reply: Reply) -> Batch:
    document = reply.json()
    processing = document.get("processing")
    errors = processing.get("errors") if isinstance(processing, dict) else None
    return Batch(
        id=reply.text_of("id"),
        status=reply.text_of("status"),
        run_count=integer(document.get("runCount")),
        created_at=moment(document.get("createdAt")),
        run_ids=texts(document.get("runs")),
        errors=_errors(errors),
    )


def _errors(listed: Any) -> dict[int, BatchItemError]:
    errors = {}
    for one in listed if isinstance(listed, list) else ():
        index = integer(one.get("index")) if isinstance(one, dict) else None
        if index is not None:
            message = text(one.get("error")) or ""
            code = text(one.get("errorCode"))
            errors[index] = BatchItemError(text(one.get("taskIdentifier")), message, code)
    return errors
