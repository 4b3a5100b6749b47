"""The nouns: a run, its status, its error, and a task that types them. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, overload

import attrs

if TYPE_CHECKING:
    from typing import TypeGuard

    from typing_extensions import Self, TypeVar

    # With defaults, which `typing` has from Python 3.13 on, a plain `Run` may stand in annotations.
    PayloadT = TypeVar("PayloadT", covariant=True, default=Any)
    OutputT = TypeVar("OutputT", covariant=True, default=Any)
    # Invariant: with a covariant payload, `trigger(task, 5)` would pass as a task of `object`.
    TaskPayloadT = TypeVar("TaskPayloadT", default=Any)
    PartT = TypeVar("PartT", default=Any)
else:
    from typing import TypeVar

    PayloadT = TypeVar("PayloadT", covariant=True)
    OutputT = TypeVar("OutputT", covariant=True)
    TaskPayloadT = TypeVar("TaskPayloadT")
    PartT = TypeVar("PartT")


class _OpenEnum(str, enum.Enum):
    """Texts of a server's. One that this version does not know keeps its own text: it is a
    member-like value that compares to strings."""

    def __str__(self) -> str:
        return str.__str__(self)

    # As the value's own, which is quicker than the enumeration's.
    __hash__ = str.__hash__

    def __format__(self, format_spec: str) -> str:
        return str.__format__(self, format_spec)

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown


class RunStatus(_OpenEnum):
    """The public status of a run. A status this version does not know keeps its own text:
    it is a member-like value that compares to strings, and belongs to no group."""

    DELAYED = "DELAYED"
    PENDING_VERSION = "PENDING_VERSION"
    QUEUED = "QUEUED"
    DEQUEUED = "DEQUEUED"
    EXECUTING = "EXECUTING"
    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CRASHED = "CRASHED"
    SYSTEM_FAILURE = "SYSTEM_FAILURE"
    EXPIRED = "EXPIRED"
    TIMED_OUT = "TIMED_OUT"
    CANCELED = "CANCELED"


class WaitTokenStatus(_OpenEnum):
    """The status of a wait token."""

    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    TIMED_OUT = "TIMED_OUT"


QUEUED_STATUSES = frozenset({RunStatus.DELAYED, RunStatus.PENDING_VERSION, RunStatus.QUEUED})
EXECUTING_STATUSES = frozenset({RunStatus.DEQUEUED, RunStatus.EXECUTING})
FAILED_STATUSES = frozenset(
    {
        RunStatus.FAILED,
        RunStatus.CRASHED,
        RunStatus.SYSTEM_FAILURE,
        RunStatus.EXPIRED,
        RunStatus.TIMED_OUT,
    }
)
TERMINAL_STATUSES = FAILED_STATUSES | {RunStatus.COMPLETED, RunStatus.CANCELED}


class State(str, enum.Enum):
    """Where a subscription stands. LIVE also while the plan's limit of long polls makes it hear of
    changes seconds late."""

    IDLE = "IDLE"
    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    RETRYING = "RETRYING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"

    @property
    def is_ended(self) -> bool:
        """True if the subscription delivers nothing more."""
        return self in (State.COMPLETED, State.CANCELLED, State.FAILED)

    def __str__(self) -> str:
        return self.value


@attrs.frozen
class RunError:
    """Why a run failed."""

    message: str
    name: str | None = None
    stack_trace: str | None = None


class LazyValue:
    """A value that is decoded, or fetched, when it is first read."""

    __slots__ = ()

    def read(self) -> Any:
        raise NotImplementedError


def _status(status: Any) -> RunStatus:
    return status if status.__class__ is RunStatus else RunStatus(status)


@attrs.frozen(kw_only=True, slots=False)
class Run(Generic[PayloadT, OutputT]):
    """One state of one run, as it was at `updated_at`.

    All times are aware and UTC. A column the server did not send (`skip_columns`, or a token's own
    claim) is None, or an empty list. `payload`, `output` and `metadata` are decoded when first
    read and then kept; they may raise `PayloadError`, and a large one is fetched over the network
    by the thread that reads it, within 60 seconds. The next read tries again what failed.
    """

    id: str
    task_identifier: str = ""
    status: RunStatus = attrs.field(default=RunStatus.QUEUED, converter=_status)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    started_at: datetime | None = None
    queued_at: datetime | None = None
    delayed_until: datetime | None = None
    expired_at: datetime | None = None
    finished_at: datetime | None = None
    duration_ms: int | None = None
    cost_in_cents: float | None = None
    base_cost_in_cents: float | None = None
    number: int | None = None
    tags: list[str] = attrs.field(factory=list, hash=False)
    ttl: str | None = None
    is_test: bool | None = None
    idempotency_key: str | None = None
    error: RunError | None = None
    realtime_streams: list[str] = attrs.field(factory=list, hash=False)
    _payload: Any = attrs.field(default=None, repr=False, hash=False, alias="payload")
    _output: Any = attrs.field(default=None, repr=False, hash=False, alias="output")
    _metadata: Any = attrs.field(default=None, repr=False, hash=False, alias="metadata")

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make a field of a `lazy_run` when it is first read."""
            if name in _FIELDS:
                return self._made(name)
            # The error that Python would raise without this method.
            return object.__getattribute__(self, name)

        def __dir__(self) -> list[str]:
            return sorted({*super().__dir__(), *_FIELDS} - _NO_FIELDS)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, for pickles and copies."""
        state = {**{name: getattr(self, name) for name in _FIELDS}, **vars(self)}
        return {name: state[name] for name in state if name not in _NO_FIELDS}

    @property
    def payload(self) -> PayloadT:
        """What the task was triggered with, or None. May raise `PayloadError`."""
        return self._read("_payload")  # type: ignore[no-any-return]

    @property
    def output(self) -> OutputT:
        """What the task returned, or None as long as it has not. May raise `PayloadError`."""
        return self._read("_output")  # type: ignore[no-any-return]

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What the task says of itself while it runs, or None. May raise `PayloadError`."""
        return self._read("_metadata")  # type: ignore[no-any-return]

    def _made(self, field: str) -> Any:
        fields = self.__dict__
        if "_make" not in fields:
            # An `empty_run`: the error that any object would raise.
            return object.__getattribute__(self, field)
        # `setdefault`, so that all threads get one object.
        return fields.setdefault(field, fields["_make"](field, fields["_columns"]))

    def _read(self, field: str) -> Any:
        # Not by `getattr`, which raises and catches an error before it calls `__getattr__`.
        fields = self.__dict__
        value = fields[field] if field in fields else self._made(field)
        return value.read() if isinstance(value, LazyValue) else value

    @property
    def is_queued(self) -> bool:
        """DELAYED, PENDING_VERSION or QUEUED."""
        return self.status in QUEUED_STATUSES

    @property
    def is_executing(self) -> bool:
        """DEQUEUED or EXECUTING."""
        return self.status in EXECUTING_STATUSES

    @property
    def is_waiting(self) -> bool:
        """WAITING, for a token, a delay or a child run."""
        return self.status == RunStatus.WAITING

    @property
    def is_finished(self) -> bool:
        """Nothing more will happen: `finished_at` is set, or the status is a final one.

        A run cancelled while it was queued never gets a `finished_at` (docs/protocol.md, section
        2).
        """
        return self.finished_at is not None or self.status in TERMINAL_STATUSES

    @property
    def is_success(self) -> bool:
        """COMPLETED."""
        return self.status == RunStatus.COMPLETED

    @property
    def is_failed(self) -> bool:
        """FAILED, CRASHED, SYSTEM_FAILURE, EXPIRED or TIMED_OUT."""
        return self.status in FAILED_STATUSES

    @property
    def is_cancelled(self) -> bool:
        """CANCELED."""
        return self.status == RunStatus.CANCELED


