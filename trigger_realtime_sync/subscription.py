"""The handles: what `subscribe_to_…` returns."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Generic

from ._channel.batch_channel import BatchChannel
from ._channel.run_view import creation
from ._checks import check_count, check_timeout
from ._receivers.handle import Subscription
from ._receivers.part_updates import PartUpdates
from ._receivers.updates import Updates
from .errors import RunFailed
from .models import AnyRun, OutputT, PayloadT, Run, State

__all__ = ["RunSubscription", "RunsSubscription", "StreamSubscription", "Subscription"]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    PartT = TypeVar("PartT", covariant=True, default=Any)
else:
    from typing import TypeVar

    PartT = TypeVar("PartT", covariant=True)


class _OfRuns(Subscription, Generic[PayloadT, OutputT]):
    def updates(self, timeout: float | None = None) -> Updates[Run[PayloadT, OutputT]]:
        """Iterates over the runs: the current state first, then each change.

        Args:
            timeout: seconds without a change after which `WaitTimeout` is raised.

        Ends when the subscription does, raising its terminal error. Closing it cancels nothing.
        """
        updates: Updates[Run[PayloadT, OutputT]] = Updates(self._what(), check_timeout(timeout))
        channel = self._channel
        with channel.locked() if channel is not None else contextlib.nullcontext():
            for key, run in self._view.by_key().items():
                updates._put(key, run)
            self._add_iterator(updates)
        if self._ended is not None or self._satisfied:
            updates._end(self._error)
        return updates


class RunSubscription(_OfRuns[PayloadT, OutputT]):
    """The subscription to one run."""

    @property
    def run(self) -> Run[PayloadT, OutputT] | None:
        """The latest state, or None as long as nothing is known."""
        return self._view.latest()

    @property
    def streams(self) -> dict[str, list[Any]]:
        """The parts of each stream so far, where streams are read."""
        parts = self._view.parts
        return {} if parts is None else {key: parts.values((_, key)) for _, key in parts.streams()}

    def wait_for_completion(self, timeout: float | None = None) -> Run[PayloadT, OutputT]:
        """Blocks until the run has finished, well or not, and every callback was told.

        Args:
            timeout: seconds; None for no bound.

        With streams, until the last part was delivered.

        Raises:
            WaitTimeout: it did not finish in time. The subscription goes on.
            SubscriptionCancelled: it was cancelled.
            TriggerRealtimeError: what ended the subscription.
            RuntimeError: called from inside one of its own callbacks.
        """
        run: Run[PayloadT, OutputT] = _wait_for_run(self, timeout)
        return run

    def result(self, timeout: float | None = None) -> OutputT:
        """Blocks like `wait_for_completion`, and returns the run's output.

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
    """The subscription to one stream of a run."""

    @property
    def run(self) -> AnyRun | None:
        """The latest state of the run, or None as long as nothing is known."""
        return self._view.latest()

    @property
    def parts(self) -> list[PartT]:
        """The parts so far; with `max_parts`, the last of them."""
        store = self._view.parts
        return [] if store is None else store.values(self._stream)

    @property
    def last_event_id(self) -> str | None:
        """The place after the last part that was handed out: to `on_stream`, or by `updates()`.

        An opaque text. Passed back as `last_event_id=`, in another process too, it goes on
        exactly there. Stored inside `on_stream`, it goes with the parts of that call.
        """
        place = self._place
        store = self._view.parts
        if place is None and self._taker is None and store is not None:
            place = store.position(self._stream)
        if place is not None:
            return str(place)
        streams = self._slot.target.streams if self._slot is not None else None
        return None if streams is None else streams.last_event_id

    def updates(self, timeout: float | None = None) -> PartUpdates[PartT]:
        """Iterates over the parts: those so far first, then each new one.

        Args:
            timeout: seconds without a part after which `WaitTimeout` is raised.

        Ends when the stream does, raising its terminal error. Closing it cancels nothing. A slow
        reader of it holds the server back.
        """
        return PartUpdates(self, self._stream, check_timeout(timeout))

    def wait_for_completion(self, timeout: float | None = None) -> AnyRun | None:
        """Blocks until the run has finished and the last part was delivered. Returns the run.

        None where the stream may be read but the run may not: the stream ends then when it is
        silent for `timeout_in_seconds`. Otherwise as of `RunSubscription`.
        """
        run: AnyRun | None = _wait_for_run(self, timeout)
        return run

    @property
    def _stream(self) -> tuple[str, str]:
        assert self._slot is not None
        target = self._slot.target
        assert target.streams is not None
        return target.subject, target.streams.key or ""


