"""One running subscription: its reading threads, its latest state, and who is told of changes.

The handles of one id share a channel. Changes come from the feeds on the channel's own threads and
go to each handle's mailbox, under the channel's lock, so that every handle sees one order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from enum import Enum
from typing import Protocol

from ._protocol.shape import went_back
from ._sources.batch import BatchMembers
from ._sources.runs import RunChanges, RunFeed
from ._target import Target
from ._transport.requester import Origin, Requester
from ._transport.sockets import Interrupted
from ._view import RunView
from .errors import ProtocolError, TriggerRealtimeError
from .models import AnyRun

logger = logging.getLogger("trigger_realtime_sync")

# After news were posted the reader lets go of the interpreter for this long, so that the callback
# need not wait for the reader's next blocking call: 0.08 ms to the callback instead of 0.8.
YIELD_SECONDS = 50e-6


class State(str, Enum):
    """Where a subscription stands."""

    IDLE = "IDLE"
    CONNECTING = "CONNECTING"
    LIVE = "LIVE"
    RETRYING = "RETRYING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"

    def __str__(self) -> str:
        return self.value


class Listener(Protocol):
    """What a channel needs of a handle. All but `end` are called under the channel's lock."""

    def tell(self, key: str, run: AnyRun) -> None:
        """A run changed."""

    def tell_failure(self, key: str, error: TriggerRealtimeError) -> None:
        """A row did not decode."""

    def is_satisfied(self) -> bool:
        """Whether nothing more is wanted."""

    def forget(self) -> None:
        """What was told before no longer counts."""

    def end(self, error: TriggerRealtimeError | None) -> None:
        """Everything was told, or this error ended it."""

    def wake(self) -> None:
        """Whoever waits should look again."""