# In the order in which they are defined.
_FIELDS = dict.fromkeys(field.name for field in attrs.fields(Run))
# What the `__dict__` of a `lazy_run` holds besides fields.
_NO_FIELDS = frozenset({"_make", "_columns"})

AnyRun = Run[Any, Any]


@attrs.frozen(kw_only=True, slots=False)
class RunDetails(Run[PayloadT, OutputT]):
    """A run as the REST API tells it, which is more than a subscription tells.

    The types of `payload` and `output` are lost on this way: a Date is text, a Set a list.
    `client.subscribe_to_run` keeps them. `output` is None until the run is COMPLETED.
    """

    version: str | None = None
    region: str | None = None
    batch_id: str | None = None
    attempt_count: int | None = None
    depth: int | None = None
    trigger_function: str | None = None
    schedule: dict[str, Any] | None = attrs.field(default=None, hash=False)
    parent: AnyRun | None = None
    root: AnyRun | None = None
    children: list[AnyRun] = attrs.field(factory=list, hash=False)


@attrs.frozen(kw_only=True)
class WaitToken:
    """What a task waits for: whoever has its id and the right, or its URL, completes it.

    Attributes:
        url: completes it when posted to, without any other right: treat it as a password.
        is_cached: whether an idempotency key found a token that was made before, which may be
            completed, and keeps its first timeout.
        public_access_token: good for completing it, for a day; None unless it was just made.
        timeout_at: when it times out; None for never.
        idempotency_key: None where the server made one up.
    """

    id: str
    url: str | None = attrs.field(default=None, repr=False)
    status: WaitTokenStatus = WaitTokenStatus.WAITING
    is_cached: bool = False
    public_access_token: str | None = attrs.field(default=None, repr=False)
    created_at: datetime | None = None
    timeout_at: datetime | None = None
    completed_at: datetime | None = None
    tags: list[str] = attrs.field(factory=list, hash=False)
    idempotency_key: str | None = None
    _output: Any = attrs.field(default=None, repr=False, hash=False, alias="output")

    @property
    def output(self) -> Any:
        """What it was completed with, or None; after a timeout, the error. Lists leave it out. May
        raise `PayloadError`."""
        value = self._output
        return value.read() if isinstance(value, LazyValue) else value

    @property
    def timed_out(self) -> bool:
        """TIMED_OUT."""
        return self.status == WaitTokenStatus.TIMED_OUT


