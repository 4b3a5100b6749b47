"""Id → receivers and their channel.

Control beside the flow: everything here is quick, and nothing here waits for the network.

A signal handler and a `__del__` may cancel and close while the thread that they interrupt holds any
lock. So these begin with flags, written without a lock, after which nothing is delivered; what
takes locks is done by the janitor, and waited for where no call of ours was interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
import weakref
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from .._channel.base_channel import BaseChannel
from .._channel.part_store import Taker
from .._channel.run_view import RunView
from .._channel.target import Target
from .._dispatch.janitor import Janitor
from .._dispatch.pool import WorkerPool
from .._dispatch.threads import Threads, join_all
from ..errors import ClientClosed, SubscriptionCancelled
from ..models import State
from .receiver import Receiver, settle
from .updates import ChangeQueue
from .view_cache import ViewCache, without_parts

logger = logging.getLogger("trigger_realtime_sync")

if TYPE_CHECKING:
    from .._wire.session_turns import Turn

MakeChannel = Callable[[Target, RunView], BaseChannel]

# Seconds that a cancel waits for the janitor at the most. It needs a fraction of a millisecond.
CANCEL_SECONDS = 1.0


class Slot:
    """The receivers of one id, and the channel they share while one of them is enabled."""

    def __init__(self, id_: str | None, target: Target) -> None:
        # Only the subscription knows a generated id, so nobody else can come back to its cache.
        self.has_generated_id = id_ is None
        self.id = id_ or f"{target.kind}-{uuid.uuid4().hex}"
        self.target = target
        self.seats: list[Seat] = []
        self.channel: BaseChannel | None = None

    @property
    def is_followed(self) -> bool:
        """Whether it is read for somebody, as far as can be seen without a lock."""
        return self.channel is not None and any(
            seat.receiver.expects_more for seat in list(self.seats)
        )

    def forget(self) -> None:
        """Drop what is known. While it reads, the next snapshot counts as new."""
        if self.channel is not None:
            self.channel.forget_seen()
            return
        for seat in self.seats:
            seat.receiver.forget_delivered()
            seat.see(self.target.new_view())


class Seat:
    """A receiver's place in the registry. Written under the registry's lock, read on any thread.

    Attributes:
        registry: whose lock it is.
        receiver: who sits here. A forked child replaces it.
        target: what it reads, under whichever id.
        owner: what the user holds.
        view: the latest state of what is read.
        channel: that notifies the receiver, None while it is disabled or has ended.
        last_channel: the channel, or the last one there was.
    """

    def __init__(self, registry: Registry, receiver: Receiver, target: Target) -> None:
        self.registry = registry
        self.receiver = receiver
        self.target = target
        self.owner: object = None
        # Set when the registry takes it in.
        self.slot: Slot
        self.view = RunView()
        self.channel: BaseChannel | None = None
        self.last_channel: BaseChannel | None = None
        # The turn that an iterator over a session's parts ended with last.
        self.last_turn: Turn | None = None
        self._contact_before: datetime | None = None
        # Of iterators over parts, for as long as each is referenced. Mostly empty.
        self._takers: tuple[weakref.ref[Taker], ...] = ()
        receiver.seat = self

    @property
    def id(self) -> str:
        """The id under which the registry knows it."""
        return self.slot.id

    @property
    def last_contact(self) -> datetime | None:
        """When the server last answered anything."""
        channel = self.last_channel
        return (channel and channel.last_contact) or self._contact_before

    def disconnect(self) -> None:
        """Stop being notified by the channel."""
        self.registry.disconnect(self)

    def leave(self) -> None:
        """Give the seat up for good."""
        self.registry.remove(self)

    def attach(self, channel: BaseChannel) -> bool:
        """Join a channel.

        Returns:
            Whether it could: False when the channel has ended.
        """
        self._contact_before = self.last_contact
        self.channel = self.last_channel = channel
        self.see(channel.view)
        if channel.attach(self.receiver):
            return True
        self.channel = None
        return False

    def detach(self) -> None:
        """Belong to no channel any more."""
        self.channel = None
        self.receiver.delivery.stop_taking()

    def see(self, view: RunView) -> None:
        """Show this view from now on. Iterators take from its store, no longer from the last."""
        before, self.view = self.view.parts, view
        for taker in self._live_takers():
            if view.parts is not None:
                view.parts.add(taker)
            if before is not None and before is not view.parts:
                before.remove(taker)

    def add_queue(self, queue: ChangeQueue[Any]) -> None:
        """Post the current state to an iterator's queue, and each change after it."""
        channel = self.channel
        with channel.notifying if channel is not None else contextlib.nullcontext():
            for row_key, run in self.view.by_key().items():
                queue.post(row_key, run)
            self.receiver.add_queue(queue)
        if not self.receiver.expects_more:
            queue.end(self.receiver.error)

    def add_taker(self, taker: Taker) -> None:
        """Let the store of the view wait for this iterator, for as long as it is referenced."""
        with self.registry.lock:
            self._takers = tuple(map(weakref.ref, [*self._live_takers(), taker]))
            if self.view.parts is not None:
                self.view.parts.add(taker)

    def remove_taker(self, taker: Taker) -> None:
        """Wait for this iterator no longer."""
        with self.registry.lock:
            rest = [one for one in self._live_takers() if one is not taker]
            self._takers = tuple(map(weakref.ref, rest))
            if self.view.parts is not None:
                self.view.parts.remove(taker)

    def _live_takers(self) -> list[Taker]:
        return [taker for reference in self._takers if (taker := reference()) is not None]

    def inherit(self, registry: Registry) -> None:
        """Turn into the seat of a subscription that a forked child inherited, and so of an ended
        one: all that a thread of the parent may have locked is replaced."""
        self._contact_before, self.last_channel = self.last_contact, None
        self.registry = registry
        self.channel = None
        self.view = self.view.inherited()
        self.receiver = self.receiver.inherited()


