"""Id → subscription, and the cache of what was last known under each id.

Control beside the flow: everything here is quick, and nothing here waits for the network.
"""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import TYPE_CHECKING

from .._channel.channel import Channel
from .._channel.run_view import RunView
from .._channel.target import Target
from .._dispatch.pool import WorkerPool
from ..errors import ClientClosed

if TYPE_CHECKING:
    from ..subscription import Subscription

MakeChannel = Callable[[Target, RunView], Channel]


class Slot:
    """The handles of one id, and the channel that they share while one of them is enabled."""

    def __init__(self, id_: str | None, target: Target) -> None:
        # One that was made up is known to whoever holds the handle, which knows all that it read.
        self.has_made_up_id = id_ is None
        self.id = id_ or f"{target.kind}-{uuid.uuid4().hex}"
        self.target = target
        self.handles: list[Subscription] = []
        self.channel: Channel | None = None

    def forget(self) -> None:
        """Drops what is known; of what is being read, the next snapshot counts as new."""
        if self.channel is not None:
            self.channel.forget_seen()
            return
        for handle in self.handles:
            handle.forget()
            handle._view = self.target.new_view()


class Registry:
    """Args:
    make_channel: makes the channel of a target, given what is known of it.
    max_cached: how many ids the cache remembers.
    """

    def __init__(self, make_channel: MakeChannel, max_cached: int) -> None:
        self._make_channel = make_channel
        self._max_cached = max_cached
        # Serialises all control: subscribing, cancelling, enabling. Taken before any other lock.
        self.lock = threading.RLock()
        self.slots: dict[str, Slot] = {}
        self.closed = False
        self.pool = WorkerPool()
        self._cache: OrderedDict[str, tuple[Target, RunView]] = OrderedDict()
        self._threads: set[threading.Thread] = set()
        # Those that ended too, as long as someone holds them: a fork must reach their locks.
        self._handles: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._threads_lock = threading.Lock()

    def add(self, handle: Subscription, id_: str | None, target: Target, *, enabled: bool) -> None:
        """Puts a handle under an id: beside others of the same target, or in place of them. None
        is one of its own.

        Raises:
            ClientClosed: the client was closed.
        """
        with self.lock:
            if self.closed:
                raise ClientClosed("the client is closed")
            slot = self.slots.get(id_) if id_ is not None else None
            if slot is not None and slot.target != target:
                self.cancel(slot.id)
                self.forget(slot.id)
                slot = None
            if slot is None:
                slot = Slot(id_, target)
                self.slots[slot.id] = slot
                self.pool.keep(True)
            slot.handles.append(handle)
            self._handles.add(handle)
            handle._slot = slot
            handle._view = self.cached(slot.id, target)
            if not enabled:
                return
            try:
                self.connect(handle)
            except BaseException:
                self.remove(handle)
                raise

    def connect(self, handle: Subscription) -> None:
        """The handle's slot reads, if it did not, and the handle hears of it."""
        with self.lock:
            slot = handle._slot
            assert slot is not None
            if slot.channel is not None and handle._attach(slot.channel):
                return
            channel = self._make_channel(slot.target, handle._view.copy())
            slot.channel = channel
            handle._attach(channel)
            try:
                channel.start(self._started)
            except BaseException:
                self.disconnect(handle)
                raise

    def disconnect(self, handle: Subscription) -> None:
        """The handle hears no more. With the last one the reading ends."""
        with self.lock:
            channel, slot = handle._channel, handle._slot
            if channel is None or slot is None:
                return
            handle._detach()
            if channel.detach(handle) and slot.channel is channel:
                slot.channel = None
            self.remember(slot, channel.view)
            if slot.channel is channel:
                handle._view = channel.view.copy()

    def remove(self, handle: Subscription) -> None:
        """Takes a handle out for good."""
        with self.lock:
            self.disconnect(handle)
            slot = handle._slot
            if slot is None or handle not in slot.handles:
                return
            slot.handles.remove(handle)
            if not slot.handles and self.slots.get(slot.id) is slot:
                del self.slots[slot.id]
            if not self.slots:
                self.pool.keep(False)

    def cancel(self, id_: str) -> list[Subscription]:
        """Cancels all handles of an id, and returns them."""
        with self.lock:
            slot = self.slots.get(id_)
            handles = list(slot.handles) if slot is not None else []
            for handle in handles:
                handle._cancel()
            return handles

    def cancel_all(self) -> list[Subscription]:
        with self.lock:
            return [handle for id_ in list(self.slots) for handle in self.cancel(id_)]

    # The cache.

    def cached(self, id_: str, target: Target) -> RunView:
        """What was last known of the target under the id."""
        with self.lock:
            known, view = self._cache.get(id_, (None, None))
            if view is None or known != target:
                return target.new_view()
            self._cache.move_to_end(id_)
            return view

    def remember(self, slot: Slot, view: RunView) -> None:
        with self.lock:
            if not view or not self._max_cached:
                return
            # Of streams that nobody can come back to, the parts are not worth their memory.
            if slot.has_made_up_id and view.parts is not None:
                runs, view = view.by_key(), slot.target.new_view()
                view.put(runs)
            self._cache[slot.id] = (slot.target, view)
            self._cache.move_to_end(slot.id)
            while len(self._cache) > self._max_cached:
                self._cache.popitem(last=False)

    def forget(self, id_: str | None = None) -> None:
        """Drops what is cached under an id, or all. What runs delivers its next snapshot anew."""
        with self.lock:
            slots = list(self.slots.values()) if id_ is None else [self.slots.get(id_)]
            if id_ is None:
                self._cache.clear()
            else:
                self._cache.pop(id_, None)
            for slot in slots:
                if slot is not None:
                    slot.forget()

    # The end.

    def _started(self, thread: threading.Thread) -> None:
        with self._threads_lock:
            self._threads = {one for one in self._threads if one.is_alive() or one.ident is None}
            self._threads.add(thread)

    def join(self, deadline: float) -> list[threading.Thread]:
        """Waits for all threads, up to a time of `time.monotonic()`. Returns those still alive."""
        with self._threads_lock:
            threads = list(self._threads)
        threads = [one for one in threads if one is not threading.current_thread()]
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        alive = [thread for thread in threads if thread.is_alive()]
        return alive + self.pool.join(deadline)

    def abandon(self) -> None:
        """In a forked child: every handle is cancelled, and nothing of it is used again."""
        self.lock = threading.RLock()
        self.pool.abandon()
        for slot in list(self.slots.values()):
            if slot.channel is not None:
                slot.channel.abandon()
        for handle in list(self._handles):
            handle._abandon()


class SubscriptionMap(Mapping[str, "Subscription"]):
    """A live, read-only view of the registry: id → the first handle of that id."""

    def __init__(self, registry: Callable[[], Registry]) -> None:
        self._registry = registry

    def __getitem__(self, id_: str) -> Subscription:
        registry = self._registry()
        with registry.lock:
            return registry.slots[id_].handles[0]

    def __iter__(self) -> Iterator[str]:
        registry = self._registry()
        with registry.lock:
            return iter(list(registry.slots))

    def __len__(self) -> int:
        return len(self._registry().slots)

    # Of one moment: what Mapping makes of these looks each id up later, when it may have ended.

    def keys(self) -> KeysView[str]:
        return self._snapshot().keys()

    def values(self) -> ValuesView[Subscription]:
        return self._snapshot().values()

    def items(self) -> ItemsView[str, Subscription]:
        return self._snapshot().items()

    def __repr__(self) -> str:
        return repr(self._snapshot())

    def _snapshot(self) -> dict[str, Subscription]:
        registry = self._registry()
        with registry.lock:
            return {id_: slot.handles[0] for id_, slot in registry.slots.items()}