class Parts(list[PartT]):
    """Parts of a stream that follow each other, as `on_stream` is given them: a list.

    Attributes:
        first_index: how many parts came before them. If that is more than were given before,
            the others were dropped by then: see `max_part_bytes`.
    """

    __slots__ = ("first_index",)

    def __init__(self, parts: Iterable[PartT] = (), first_index: int = 0) -> None:
        super().__init__(parts)
        self.first_index = first_index

    def __reduce__(self) -> Any:
        # Whoever unpickles it need not have this library.
        return list, (list(self),)


def empty_run() -> tuple[AnyRun, dict[str, Any]]:
    """Return a run without fields, and its `__dict__` to set them in, all and in their order.

    A snapshot has many rows, and this takes a third of the time of `__init__`.
    """
    run: AnyRun = Run.__new__(Run)
    return run, run.__dict__


def lazy_run(
    run_id: str,
    status: RunStatus,
    finished_at: datetime | None,
    columns: Any,
    make: Callable[[str, Any], Any],
) -> AnyRun:
    """Return a run that makes its other fields when they are first read.

    Args:
        columns: passed to `make`.
        make: called with the name of a field (`_payload` for a payload) and `columns`; returns
            its value.
    """
    run, fields = empty_run()
    fields["id"] = run_id
    fields["status"] = status
    fields["finished_at"] = finished_at
    fields["_columns"] = columns
    fields["_make"] = make
    return run


def unread(run: AnyRun, name: str) -> Any:
    """Return a payload, output or metadata as the run holds it: mostly a `LazyValue`."""
    return getattr(run, f"_{name}")


@attrs.frozen(init=False)
class Task(Generic[TaskPayloadT, OutputT]):
    """The types of a task's payload and output, as `typeof myTask` is for the hooks.

    Args:
        identifier: the task's id, as `run.task_identifier` shows it.
        payload: a dataclass, an attrs class, a NamedTuple, a pydantic model, or anything else that
            cattrs structures. Any by default.
        output: the same for the output.

    Passed as `task=` or in `tasks=[…]`, values that don't fit raise `PayloadError` when read.
    pydantic's models are read by their own rules, and sent by their aliases.

    Raises:
        ValueError: the identifier is none, or no value can be read as a type, or as part of it.
    """

    identifier: str
    payload: Any
    output: Any

    @overload
    def __init__(
        self,
        identifier: str,
        *,
        payload: type[TaskPayloadT] | None = None,
        output: type[OutputT] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Task[Any, Any], identifier: str, *, payload: Any = None, output: Any = None
    ) -> None: ...
    def __init__(self, identifier: str, *, payload: Any = None, output: Any = None) -> None:
        if not isinstance(identifier, str) or not identifier:
            raise ValueError(f"identifier must be a task's id, not {identifier!r}")
        for name, type_ in (("payload", payload), ("output", output)):
            if type_ is not None:
                from ._types.check import check_structurable

                check_structurable(type_, name)
        self.__attrs_init__(identifier, payload, output)

    def matches(self, run: AnyRun) -> TypeGuard[Run[TaskPayloadT, OutputT]]:
        """Whether this run is of this task: narrows the type of a run among many."""
        return run.task_identifier == self.identifier