def _wait_for_run(subscription: Subscription, timeout: float | None) -> Any:
    def is_done() -> bool:
        if subscription._ended is State.COMPLETED:
            return True
        return bool(subscription._finished) and not subscription.stops_on_completion

    subscription._wait(is_done, check_timeout(timeout), subscription._what())
    finished = next(iter(subscription._finished.values()), None)
    latest = subscription._view.latest()
    # Its cost, say, may have been told later.
    return (
        latest if finished is not None and latest is not None and latest.is_finished else finished
    )


class RunsSubscription(_OfRuns[PayloadT, OutputT]):
    """The subscription to the runs of a tag or a batch."""

    @property
    def runs(self) -> list[Run[PayloadT, OutputT]]:
        """The latest states, in the order in which the runs were created."""
        return self._view.runs()

    @property
    def streams(self) -> dict[str, dict[str, list[Any]]]:
        """The parts of each stream of each run so far, where streams are read."""
        streams: dict[str, dict[str, list[Any]]] = {}
        parts = self._view.parts
        for run_id, key in parts.streams() if parts is not None else ():
            assert parts is not None
            streams.setdefault(run_id, {})[key] = parts.values((run_id, key))
        return streams

    def _call_on_stream(self, run_id: str, key: str, values: list[Any]) -> None:
        self._call("on_stream", self._callbacks.on_stream, run_id, key, values)

    def wait_for_completion(
        self, timeout: float | None = None, *, expected: int | None = None
    ) -> list[Run[PayloadT, OutputT]]:
        """Blocks until the runs have finished, well or not, and every callback was told.

        Args:
            timeout: seconds; None for no bound.
            expected: how many runs to wait for. Required for tags, which have no end; which runs a
                batch has is asked of the server without it.

        Returns:
            The finished runs, in the order in which they were created.

        Raises:
            ValueError: `expected` is missing for a tag, or more than a batch has.
            WaitTimeout: they did not finish in time. The subscription goes on.
            SubscriptionCancelled: it was cancelled.
            TriggerRealtimeError: what ended the subscription, or kept it from learning which runs
                the batch has.
            RuntimeError: called from inside one of its own callbacks.
        """
        seconds = check_timeout(timeout)
        if expected is not None:
            wanted = check_count(expected, "expected")
            self._wait(lambda: self._are_finished(wanted), seconds, self._what())
            return self._finished_runs(self._finished)
        if self._slot is not None and not self._slot.target.is_batch:
            raise ValueError(
                "expected is required: a tag has no end, say how many runs to wait for"
            )
        return self._wait_for_batch(seconds)

    def _are_finished(self, expected: int) -> bool:
        finished = len(self._finished)
        if finished < expected and self._ended is State.COMPLETED:
            raise ValueError(
                f"expected={expected}: {self._what()} is complete, and has only {finished} runs"
            )
        return finished >= expected

    def _wait_for_batch(self, timeout: float | None) -> list[Run[PayloadT, OutputT]]:
        channel = self._channel
        if isinstance(channel, BatchChannel):
            channel.want_members()
        self._wait(self._batch_is_done, timeout, self._what())
        channel = self._last_channel
        members = channel.members if isinstance(channel, BatchChannel) else None
        return self._finished_runs(self._finished if members is None else members)

    def _batch_is_done(self) -> bool:
        channel = self._channel
        if self._ended is State.COMPLETED:
            return True
        error = channel.members_error if isinstance(channel, BatchChannel) else None
        if error is not None:
            raise error
        return False

    def _finished_runs(self, ids: Iterable[str]) -> list[Run[PayloadT, OutputT]]:
        latest = {run.id: run for run in self._view.runs()}
        wanted = [latest.get(run_id) or self._finished[run_id] for run_id in ids]
        return sorted(wanted, key=creation)