class Channel:
    """Reads one target for the handles of one id.

    Args:
        target: what to read.
        origin: where, and as whom.
        view: what is known of it from before, if anything.
    """

    def __init__(self, target: Target, origin: Origin, view: RunView) -> None:
        self.target = target
        self.view = view
        self.members: list[str] | None = None
        self.members_error: TriggerRealtimeError | None = None
        # Protects the listeners, the order in which they are told, and what is below.
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._origin = origin
        self._state = State.CONNECTING
        self._has_snapshot = False
        self._over = False
        self._unfinished: set[str] = set()
        self._contact: float | None = None
        self._requesters: list[Requester] = []
        self._members_wanted = False
        self._members_thread: threading.Thread | None = None
        self._requester = self._make_requester()
        self._decoder = target.decoder(origin)
        self._feed = RunFeed(
            self._requester,
            target.path,
            dict(target.query),
            self._decoder,
            single=target.is_single,
            on_changes=self._on_changes,
        )

    @property
    def state(self) -> State:
        return self._state

    @property
    def last_contact(self) -> datetime | None:
        contact = self._contact
        return None if contact is None else datetime.fromtimestamp(contact, timezone.utc)

    def start(self, started: Callable[[threading.Thread], None]) -> None:
        """Starts the reading thread. `started` is told of it, and of later ones."""
        self._started = started
        self._start_thread(self._read, self.target.label)

    def attach(self, listener: Listener) -> bool:
        """Adds a handle, told the current state first. False when the channel is over."""
        with self._lock:
            if self._over:
                return False
            if self._has_snapshot:
                for key, run in self.view.items():
                    listener.tell(key, run)
            self._listeners.append(listener)
        self._end_satisfied()
        return True

    def detach(self, listener: Listener) -> bool:
        """Removes a handle. Whether it was the last one: the channel has ended then."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)
            if self._listeners:
                return False
            self._over = True
        self.stop()
        return True

    def stop(self) -> None:
        """Ends the reading threads, wherever they are."""
        for requester in list(self._requesters):
            requester.stop()

    def abandon(self) -> None:
        """In a forked child."""
        self._lock = threading.Lock()
        self._over = True
        self.view.abandon_lock()
        for requester in self._requesters:
            requester.abandon()

    def locked(self) -> threading.Lock:
        """Held, no listener is told anything."""
        return self._lock

    def forget_seen(self) -> None:
        """The next snapshot counts as new."""
        self._feed.forget_seen()
        with self._lock:
            for listener in self._listeners:
                listener.forget()

    def want_members(self) -> None:
        """Asks which runs the batch has, once it is known which of them the feed shows."""
        with self._lock:
            self._members_wanted = True
            if self._has_snapshot:
                self._ask_for_members()

    def _ask_for_members(self) -> None:
        asking = self._members_thread is not None and self.members_error is None
        if self._over or asking or self.members is not None:
            return
        self.members_error = None
        requester = self._make_requester()
        self._members_thread = self._start_thread(
            lambda: self._read_members(requester), f"members of {self.target.label}"
        )

    def _make_requester(self) -> Requester:
        requester = Requester(
            self._origin,
            self.target.label,
            on_contact=self._on_contact,
            on_trouble=self._on_trouble,
        )
        self._requesters.append(requester)
        return requester

    def _start_thread(self, work: Callable[[], None], label: str) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"trigger-realtime {label}", daemon=True)
        self._started(thread)
        thread.start()
        return thread

    def _on_contact(self) -> None:
        self._contact = time.time()

    def _on_trouble(self) -> None:
        self._state = State.RETRYING

    # On the reading thread.

    def _read(self) -> None:
        try:
            self._feed.run()
        except Interrupted:
            return
        except TriggerRealtimeError as error:
            self._fail(error)
        except Exception as error:
            logger.exception("%s: the reader failed", self.target.label)
            self._fail(ProtocolError(f"{self.target.label}: the reader failed: {error!r}"))

    def _fail(self, error: TriggerRealtimeError) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
            listeners, self._listeners = self._listeners, []
        self.stop()
        for listener in listeners:
            listener.end(error)

    def _on_changes(self, changes: RunChanges) -> bool:
        with self._lock:
            self._state = State.LIVE
            if not self._has_snapshot:
                self._has_snapshot = True
                self.view.keep_only(changes.rows)
                if self._members_wanted:
                    self._ask_for_members()
            self._apply(changes)
        if changes:
            self._end_satisfied()
            time.sleep(YIELD_SECONDS)
        if self.target.is_batch and self._all_known_finished() and self.members_error is None:
            self.want_members()
        return not self._over

    def _apply(self, changes: RunChanges) -> None:
        for key, run in changes.rows.items():
            known = self.view.get(key)
            if known is not None and self.members is not None and went_back(known, run):
                continue
            self._put(key, run)
            for listener in self._listeners:
                listener.tell(key, run)
        if not self.target.is_single:
            for key in changes.gone:
                self.view.drop(key)
                self._unfinished.discard(key)
        for key, error in changes.failures.items():
            logger.error("%s: a row does not decode: %s", self.target.label, error)
            for listener in self._listeners:
                listener.tell_failure(key, error)

    def _put(self, key: str, run: AnyRun) -> None:
        self.view.put(key, run)
        if run.is_finished:
            self._unfinished.discard(key)
        else:
            self._unfinished.add(key)

    def _end_satisfied(self) -> None:
        """Ends the handles that want no more, and the channel with the last of them."""
        complete = self._batch_is_complete()
        with self._lock:
            done = [one for one in self._listeners if complete or one.is_satisfied()]
            if not done:
                return
            self._listeners = [one for one in self._listeners if one not in done]
            if not self._listeners:
                self._over = True
        if self._over:
            self.stop()
        for listener in done:
            listener.end(None)

    # On the thread that asks which runs a batch has.

    def _read_members(self, requester: Requester) -> None:
        source = BatchMembers(
            requester,
            self.target.subject,
            self._decoder,
            on_members=self._on_members,
            on_changes=self._on_member_changes,
        )
        try:
            source.run()
        except Interrupted:
            return
        except TriggerRealtimeError as error:
            logger.warning("%s: its runs are not known: %s", self.target.label, error)
            self._members_failed(error)
        except Exception as error:
            logger.exception("%s: asking for its runs failed", self.target.label)
            self._members_failed(ProtocolError(f"{self.target.label}: {error!r}"))

    def _members_failed(self, error: TriggerRealtimeError) -> None:
        self.members_error = error
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.wake()

    def _on_members(self, members: list[str]) -> list[str]:
        with self._lock:
            self.members = members
        self._end_satisfied()
        known = {run.id for run in self.view.runs()}
        return [run_id for run_id in members if run_id not in known]

    def _on_member_changes(self, changes: RunChanges) -> bool:
        with self._lock:
            self._apply(changes)
        self._end_satisfied()
        return not all(run.is_finished for run in changes.rows.values()) or not changes.rows

    def _all_known_finished(self) -> bool:
        return bool(self.view) and not self._unfinished

    def _batch_is_complete(self) -> bool:
        if self.members is None or self._unfinished:
            return False
        finished = {run.id for run in self.view.runs() if run.is_finished}
        return finished.issuperset(self.members)
