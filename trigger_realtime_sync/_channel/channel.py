"""One running subscription: its reading threads, its latest state, and who is told of changes.

The handles of one id share a channel. Changes come from the feeds on the channel's own threads and
go to each handle's mailbox, under the channel's lock, so that every handle sees one order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Container, Mapping
from datetime import datetime, timezone
from typing import Protocol

from .._feeds.run_feed import RunChanges, RunFeed
from .._http.call import Interrupted
from .._http.requester import Origin, Requester
from ..errors import ProtocolError, TriggerRealtimeError
from ..models import AnyRun, State
from .part_store import PartStore
from .run_view import RunView
from .target import Target

logger = logging.getLogger("trigger_realtime_sync")

# After news were posted the reader lets go of the interpreter for this long, so that the callback
# need not wait for the reader's next blocking call: 0.08 ms to the callback instead of 0.8.
YIELD_SECONDS = 50e-6


class Listener(Protocol):
    """What a channel needs of a handle. `end` and `wake` are called without the channel's lock,
    the others under it."""

    @property
    def stops_on_completion(self) -> bool:
        """Whether it wants no more of a single run that is done."""

    def tell(
        self, news: Mapping[str, AnyRun], finished: Collection[str], done: Collection[str]
    ) -> None:
        """Runs changed, by key; the keys of those that have finished; and of those that are done:
        the streams that are read of them have finished too."""

    def tell_done(self, key: str, run: AnyRun) -> None:
        """A run has finished, which was told, and now so have the streams that are read of it."""

    def tell_parts(self, run_id: str, key: str) -> None:
        """A stream has parts that may be new."""

    def take_from(self, parts: PartStore) -> None:
        """Reads its parts from this store, which waits for it from now on."""

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
        # Protects the listeners, the order in which they are told, and what is below.
        self._lock = threading.Lock()
        self._listeners: list[Listener] = []
        self._origin = origin
        self._state = State.CONNECTING
        self._has_snapshot = False
        self._over = False
        self._done: set[str] = set()
        self._requesters: list[Requester] = []
        self._requester = self._make_requester(self._on_trouble)
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
        # Under the lock, so that what makes it LIVE is to be seen by then.
        with self._lock:
            return self._state

    @property
    def last_contact(self) -> datetime | None:
        newest = max(self._contacts())
        return datetime.fromtimestamp(newest, timezone.utc) if newest else None

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
                runs = self.view.by_key()
                listener.tell(runs, _finished(runs), self._done)
            self._welcome(listener)
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

    def _make_requester(self, on_trouble: Callable[[], None] = lambda: None) -> Requester:
        requester = Requester(self._origin, self.target.label, on_trouble)
        self._requesters.append(requester)
        return requester

    def _start_thread(self, work: Callable[[], None], label: str) -> threading.Thread:
        thread = threading.Thread(target=work, name=f"trigger-realtime {label}", daemon=True)
        self._started(thread)
        thread.start()
        return thread

    def _contacts(self) -> list[float]:
        """Return when each requester last had an answer, in epoch seconds, or 0 for never."""
        return [requester.last_contact or 0.0 for requester in self._requesters]

    def _on_trouble(self) -> None:
        self._state = State.RETRYING

    # On the reading thread.

    def _read(self) -> None:
        try:
            self._feed.run()
        except Interrupted:
            return
        except TriggerRealtimeError as error:
            self._feed_failed(error)
        except Exception as error:
            logger.exception("%s: the reader failed", self.target.label)
            self._fail(ProtocolError(f"{self.target.label}: the reader failed: {error!r}"))

    def _feed_failed(self, error: TriggerRealtimeError) -> None:
        self._fail(error)

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
            first = not self._has_snapshot
            if first:
                self._has_snapshot = True
                self._drop_all_but(changes.rows)
            if changes or first:
                self._apply(changes, all_rows=first)
            goes_on = self._reads_on()
        self._log_failures(changes)
        if changes:
            self._end_satisfied()
            time.sleep(YIELD_SECONDS)
        return goes_on and not self._over

    def _log_failures(self, changes: RunChanges) -> None:
        """Without the lock: a log handler may look at the subscription."""
        for error in changes.failures.values():
            logger.error("%s: a row does not decode: %s", self.target.label, error)

    def _drop_all_but(self, keys: Container[str]) -> None:
        """What was known from before and is no longer there, was a run's row late or not."""
        for key in self.view.by_key():
            if key not in keys and not self.target.is_single:
                self._drop(key)

    def _apply(self, changes: RunChanges, *, all_rows: bool = False) -> None:
        """`all_rows`: those are told too of which a newer state was known, which is told then."""
        news = self.view.put(changes.rows)
        if all_rows and len(news) < len(changes.rows):
            known = self.view.by_key()
            news = {key: run for key, run in known.items() if key in changes.rows}
        self._on_put(news)
        finished = _finished(news)
        done = {key for key in finished if self._is_done(news[key])}
        self._done |= done
        for listener in self._listeners:
            listener.tell(news, finished, done)
        if not self.target.is_single:
            for key in changes.gone:
                self._drop(key)
        for key, error in changes.failures.items():
            for listener in self._listeners:
                listener.tell_failure(key, error)

    def _end_satisfied(self) -> None:
        """Ends the handles that want no more, and the channel with the last of them."""
        self._end_those(lambda listener: listener.is_satisfied())

    def _complete(self) -> None:
        """Ends every handle: there is no more."""
        self._end_those(lambda listener: True)

    def _end_those(self, is_done: Callable[[Listener], bool]) -> None:
        with self._lock:
            done = [listener for listener in self._listeners if is_done(listener)]
            if not done:
                return
            self._listeners = [one for one in self._listeners if one not in done]
            if not self._listeners:
                self._over = True
        if self._over:
            self.stop()
        for listener in done:
            listener.end(None)

    # What a channel that reads more than runs does otherwise. All under the lock.

    def _welcome(self, listener: Listener) -> None:
        """A handle joins."""

    def _on_put(self, news: Mapping[str, AnyRun]) -> None:
        """Runs changed, and are in the view."""

    def _drop(self, key: str) -> None:
        self.view.drop(key)

    def _is_done(self, run: AnyRun) -> bool:
        return run.is_finished

    def _reads_on(self) -> bool:
        return True


def _finished(runs: Mapping[str, AnyRun]) -> set[str]:
    return {key for key, run in runs.items() if run.is_finished}
