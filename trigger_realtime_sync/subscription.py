"""The subscriptions: what `subscribe_to_…` returns."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, cast

from ._channel.batch_channel import BatchChannel
from ._channel.run_view import creation
from ._checks import check_count, check_id, check_timeout
from ._forks import notice
from ._receivers.interrupted import is_inside
from ._receivers.part_updates import PartUpdates
from ._receivers.receiver import Phase, settle
from ._receivers.registry import Registry, Seat
from ._receivers.updates import ChangeQueue, Updates
from ._wire.sent_number import began_of
from .errors import RunFailed, TriggerRealtimeError
from .models import AnyRun, OutputT, PayloadT, Run, State

__all__ = ["RunSubscription", "RunsSubscription", "StreamSubscription", "Subscription"]

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    PartT = TypeVar("PartT", covariant=True, default=Any)
else:
    from typing import TypeVar

    PartT = TypeVar("PartT", covariant=True)


class Subscription:
    """One subscriber's hold on what it follows. Safe from any thread.

    As a context manager, it cancels at the end of the block.
    """

    def __init__(self, seat: Seat) -> None:
        self._held = seat
        seat.owner = self

    @property
    def _seat(self) -> Seat:
        notice()
        return self._held

    @property
    def id(self) -> str:
        """The id under which the client knows it."""
        return self._seat.id

    @property
    def state(self) -> State:
        """Where it stands: `RETRYING` while the network fails, `IDLE` while it is not enabled.

        A poll that was cut while it was held, as some proxies cut each, is no failure yet: it is
        `LIVE` until the next request fails too.
        """
        # The phase last, and once: a receiver leaves its channel before it is COMPLETED.
        channel, phase = self._seat.channel, self._seat.receiver.phase
        if phase.ended_as is not None:
            return phase.ended_as
        if channel is not None:
            return channel.state
        return State.LIVE if phase is Phase.COMPLETING else State.IDLE

    @property
    def error(self) -> TriggerRealtimeError | None:
        """The error that ended it, or None."""
        return self._seat.receiver.error

    @property
    def last_contact(self) -> datetime | None:
        """When the server last answered anything (aware, UTC): the health check of a worker."""
        return self._seat.last_contact

    def cancel(self) -> None:
        """End it now, whatever it is blocked on. Nothing is delivered after this returned.

        A callback that is running on another thread is waited for, for 20 ms at most. The cache
        keeps what was known. Idempotent; from any thread, from inside a callback, from a signal
        handler and from `__del__` too. In `__del__`, and where it interrupted a call of this
        library, it returns at once, and connections and threads are ended on another thread.
        """
        self._seat.registry.end([self._seat], is_inside=is_inside())

    def enable(self) -> None:
        """Go on after `disable()`, or start if it was made with `enabled=False`.

        Raises:
            SubscriptionCancelled: it was cancelled, or its client closed.
            TriggerRealtimeError: the error that ended it. Subscribe again instead.
        """
        self._seat.registry.enable(self._seat)

    def disable(self) -> None:
        """Stop reading until `enable()`. What is known stays; what is queued is dropped."""
        self._seat.registry.disable(self._seat)
        settle([self._seat.receiver])

    def change_id(self, new_id: str) -> None:
        """Unsubscribe, drop the cached data, and subscribe again under the new id.

        Others who share the old id are not affected. One that was told everything, in its last
        `on_update` say, is not subscribed again: what waits is delivered, and it completes.

        Raises:
            ValueError: the new id is not a non-empty string.
            SubscriptionCancelled: it has ended.
        """
        check_id(new_id, "new_id")
        self._seat.registry.change_id(self._seat, new_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.cancel()

    def __reduce__(self) -> Any:
        raise TypeError(
            f"a {type(self).__name__} can't be pickled: pass the run's id on, and subscribe there"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} {self.state.value}>"


class _OfRuns(Subscription, Generic[PayloadT, OutputT]):
    def updates(self, timeout: float | None = None) -> Updates[Run[PayloadT, OutputT]]:
        """Iterate over the runs: the current state first, then each change.

        Args:
            timeout: seconds without a change after which `WaitTimeout` is raised.

        Ends when the subscription does, raising its terminal error. Closing it cancels nothing.
        """
        queue: ChangeQueue[Run[PayloadT, OutputT]] = ChangeQueue()
        updates = Updates(queue, self._seat.receiver.label, check_timeout(timeout))
        self._seat.add_queue(queue)
        return updates


class RunSubscription(_OfRuns[PayloadT, OutputT]):
    """The subscription to one run."""

    @property
    def run(self) -> Run[PayloadT, OutputT] | None:
        """The latest state, or None as long as nothing is known."""
        return self._seat.view.latest()

    @property
    def streams(self) -> dict[str, list[Any]]:
        """The parts of each stream so far, where streams are read; the last of them, with
        `max_parts` and `max_part_bytes`."""
        parts = self._seat.view.parts
        return {} if parts is None else {key: parts.values((_, key)) for _, key in parts.streams()}

    @property
    def dropped_parts(self) -> int:
        """How many parts `.streams` had and keeps no longer."""
        return _dropped_parts(self._seat)

    def wait_for_completion(self, timeout: float | None = None) -> Run[PayloadT, OutputT]:
        """Block until the run has finished, well or not, and every callback was called.

        Args:
            timeout: seconds; None for no bound.

        With streams, until the last part was delivered.

        Raises:
            WaitTimeout: it did not finish in time. The subscription goes on.
            SubscriptionCancelled: it was cancelled.
            TriggerRealtimeError: what ended the subscription.
            RuntimeError: called from inside one of its own callbacks.
        """
        run: Run[PayloadT, OutputT] = _wait_for_run(self._seat, timeout)
        return run

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


class StreamSubscription(Subscription, Generic[PartT]):
    """The subscription to one stream of a run, or to one channel of a session, which has no run."""

    @property
    def run(self) -> AnyRun | None:
        """The latest state of the run, or None as long as nothing is known."""
        return self._seat.view.latest()

    @property
    def parts(self) -> list[PartT]:
        """The parts so far; the last of them, with `max_parts` and `max_part_bytes`."""
        store = self._seat.view.parts
        return [] if store is None else store.values(self._stream)

    @property
    def dropped_parts(self) -> int:
        """How many parts `.parts` had and keeps no longer."""
        return _dropped_parts(self._seat)

    @property
    def last_event_id(self) -> str | None:
        """The position after the last part that `on_stream` or `updates()` delivered.

        An opaque text. Passed back as `last_event_id=`, in another process too, it resumes exactly
        there. Stored inside `on_stream`, it goes with the parts of that call. What was read before
        it is delivered again if the server loses the stream; see `StreamRewound`.
        """
        delivery, store = self._seat.receiver.delivery, self._seat.view.parts
        position = delivery.position or delivery.control_position
        if position is None and not delivery.takes_parts and store is not None:
            position = store.position(self._stream)
        if position is not None:
            return str(position)
        streams = self._seat.target.streams
        return None if streams is None else streams.last_event_id

    def updates(
        self,
        timeout: float | None = None,
        *,
        until_turn_complete: bool = False,
        turn_of: int | None = None,
    ) -> PartUpdates[PartT]:
        """Iterate over the parts: those that are kept first, then each new one.

        Args:
            timeout: seconds without a part after which `WaitTimeout` is raised.
            until_turn_complete: of a session: end with the next turn. That is the first one which
                is over after this call or, if another iterator of this subscription has ended with
                a turn, the one after that.
            turn_of: of a session: end with the turn that has taken this message in, as
                `client.sessions.send` numbered it. Where that was over before the call, the
                iterator ends at its place among the parts so far. A turn that does not say what it
                took in, the first of a session or one of an older agent's, counts as well, unless
                it was told before the message was sent: subscribe before, and go on from
                `last_event_id`.

        Ends when the stream does, raising its terminal error. Closing it cancels nothing. A slow
        reader holds the server back.

        Raises:
            ValueError: it can't end in this way.
        """
        seconds = check_timeout(timeout)
        if not until_turn_complete and turn_of is None:
            return PartUpdates(self._seat, self._stream, seconds)
        if not self._seat.target.is_session:
            raise ValueError("until_turn_complete and turn_of are about sessions: a run has none")
        return self._turn_updates(seconds, until_turn_complete, turn_of)

    def _turn_updates(
        self, timeout: float | None, until_turn_complete: bool, turn_of: int | None
    ) -> PartUpdates[PartT]:
        from ._receivers.turn_updates import TurnUpdates, next_turn, turn_that_took

        if turn_of is None:
            find = next_turn(self._seat, self._stream)
        elif until_turn_complete:
            raise ValueError("turn_of names the turn to end with: until_turn_complete can't too")
        else:
            number = check_count(turn_of, "turn_of", least=0)
            find = turn_that_took(number, began_of(turn_of))
        return TurnUpdates(self._seat, self._stream, timeout, find)

    def wait_for_completion(self, timeout: float | None = None) -> AnyRun | None:
        """Block until the run has finished and the last part was delivered. Return the run.

        Of a session: until that is closed, and the last part was delivered. Return None. It is None
        too where the stream may be read but the run may not: the stream ends then once it is
        silent for `timeout_in_seconds`. Otherwise see `RunSubscription`.
        """
        run: AnyRun | None = _wait_for_run(self._seat, timeout)
        return run

    @property
    def _stream(self) -> tuple[str, str]:
        target = self._seat.target
        assert target.streams is not None
        return target.subject, target.streams.key or ""


def _dropped_parts(seat: Seat) -> int:
    parts = seat.view.parts
    return 0 if parts is None else parts.dropped


def _wait_for_run(seat: Seat, timeout: float | None) -> Any:
    receiver = seat.receiver

    def is_complete() -> bool:
        if receiver.ended_as is State.COMPLETED:
            return True
        return bool(receiver.delivery.completed) and not receiver.stops_on_completion

    receiver.wait(is_complete, check_timeout(timeout))
    completed = next(iter(receiver.delivery.completed.values()), None)
    latest = seat.view.latest()
    # A change after completion, of the cost say, may have come meanwhile.
    return (
        latest if completed is not None and latest is not None and latest.is_finished else completed
    )


class RunsSubscription(_OfRuns[PayloadT, OutputT]):
    """The subscription to the runs of a tag or a batch."""

    @property
    def runs(self) -> list[Run[PayloadT, OutputT]]:
        """The latest states, in the order in which the runs were created.

        A finished run leaves when it is deleted, loses a tag, or is older than what the server
        shows of a tag: its newest 1,000 runs, of a day or as `created_at` says.
        """
        return self._seat.view.runs()

    @property
    def streams(self) -> dict[str, dict[str, list[Any]]]:
        """The parts of each stream of each run so far, where streams are read; the last of them,
        with `max_parts` and `max_part_bytes`."""
        streams: dict[str, dict[str, list[Any]]] = {}
        parts = self._seat.view.parts
        for run_id, key in parts.streams() if parts is not None else ():
            assert parts is not None
            streams.setdefault(run_id, {})[key] = parts.values((run_id, key))
        return streams

    @property
    def dropped_parts(self) -> int:
        """How many parts `.streams` had and keeps no longer, of all runs together."""
        return _dropped_parts(self._seat)

    def wait_for_completion(
        self, timeout: float | None = None, *, expected: int | None = None
    ) -> list[Run[PayloadT, OutputT]]:
        """Block until the runs have finished, well or not, and every callback was called.

        Args:
            timeout: seconds; None for no bound.
            expected: how many runs to wait for. Required for tags, which have no end; without it,
                the server is asked which runs a batch has.

        Returns:
            The finished runs, in the order in which they were created, for a tag also those that
            are no longer in `.runs`. The newest 4 MiB of these are whole; the others have their
            id, task, status and times, and their `payload`, `output` and `metadata` raise
            `PayloadError` ("no longer kept"). Take values in `on_complete` where there are many.

        Raises:
            ValueError: `expected` is missing for a tag, or more than a batch has.
            WaitTimeout: they did not finish in time. The subscription goes on.
            SubscriptionCancelled: it was cancelled.
            TriggerRealtimeError: what ended the subscription, or kept it from learning which runs
                the batch has.
            RuntimeError: called from inside one of its own callbacks.
        """
        seconds = check_timeout(timeout)
        receiver = self._seat.receiver
        if expected is not None:
            wanted = check_count(expected, "expected")
            receiver.wait(lambda: self._have_completed(wanted), seconds)
            return self._completed_runs(list(receiver.delivery.completed))
        if not self._seat.target.is_batch:
            raise ValueError(
                "expected is required: a tag has no end, say how many runs to wait for"
            )
        return self._wait_for_batch(seconds)

    def _have_completed(self, expected: int) -> bool:
        receiver = self._seat.receiver
        completed = len(receiver.delivery.completed)
        if completed < expected and receiver.ended_as is State.COMPLETED:
            raise ValueError(
                f"expected={expected}: {receiver.label} is complete, and has only {completed} runs"
            )
        return completed >= expected

    def _wait_for_batch(self, timeout: float | None) -> list[Run[PayloadT, OutputT]]:
        receiver, channel = self._seat.receiver, self._seat.channel
        if isinstance(channel, BatchChannel):
            channel.want_members()
        receiver.wait(self._batch_is_complete, timeout)
        channel = self._seat.last_channel
        members = channel.members if isinstance(channel, BatchChannel) else None
        completed = list(receiver.delivery.completed)
        return self._completed_runs(completed if members is None else members)

    def _batch_is_complete(self) -> bool:
        channel = self._seat.channel
        if self._seat.receiver.ended_as is State.COMPLETED:
            return True
        error = channel.members_error if isinstance(channel, BatchChannel) else None
        if error is not None:
            raise error
        return False

    def _completed_runs(self, ids: Iterable[str]) -> list[Run[PayloadT, OutputT]]:
        latest = {run.id: run for run in self._seat.view.runs()}
        wanted = [
            latest.get(run_id) or self._seat.receiver.delivery.completed[run_id] for run_id in ids
        ]
        return sorted(wanted, key=creation)


class SubscriptionMap(Mapping[str, Subscription]):
    """A live, read-only view of the running subscriptions: id → the first one of that id."""

    def __init__(self, registry: Callable[[], Registry]) -> None:
        self._registry = registry

    def __getitem__(self, id_: str) -> Subscription:
        return cast(Subscription, self._registry().owner(id_))

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry().owners())

    def __len__(self) -> int:
        return len(self._registry().slots)

    # Snapshots: Mapping's own views look each id up lazily and could raise KeyError.

    def keys(self) -> KeysView[str]:
        return self._snapshot().keys()

    def values(self) -> ValuesView[Subscription]:
        return self._snapshot().values()

    def items(self) -> ItemsView[str, Subscription]:
        return self._snapshot().items()

    def __repr__(self) -> str:
        return repr(self._snapshot())

    def _snapshot(self) -> dict[str, Subscription]:
        return cast("dict[str, Subscription]", self._registry().owners())
