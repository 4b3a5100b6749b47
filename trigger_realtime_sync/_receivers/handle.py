"""What all handles have in common: callbacks, state, waiting.

Which thread does what: the reading thread of the channel calls `tell…` and `end`; a thread of the
callback pool calls `_deliver`, and so the user's callbacks; everything public is for any thread.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from .._channel.channel import Channel
from .._channel.part_store import PartStore, Taker
from .._channel.run_view import RunView
from .._checks import check_id
from .._dispatch.mailbox import Mailbox
from ..errors import CallbackError, SubscriptionCancelled, TriggerRealtimeError, WaitTimeout
from ..models import AnyRun, State
from .updates import Updates

if TYPE_CHECKING:
    from .registry import Registry, Slot

logger = logging.getLogger("trigger_realtime_sync")

Self = TypeVar("Self", bound="Subscription")

ENDED = frozenset({State.COMPLETED, State.CANCELLED, State.FAILED})
# How long `cancel()` waits for a callback that is running: long enough to know that it began.
CALLBACK_GRACE = 0.02
# How long a waiter lets `on_error` go first.
ERROR_GRACE = 1.0

# What waits to be told of a run waits under the key of its row, all else under a tuple that begins
# with what it is.
DONE, PARTS, FAILURE, ERROR = "done", "parts", "failure", "error"


@attrs.frozen(kw_only=True)
class Callbacks:
    """What the subscriber wants to be told."""

    on_update: Callable[[Any], object] | None = None
    on_error: Callable[[TriggerRealtimeError], object] | None = None
    on_complete: Callable[[Any], object] | None = None
    on_stream: Callable[..., object] | None = None


class Subscription:
    """One subscriber's hold on a subscription. Safe from any thread.

    As a context manager, it cancels at the end of the block.
    """

    def __init__(
        self, registry: Registry, callbacks: Callbacks, throttle: float, stop_on_completion: bool
    ) -> None:
        self._registry = registry
        self._callbacks = callbacks
        self._stop_on_completion = stop_on_completion
        self._mailbox = Mailbox(
            registry.pool,
            self._deliver,
            throttle,
            name=lambda: f"trigger-realtime callbacks of {self._what()}",
        )
        # Protects what is below; notified when something that is waited for may have happened.
        self._changed = threading.Condition(threading.Lock())
        self._ended: State | None = None
        self._error: TriggerRealtimeError | None = None
        self._finished: dict[str, AnyRun] = {}
        self._told: dict[str, AnyRun] = {}
        self._error_told = False
        self._satisfied = False
        # A tuple, replaced whole: it is looked at for each change, and mostly empty.
        self._iterators: tuple[weakref.ref[Updates[Any]], ...] = ()
        self._taker = Taker() if callbacks.on_stream is not None else None
        self._place: Any = None
        # Written under the registry's lock.
        self._slot: Slot | None = None
        self._channel: Channel | None = None
        self._last_channel: Channel | None = None
        self._contact_before: datetime | None = None
        self._view = RunView()

    @property
    def id(self) -> str:
        """The id under which the registry knows it."""
        return self._slot.id if self._slot is not None else ""

    @property
    def state(self) -> State:
        """Where it stands: `RETRYING` while the network fails, `IDLE` while it is not enabled."""
        ended, channel = self._ended, self._channel
        if ended is not None:
            return ended
        if channel is None:
            return State.LIVE if self._satisfied else State.IDLE
        return channel.state

    @property
    def error(self) -> TriggerRealtimeError | None:
        """The error that ended it, or None."""
        return self._error

    @property
    def last_contact(self) -> datetime | None:
        """When the server last answered anything (aware, UTC): the health check of a worker."""
        channel = self._last_channel
        return (channel and channel.last_contact) or self._contact_before

    def cancel(self) -> None:
        """Ends it now, whatever it is blocked on. Nothing is delivered after this returned.

        A callback that is running on another thread is waited for, but for 20 ms at the most. The
        cache keeps what was known. Idempotent; from any thread, from inside a callback too.
        """
        self._cancel()
        self._mailbox.wait_for_turn_to_end(time.monotonic() + CALLBACK_GRACE)

    def enable(self) -> None:
        """Goes on after `disable()`, or starts, if it was made with `enabled=False`.

        Raises:
            SubscriptionCancelled: it was cancelled, or its client closed.
            TriggerRealtimeError: the error that ended it. Subscribe again instead.
        """
        with self._registry.lock:
            if self._ended is State.CANCELLED:
                raise SubscriptionCancelled(f"subscription {self.id} was cancelled")
            if self._ended is State.FAILED and self._error is not None:
                raise self._error
            if self._ended is None and self._channel is None and not self._satisfied:
                self._registry.connect(self)

    def disable(self) -> None:
        """Stops reading until `enable()`. What is known stays; what is queued is dropped."""
        with self._registry.lock:
            if self._ended is not None or self._channel is None or self._satisfied:
                return
            self._registry.disconnect(self)
            self._mailbox.drop()
        self._mailbox.wait_for_turn_to_end(time.monotonic() + CALLBACK_GRACE)

    def change_id(self, new_id: str) -> None:
        """Unsubscribes this handle, drops its cached data, and subscribes it under the new id.

        Raises:
            ValueError: the new id is not a non-empty string.
            SubscriptionCancelled: it has ended.
        """
        check_id(new_id, "new_id")
        with self._registry.lock:
            if self._ended is not None or self._slot is None:
                raise SubscriptionCancelled(f"subscription {self.id} has ended")
            slot = self._slot
            if new_id == slot.id:
                return
            enabled = self._channel is not None
            self._registry.remove(self)
            self._mailbox.drop()
            if slot.id not in self._registry.slots:
                self._registry.forget(slot.id)
            self._told.clear()
            if self._taker is not None:
                self._taker.taken.clear()
            self._registry.add(self, new_id, slot.target, enabled=enabled)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r} {self.state.value}>"

    @property
    def _is_over(self) -> bool:
        return self._ended is not None or self._satisfied

    @property
    def _ended_by_cancel(self) -> bool:
        return self._ended is State.CANCELLED

    # Called by the registry, under its lock.

    def _attach(self, channel: Channel) -> bool:
        self._contact_before = self.last_contact
        self._channel = self._last_channel = channel
        self._view = channel.view
        if channel.attach(self):
            return True
        self._channel = None
        return False

    def _detach(self) -> None:
        self._channel = None
        if self._taker is not None and self._view.parts is not None:
            self._view.parts.remove(self._taker)

    def _cancel(self) -> None:
        with self._registry.lock:
            cancelled = self._end_as(State.CANCELLED)
            self._mailbox.close()
            self._registry.remove(self)
        if cancelled:
            self._end_iterators(None, drop=True)
        else:
            self._error_was_told()

    def _abandon(self) -> None:
        """In a forked child, where only this thread exists."""
        self._changed = threading.Condition(threading.Lock())
        for iterator in self._live_iterators():
            iterator._abandon()
        self._view.abandon_lock()
        self._channel = None
        if self._ended is None:
            self._ended = State.CANCELLED
        self._mailbox.abandon()

    # Called by the channel; all but `end` and `wake` under its lock.

    @property
    def stops_on_completion(self) -> bool:
        return self._stop_on_completion

    def tell(
        self, news: Mapping[str, AnyRun], finished: Collection[str], done: Collection[str]
    ) -> None:
        if self._satisfied:
            return
        posts = self._with_ends(news, done) if done else news
        ends = posts.keys() - news.keys() if done else ()
        self._mailbox.post_all(posts, urgent=[*finished, *ends])
        for iterator in self._live_iterators():
            for key, run in news.items():
                iterator._put(key, run)

    def _with_ends(self, news: Mapping[str, AnyRun], done: Collection[str]) -> dict[Any, Any]:
        posts: dict[Any, Any] = {}
        for key, run in news.items():
            posts[key] = run
            if key in done:
                posts.update(self._end_of(key, run))
        return posts

    def tell_done(self, key: str, run: AnyRun) -> None:
        if not self._satisfied:
            end = self._end_of(key, run)
            self._mailbox.post_all(end, urgent=end)

    def _end_of(self, key: str, run: AnyRun) -> dict[Any, Any]:
        """What remains to be told of a run that is done."""
        posts: dict[Any, Any] = {}
        if self._taker is not None and self._view.parts is not None:
            for run_id, stream in self._view.parts.streams(run.id):
                posts[PARTS, run_id, stream] = None
        if run.id not in self._finished:
            posts[DONE, key] = run
        self._satisfied = self._stop_on_completion
        return posts

    def tell_parts(self, run_id: str, key: str) -> None:
        if self._taker is not None and not self._satisfied:
            self._mailbox.post((PARTS, run_id, key), None)

    def take_from(self, parts: PartStore) -> None:
        if self._taker is not None:
            parts.add(self._taker)

    def tell_failure(self, key: str, error: TriggerRealtimeError) -> None:
        error.terminal = False
        self._mailbox.post((FAILURE, key), error)

    def is_satisfied(self) -> bool:
        return self._satisfied

    def forget(self) -> None:
        self._told.clear()

    def end(self, error: TriggerRealtimeError | None) -> None:
        if error is None:
            self._satisfied = True
            self._end_iterators(None)
            self._mailbox.finish(self._completed)
            return
        error.terminal = True
        self._error = error
        self._registry.disconnect(self)
        if self._end_as(State.FAILED):
            self._end_iterators(error)
            self._mailbox.post((ERROR,), error, urgent=True)
            self._mailbox.finish(self._error_was_told)

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _completed(self) -> None:
        self._registry.remove(self)
        self._end_as(State.COMPLETED)

    def _error_was_told(self) -> None:
        self._registry.remove(self)
        with self._changed:
            self._error_told = True
            self._changed.notify_all()

    def _end_as(self, state: State) -> bool:
        with self._changed:
            if self._ended is not None:
                return False
            self._ended = state
            self._changed.notify_all()
            return True

    def _end_iterators(self, error: TriggerRealtimeError | None, *, drop: bool = False) -> None:
        for iterator in self._live_iterators():
            if drop:
                iterator.close()
            else:
                iterator._end(error)

    def _add_iterator(self, iterator: Updates[Any]) -> None:
        """Whether it has ended is to be looked at after this: the end ends those it finds."""
        with self._changed:
            self._iterators = tuple(map(weakref.ref, [*self._live_iterators(), iterator]))

    def _live_iterators(self) -> list[Updates[Any]]:
        iterators = [reference() for reference in self._iterators]
        return [iterator for iterator in iterators if iterator is not None]

    # On a thread of the callback pool.

    def _deliver(self, key: str | tuple[str, ...], item: Any) -> None:
        if isinstance(key, str):
            self._deliver_run(key, item)
        elif key[0] == DONE:
            self._deliver_done(item)
        elif key[0] == PARTS:
            self._deliver_parts(key[1], key[2])
        else:
            self._call("on_error", self._callbacks.on_error, item)

    def _deliver_run(self, key: str, run: AnyRun) -> None:
        told = self._told.get(key)
        if told is run or (told is not None and told == run):
            return
        self._told[key] = run
        self._call("on_update", self._callbacks.on_update, run)

    def _deliver_done(self, run: AnyRun) -> None:
        if run.id in self._finished:
            return
        self._call("on_complete", self._callbacks.on_complete, run)
        with self._changed:
            self._finished[run.id] = run
            self._changed.notify_all()

    def _deliver_parts(self, run_id: str, key: str) -> None:
        store = self._view.parts
        if store is None or self._taker is None:
            return
        values, place = store.take(self._taker, (run_id, key))
        if values:
            self._place = place
            self._call_on_stream(run_id, key, values)

    def _call_on_stream(self, run_id: str, key: str, values: list[Any]) -> None:
        self._call("on_stream", self._callbacks.on_stream, key, values)

    def _call(self, name: str, callback: Callable[..., object] | None, *arguments: Any) -> None:
        if callback is None or self._mailbox.closed:
            return
        try:
            callback(*arguments)
        except BaseException as error:
            failure = CallbackError(
                f"{name} of subscription {self.id} raised {type(error).__name__}", callback=name
            )
            failure.__cause__ = error
            logger.error("%s", failure, exc_info=error)
            if name != "on_error":
                self._call("on_error", self._callbacks.on_error, failure)

    # Waiting.

    def _wait(self, is_done: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Blocks until it is done, or raises what prevents that for good."""
        if self._mailbox.on_own_thread:
            raise RuntimeError(f"waiting for {what} inside its own callback would never end")
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not is_done():
                self._raise_if_over(what)
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise WaitTimeout(f"{what} did not finish within {timeout} s")
                self._changed.wait(left)

    def _raise_if_over(self, what: str) -> None:
        if self._ended is State.CANCELLED:
            raise SubscriptionCancelled(f"{what}: the subscription was cancelled")
        if self._error is not None and self._ended is State.FAILED:
            grace = time.monotonic() + ERROR_GRACE
            while not self._error_told and self._changed.wait(max(0.0, grace - time.monotonic())):
                pass
            raise self._error

    def _what(self) -> str:
        return self._slot.target.label if self._slot is not None else self.id
