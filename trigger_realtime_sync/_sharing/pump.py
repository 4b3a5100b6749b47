"""What all that lead have in common: how they begin again, and how they end."""

from __future__ import annotations

import logging
import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from .._channel.requesters import Requesters
from .._http.bell import Bell
from .._http.call import Interrupted, Nudged
from .._http.requester import Origin, Requester
from .._http.retry import DoublingPause
from ..errors import TriggerRealtimeError
from .entries import ERROR, Entry, EntryId
from .shared_log import ANY, Fenced, LogAway, Moved, SharedLog
from .troubles import concerns_all, data_of
from .writers import LogWriter

logger = logging.getLogger("trigger_realtime_sync")

# Seconds before a leader begins again, doubling from the first to the longest.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


class LeadingPump(ABC):
    """One leader of one key. See `Pump`.

    Args:
        label: names it in errors and logs.
        origin: where to ask, and with which token.
        log, key, token: where to write, with which lease.
        on_end: called, on the pump's thread, when it leads no longer by its own decision: with the
            error where that is this process's own.
    """

    def __init__(
        self,
        label: str,
        origin: Origin,
        log: SharedLog,
        key: str,
        token: str,
        on_end: Callable[[TriggerRealtimeError | None], None],
    ) -> None:
        self.label = label
        self.origin = origin
        self.log = log
        self.key = key
        self.token = token
        self.in_trouble = False
        self.ended = False
        self.stopped = False
        self._on_end = on_end
        self._bell = Bell()
        self._pauses = DoublingPause(FIRST_PAUSE, LONGEST_PAUSE)
        # Protects the requesters of the current attempt.
        self._requesters_lock = threading.Lock()
        self._current: Requesters | None = None
        self._main: Requester | None = None
        self._before: EntryId | None = None

    @property
    def contact(self) -> float:
        """See `Pump`."""
        current = self._current
        return (current.contact if current is not None else None) or 0.0

    def run(self) -> None:
        """See `Pump`."""
        try:
            while not self.stopped and self._lead_once():
                self._bell.wait(random.uniform(0.5, 1.0) * self._pauses.take())
        finally:
            self.ended = True

    def stop(self) -> None:
        """See `Pump`."""
        self.stopped = True
        self._bell.ring()
        with self._requesters_lock:
            current = self._current
        if current is not None:
            current.stop()

    def nudge(self) -> None:
        """End what the main thread waits for."""
        main = self._main
        if main is not None:
            main.nudge()

    def before_look(self) -> None:
        """See `Pump`."""
        self._before = self._tail()

    def on_tail(self, tail: EntryId | None) -> None:
        """See `Pump`."""
        before = self._before
        if before is not None and before != ANY and (tail is None or tail < before):
            self.break_off(Moved())

    @abstractmethod
    def _lead(self, requesters: Requesters) -> None:
        """Lead, until it is over or something is raised."""

    @abstractmethod
    def _tail(self) -> EntryId | None:
        """Return the id of the last entry that was written, None before the first."""

    @abstractmethod
    def break_off(self, error: Exception) -> None:
        """Let the pump's thread end with this error."""

    def requester_of(self, requesters: Requesters) -> Requester:
        """Return the requester of the pump's thread."""
        self._main = requesters.make(self._on_trouble)
        return self._main

    def is_well(self) -> None:
        """Note that what is read is up to date."""
        self.in_trouble = False

    def _on_trouble(self) -> None:
        self.in_trouble = True

    def _lead_once(self) -> bool:
        """Return True to begin again."""
        requesters = Requesters(self.origin, self.label, self.warn)
        with self._requesters_lock:
            self._current = requesters
        if self.stopped:
            return False
        try:
            self._lead(requesters)
            if not self.stopped:
                self._on_end(None)
        except Interrupted:
            pass
        except Nudged:
            return True
        except Fenced:
            logger.info(
                "%s: another process leads it now", self.label, extra={"target": self.label}
            )
        except (Moved, LogAway) as error:
            why = error or "the log has changed"
            logger.info("%s: begins again: %s", self.label, why, extra={"target": self.label})
            return True
        except TriggerRealtimeError as error:
            self._fail(error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 (it is logged)
            assert self._main is not None
            self._fail(self._main.unforeseen(error, "the leader"))
        finally:
            requesters.stop()
        return False

    def _fail(self, error: TriggerRealtimeError) -> None:
        is_of_all = concerns_all(error)
        # Behind whatever is there: it is the last that this leader says.
        writer = LogWriter(self.log, self.key, self.token)
        if is_of_all and self.say(Entry(ERROR, data_of(error)), writer):
            self._on_end(None)
        else:
            self._on_end(error)

    @abstractmethod
    def warn(self, error: TriggerRealtimeError) -> None:
        """Tell everybody of an error that is not terminal."""

    def say(self, entry: Entry, writer: LogWriter) -> bool:
        """Append an entry. Return whether it was."""
        try:
            writer.append(entry)
        except Exception as error:  # noqa: BLE001 (it is logged)
            logger.info(
                "%s: could not be told: %r", self.label, error, extra={"target": self.label}
            )
            return False
        return True
