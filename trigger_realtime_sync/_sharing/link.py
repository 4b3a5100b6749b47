"""How a follower's thread is reached from the hub's."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator

from .._clock import monotonic
from .._http.requester import Requester
from ..errors import TriggerRealtimeError
from .entries import EntryId, Placed
from .hub import Hub
from .shared_log import LogAway
from .tailing import Tailer
from .topic import Subject, Topic

logger = logging.getLogger("trigger_realtime_sync")

# Seconds over which the processes of a fleet begin to read for themselves while the store is away.
DIRECT_SECONDS = 30.0
# Seconds before a log is read again that could not be read.
AGAIN_SECONDS = 1.0
# "For ever", where a nudge ends the wait.
LONG_SECONDS = 3600.0


class HubLink:
    """One follower's place in the hub: a `Link`.

    Args:
        hub: the hub.
        subject: what is followed.
        requester: of the follower's thread, which it waits on.
        tailer: of its log.
        is_direct: whether to read without the store while that is away.

    Attributes:
        is_quiet: whether the follower reads elsewhere, so that news of the log must not cut off
            what it waits for.
    """

    def __init__(
        self, hub: Hub, subject: Subject, requester: Requester, tailer: Tailer, *, is_direct: bool
    ) -> None:
        self.hub = hub
        self.subject = subject
        self._requester = requester
        self._tailer = tailer
        self._delay = random.uniform(0.0, DIRECT_SECONDS) if is_direct else float("inf")
        self.is_quiet = False
        self._trouble: str | None = None
        self._away_since: float | None = None
        self._error: TriggerRealtimeError | None = None
        self._topic: Topic | None = None
        self._read_again_at = 0.0
        self._contact = 0.0
        self._before: EntryId | None = None

    # On the hub's thread.

    @property
    def is_gone(self) -> bool:
        return self._requester.stopped

    def on_entry(self, id_: EntryId, blob: bytes) -> None:
        self._tailer.inbox.post(id_, blob)
        self._nudge()

    def on_missed(self) -> None:
        self._tailer.inbox.miss()
        self._nudge()

    def _nudge(self) -> None:
        if not self.is_quiet:
            self._requester.nudge()

    def before_look(self) -> None:
        self._before = self._tailer.last

    def on_tail(self, tail: EntryId | None) -> None:
        if tail is not None and tail != self._tailer.last:
            self._tailer.inbox.look_at(tail, self._before)
            self._nudge()

    def on_health(self, trouble: str | None, contact: float | None) -> None:
        changed = (trouble is None) is not (self._trouble is None)
        self._trouble = trouble
        away = self.hub.away is not None
        if away is (self._away_since is None):
            self._away_since = monotonic() if away else None
            changed = True
        if contact is not None and contact > self._contact:
            self._contact = contact
            self._requester.note_contact()
        if changed:
            self._requester.nudge()

    def on_failed(self, error: TriggerRealtimeError) -> None:
        self._error = error
        self._requester.nudge()

    # On the follower's.

    def join(self) -> None:
        """Be told from now on."""
        if self._topic is None:
            self._topic = self.hub.enter(self.subject, self)

    def leave(self) -> None:
        """Be told no longer."""
        topic, self._topic = self._topic, None
        if topic is not None:
            self.hub.leave(topic, self)

    def tell_writer(self, rank: int) -> None:
        """Let the fleet know what is known here of the stream's writer."""
        if self._topic is not None:
            self.hub.tell_writer(self._topic, rank)

    def note_place(self, index: int, place: str) -> None:
        """Note where this process is in the stream, should it have to lead."""
        if self._topic is not None:
            self._topic.note((index, place))

    def entries(self) -> Iterator[Placed]:
        """Yield the entries that are new; see `Tailer.entries`.

        Raises:
            TriggerRealtimeError: this process had to lead, and can't.
        """
        if self._error is not None:
            raise self._error
        if monotonic() < self._read_again_at:
            return
        try:
            yield from self._tailer.entries()
        except LogAway as error:
            self._read_again_at = monotonic() + AGAIN_SECONDS
            logger.info("%s: the shared log can't be read: %s", self.subject.label, error)

    @property
    def trouble(self) -> str | None:
        """What is wrong, if anything."""
        return self._trouble

    @property
    def must_read_directly(self) -> bool:
        """Whether the store is away for so long that each reads for itself."""
        since = self._away_since
        return since is not None and monotonic() - since >= self._delay

    def wait(self, seconds: float = LONG_SECONDS) -> None:
        """Wait for news, but no longer than this.

        Raises:
            Interrupted: the requester was stopped.
        """
        now = monotonic()
        if self._read_again_at > now:
            seconds = min(seconds, self._read_again_at - now)
        if self._away_since is not None and self._delay < float("inf"):
            seconds = min(seconds, max(self._away_since + self._delay - now, 0.0))
        self._requester.pause(seconds)