class Registry:
    """The receivers of one client.

    Args:
        make_channel: makes the channel of a target, given what is known of it.
        max_cached: how many ids the cache remembers.
    """

    def __init__(self, make_channel: MakeChannel, max_cached: int) -> None:
        self._make_channel = make_channel
        # Serialises all control: subscribing, cancelling, enabling. Taken before any other lock.
        self.lock = threading.RLock()
        self.slots: dict[str, Slot] = {}
        self.closed = False
        self.janitor = Janitor(self.lock, lambda: bool(self.slots))
        self.threads = Threads(self.janitor)
        self.pool = WorkerPool(self.janitor)
        self._cache = ViewCache(max_cached)
        self._process = os.getpid()
        # Includes ended subscriptions that are still referenced: a fork must replace their locks.
        self._seats: weakref.WeakSet[Seat] = weakref.WeakSet()

    def add(self, seat: Seat, id_: str | None, *, enabled: bool) -> None:
        """Put a seat under an id: beside others of the same target, or in place of those of another
        one. None: under an id of its own.

        Call `undo` if this raises, be it an exception out of a signal handler.

        Raises:
            ClientClosed: the client was closed.
            RuntimeError: no thread can be started.
        """
        with self.lock:
            slot = self.slots.get(id_) if id_ is not None else None
            if slot is not None and slot.target != seat.target:
                self.cancel(slot.id)
                self.forget(slot.id)
                slot = None
            seat.slot = slot or Slot(id_, seat.target)
            self._take_in(seat)
            if enabled:
                self.connect(seat)

    def _take_in(self, seat: Seat) -> None:
        if self.closed:
            raise ClientClosed("the client is closed")
        slot = seat.slot
        self._seats.add(seat)
        seat.see(self._cache.get(slot.id, slot.target))
        self.janitor.start()
        self.pool.keep(True)
        slot.seats.append(seat)
        self.slots[slot.id] = slot
        # A signal handler may have closed it since: it ended all that was in a slot by then.
        if self.closed:
            raise ClientClosed("the client is closed")

    def connect(self, seat: Seat) -> None:
        """Attach the seat to its slot's channel, starting the channel if needed."""
        with self.lock:
            slot = seat.slot
            try:
                if slot.channel is not None and seat.attach(slot.channel):
                    return
                channel = self._make_channel(slot.target, seat.view.copy())
                seat.attach(channel)
                channel.start(self.threads.start)
                # At last: others must not join one that was never started.
                slot.channel = channel
            except BaseException:
                self.disconnect(seat)
                raise

    def disconnect(self, seat: Seat) -> None:
        """Detach the seat from its channel. The last one stops the channel."""
        with self.lock:
            channel, slot = seat.channel, seat.slot
            if channel is None:
                return
            if channel.detach(seat.receiver) and slot.channel is channel:
                slot.channel = None
            self._remember(slot, channel.view)
            # Not before: it is repeated if a signal handler raises in between.
            seat.detach()
            if slot.channel is channel:
                seat.see(channel.view.copy())

    def remove(self, seat: Seat) -> None:
        """Take the seat out of its slot for good."""
        with self.lock:
            self.disconnect(seat)
            slot = seat.slot
            if seat in slot.seats:
                slot.seats.remove(seat)
            # Looked at each time: the last removal may have been interrupted.
            if not slot.seats and self.slots.get(slot.id) is slot:
                del self.slots[slot.id]
            if not self.slots:
                self.janitor.put(self._let_pool_rest)

    def _let_pool_rest(self) -> None:
        with self.lock:
            self.pool.keep(bool(self.slots))

    def enable(self, seat: Seat) -> None:
        """Connect the seat, unless it is connected.

        Raises:
            SubscriptionCancelled: it was cancelled.
            TriggerRealtimeError: the error that ended it.
        """
        with self.lock:
            receiver = seat.receiver
            if receiver.ended_as is State.CANCELLED:
                raise SubscriptionCancelled(f"subscription {seat.id} was cancelled")
            if receiver.ended_as is State.FAILED and receiver.error is not None:
                raise receiver.error
            if not receiver.expects_more or seat.channel is not None:
                return
        try:
            self._enable(seat)
        except BaseException:
            # Half connected, it could not be enabled again, and `connect` may have been interrupted
            # while it undid that.
            self.janitor.do(partial(self.disconnect, seat), CANCEL_SECONDS)
            raise

    def _enable(self, seat: Seat) -> None:
        with self.lock:
            if seat.receiver.expects_more and seat.channel is None:
                self.connect(seat)

    def disable(self, seat: Seat) -> None:
        """Disconnect the seat until it is enabled; drop what waits to be delivered."""
        with self.lock:
            if seat.receiver.expects_more and seat.channel is not None:
                self.disconnect(seat)
                seat.receiver.drop_waiting()

    def change_id(self, seat: Seat, new_id: str) -> None:
        """Move the seat to another id, where it starts over.

        Raises:
            SubscriptionCancelled: it has ended.
        """
        with self.lock:
            slot, receiver = seat.slot, seat.receiver
            if receiver.ended_as is not None:
                raise SubscriptionCancelled(f"subscription {seat.id} has ended")
            if new_id == slot.id:
                return
            try:
                self._change_id(seat, new_id)
            except BaseException:
                self.undo(seat)
                raise

    def _change_id(self, seat: Seat, new_id: str) -> None:
        slot, receiver = seat.slot, seat.receiver
        channel = seat.channel
        enabled = channel is not None
        if channel is not None and channel.detach(receiver) and slot.channel is channel:
            slot.channel = None
        # It is notified of nothing from here on.
        if receiver.is_complete:
            self._move_complete(seat, new_id)
            return
        self.remove(seat)
        receiver.drop_waiting()
        if slot.id not in self.slots:
            self.forget(slot.id)
        receiver.delivery.start_over()
        self.add(seat, new_id, enabled=enabled)

    def _move_complete(self, seat: Seat, new_id: str) -> None:
        """Move a seat that was notified of everything: what waits is delivered, and is the end."""
        slot, view = seat.slot, seat.view.copy()
        # Not disconnected: its parts must stay until they are delivered.
        seat.channel = None
        self.remove(seat)
        if slot.id not in self.slots:
            self.forget(slot.id)
        self.add(seat, new_id, enabled=False)
        seat.see(view)
        self._remember(seat.slot, view)
        seat.receiver.end(None)

    def owner(self, id_: str) -> object:
        """Return what the user holds of an id: of its first seat.

        Raises:
            KeyError: nothing is subscribed under it.
        """
        with self.lock:
            seats = self.slots[id_].seats
            if not seats:
                raise KeyError(id_)
            return seats[0].owner

    def owners(self) -> dict[str, object]:
        """Return what the user holds of each id: of its first seat."""
        with self.lock:
            # A slot is empty if a removal was interrupted, until the janitor completes it.
            return {id_: slot.seats[0].owner for id_, slot in self.slots.items() if slot.seats}

    # Cancelling.

    def end(self, seats: Iterable[Seat], *, is_inside: bool) -> None:
        """Cancel these seats. Takes no lock, and waits for a second at most.

        Args:
            is_inside: whether this thread has interrupted a call of ours: then it waits for
                nothing.
        """
        receivers = [seat.receiver for seat in seats]
        for receiver in receivers:
            receiver.stop()
        job = partial(self._leave, receivers)
        if is_inside:
            self.janitor.put(job)
            return
        self.janitor.do(job, CANCEL_SECONDS)
        settle(receivers)

    def undo(self, seat: Seat) -> None:
        """Cancel a seat that was not wholly taken in.

        Nobody holds it, so this is done whatever interrupts it.
        """
        while True:
            try:
                self.janitor.put(partial(self._undo, seat))
                seat.receiver.stop()
                return
            except BaseException:  # noqa: BLE001 (what is undone has raised, and is raised)
                continue

    def _undo(self, seat: Seat) -> None:
        if hasattr(seat, "slot"):
            self._leave([seat.receiver])

    def seats_of(self, id_: str) -> list[Seat]:
        """Return the seats of an id. Takes no lock."""
        slot = self.slots.get(id_)
        return list(slot.seats) if slot is not None else []

    def all_seats(self) -> list[Seat]:
        """Return the seats of all ids. Takes no lock."""
        return [seat for slot in self.slots.copy().values() for seat in list(slot.seats)]

    def followed(self) -> list[str]:
        """Return what is being followed, as texts. Takes no lock.

        A closed client follows nothing, nor does a child of a fork that went unnoticed.
        """
        if self.closed or os.getpid() != self._process:
            return []
        slots = self.slots.copy().values()
        return [slot.target.label for slot in slots if slot.is_followed]

    def cancel(self, id_: str) -> None:
        """Cancel all receivers of an id, under the lock."""
        with self.lock:
            for seat in self.seats_of(id_):
                seat.receiver.cancel()

    def _leave(self, receivers: list[Receiver]) -> None:
        for receiver in receivers:
            try:
                with self.lock:
                    receiver.cancel()
            except Exception:
                # The others must not stay for it.
                fields = {"target": receiver.label, "subscription_ids": (receiver.id,)}
                logger.exception("%s: cancelling failed", receiver.label, extra=fields)

    # The cache.

    def forget(self, id_: str | None = None) -> None:
        """Drop the cache of an id, or all of it. What is being read delivers its next snapshot
        anew."""
        with self.lock:
            self._cache.forget(id_)
            slots = list(self.slots.values()) if id_ is None else [self.slots.get(id_)]
            for slot in slots:
                if slot is not None:
                    slot.forget()

    def _remember(self, slot: Slot, view: RunView) -> None:
        # A generated id cannot be resumed: keep the runs, drop the parts.
        if slot.has_generated_id and view.parts is not None:
            view = without_parts(slot.target, view)
        self._cache.put(slot.id, slot.target, view)

    # The end.

    def join(self, deadline: float) -> list[threading.Thread]:
        """Wait for all threads, up to a time of `time.monotonic()`. Takes no lock.

        Returns:
            The threads that are still alive.
        """
        alive = self.threads.join(deadline) + self.pool.join(deadline)
        janitor = self.janitor.thread
        return alive if janitor is None else alive + join_all([janitor], deadline)

    def bequeath(self, heir: Registry) -> None:
        """In a forked child: leave every subscription to another registry, cancelled."""
        heir.closed = self.closed
        # The thread that forked may be one of the pool's, inside a callback.
        self.pool.abandon()
        for seat in list(self._seats):
            seat.inherit(heir)
            # The child may fork too.
            heir._seats.add(seat)
