"""The one thread of a process that talks with the shared log for all its keys.

It hands on what is published, and each third of a lease it claims: renews the leases of what it
leads, takes those that are free, and learns where each log ends, so that a message that was lost is
noticed. Nothing runs while nothing is followed.
"""

from __future__ import annotations

import logging
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable

import attrs

from .._clock import monotonic
from .._http.bell import Bell
from ..errors import TriggerRealtimeError
from .entries import EntryId
from .shared_log import Listener, LogAway, Share, SharedLog, Standing
from .topic import RESIGNED_SECONDS, SAID_SECONDS, Link, Pump, Subject, Topic

logger = logging.getLogger("trigger_realtime_sync")

# Seconds between two attempts to reach a store that is away, doubling.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
# Seconds that the end waits for those who lead, before their connections are closed.
END_SECONDS = 1.0

MakePump = Callable[[Topic], Pump]
StartThread = Callable[[Callable[[], None], str], None]


@attrs.define
class Wanted:
    """What a gateway leads for others: which of the targets in the store are its own to lead."""

    of: Callable[[str, str], Subject | None]


class Hub:
    """Runs that thread.

    Args:
        log: the shared log.
        lease: seconds that a lease lasts.
        leads: whether this process leads at all.
        name: of this process, for people.
        make_pump: makes what leads a key.
        start_thread: starts a thread.
        wanted: for a gateway.

    Attributes:
        away: what is wrong with the store, None while it answers.
    """

    def __init__(
        self,
        log: SharedLog,
        *,
        lease: float,
        leads: bool,
        name: str,
        process: str,
        make_pump: MakePump,
        start_thread: StartThread,
        wanted: Wanted | None = None,
    ) -> None:
        self._log = log
        self._lease = lease
        self._leads = leads
        self._name = name
        self._process = process
        self._make_pump = make_pump
        self._start_thread = start_thread
        self._wanted = wanted
        self.away: str | None = None
        self._failures = 0
        # Protects the topics, and whether the thread runs.
        self._lock = threading.Lock()
        self._topics: dict[str, Topic] = {}
        self._runs = False
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._bell = Bell()
        # Keys whose claim is made before it is due, and leases to be given up.
        self._hints: set[str] = set()
        self._left: list[Topic] = []
        # Those who led, until their threads have ended.
        self._ending: list[Pump] = []
        self._claim_at = 0.0
        self._listener = Listener(self._on_entry, self._on_hint, self._on_joined)

    # On any thread.

    def enter(self, subject: Subject, link: Link) -> Topic:
        """Tell this link what is published of the subject, from now on."""
        key = subject.key
        with self._lock:
            topic = self._topics.get(key)
            is_new = topic is None
            if topic is None:
                topic = self._topics[key] = Topic(subject, key)
            topic.links.append(link)
            starts = not self._runs and not self._stopped
            self._runs |= starts
        if starts:
            self._start_thread(self._run, "sharing")
        if is_new:
            self._log.subscribe([key])
        else:
            link.on_missed()
        return topic

    def leave(self, topic: Topic, link: Link) -> None:
        """Tell it no longer."""
        with self._lock:
            if link in topic.links:
                topic.links.remove(link)
            self._drop_unused()
        self._wake()

    def tell_writer(self, topic: Topic, rank: int) -> None:
        """Let the fleet know what is known here of a stream's writer."""
        if rank > topic.writer:
            topic.writer = rank
            self._hints.add(topic.key)
            self._wake()

    def hint(self, key: str) -> None:
        """Let a claim be made now."""
        self._hints.add(key)
        self._wake()

    def resign(self, topic: Topic, error: TriggerRealtimeError | None) -> None:
        """Lead a key no longer. Called by its pump, on its thread.

        Args:
            error: why this process can't; None where the log tells it to everybody.
        """
        seconds = RESIGNED_SECONDS if error is not None else SAID_SECONDS
        topic.resigned_until = monotonic() + seconds
        try:
            if not self._stopped:
                self._log.release(topic.key, topic.token)
        except LogAway:
            # The lease ends by itself.
            pass
        # Not before: as long as there is a pump, the end waits for it before it closes the log.
        with self._lock:
            topic.token, topic.pump = secrets.token_hex(8), None
            links = list(topic.links)
        if error is not None:
            for link in links:
                link.on_failed(error)

    def topics(self) -> list[Topic]:
        """Return what is led or followed here."""
        with self._lock:
            return list(self._topics.values())

    def start(self) -> None:
        """Run though nothing is followed: for a gateway."""
        with self._lock:
            if self._runs or self._stopped:
                return
            self._runs = True
        # Not by `start_thread`: that may leave it to a janitor, who is there for subscriptions.
        self._thread = threading.Thread(
            target=self._run, name="trigger-realtime sharing", daemon=True
        )
        self._thread.start()

    def join(self, deadline: float) -> None:
        """Wait for what `start` has begun, until a time of `time.monotonic()`."""
        if self._thread is not None:
            self._thread.join(max(deadline - monotonic(), 0.0))

    def stop(self) -> None:
        """End the thread, and give up all leases, soon."""
        self._stopped = True
        for topic in list(self._topics.values()):
            if topic.pump is not None:
                topic.pump.stop()
        self._wake()

    def _wake(self) -> None:
        self._bell.ring()
        self._log.wake()

    def _drop_unused(self) -> None:
        """Under the lock."""
        for key, topic in list(self._topics.items()):
            topic.links = [link for link in topic.links if not link.is_gone]
            if topic.is_unused:
                del self._topics[key]
                self._left.append(topic)

    # On the hub's thread.

    def _run(self) -> None:
        self._claim_at = 0.0
        while not self._is_over():
            try:
                self._round()
                self._came_back()
            except LogAway as error:
                self._went_away(str(error))
            except Exception as error:
                logger.exception("sharing: the hub failed")
                self._went_away(type(error).__name__)

    def _is_over(self) -> bool:
        """Return True, and let another thread be started, if there is nothing to do."""
        with self._lock:
            self._drop_unused()
            if self._stopped:
                self._left += self._topics.values()
                self._topics.clear()
            is_idle = not self._topics and self._wanted is None
        if self._stopped or is_idle:
            self._give_up_left()
            _await_end(self._ending)
        with self._lock:
            is_idle = is_idle and not self._topics and not self._left
            if not self._stopped and not is_idle:
                return False
            # Under the lock: the next thread must not find its connection closed.
            self._log.close()
            self._runs = False
            return True

    def _round(self) -> None:
        self._give_up_left()
        now = monotonic()
        self._bell.clear()
        if now >= self._claim_at:
            self._look_for_wanted()
            self._hints.clear()
            self._claim(self.topics())
            self._claim_at = now + self._lease / 3
        elif due := self._due(now):
            self._claim(due)
        if self._hints or self._left or self._stopped:
            return
        self._log.listen(self._listener, max(self._next_look() - monotonic(), 0.0))

    def _due(self, now: float) -> list[Topic]:
        """Return the topics that are to be claimed before all are."""
        hints = set()
        while self._hints:
            hints.add(self._hints.pop())
        looks = self._leads
        return [one for one in self.topics() if one.key in hints or (looks and one.look_at <= now)]

    def _next_look(self) -> float:
        """Return when a claim is due."""
        looks = [topic.look_at for topic in self.topics()] if self._leads else []
        return min([self._claim_at, *looks])

    def _look_for_wanted(self) -> None:
        if self._wanted is None:
            return
        wanted = self._log.wanted()
        new = []
        with self._lock:
            for key, text in wanted.items():
                topic = self._topics.get(key)
                if topic is None:
                    subject = self._wanted.of(key, text)
                    if subject is None:
                        continue
                    topic = self._topics[key] = Topic(subject, key)
                    new.append(key)
                topic.wanted = True
            for key, topic in self._topics.items():
                topic.wanted = key in wanted
            self._drop_unused()
        if new:
            self._log.subscribe(new)

    def _claim(self, topics: list[Topic]) -> None:
        if not topics:
            return
        # In another order than others: each takes what it comes to first.
        random.shuffle(topics)
        now = monotonic()
        share = Share(
            keys=len(self._topics),
            led=sum(topic.leads for topic in self.topics()),
            late=sum(topic.is_late(now) for topic in topics),
        )
        wants = self._leads and not self._stopped
        claims = [topic.claim(self._name, wants=wants and not topic.leads) for topic in topics]
        for topic in topics:
            if topic.pump is not None:
                topic.pump.before_look()
            for link in list(topic.links):
                link.before_look()
        standings = self._log.claim(self._process, claims, share)
        heard = monotonic()
        for topic, standing in zip(topics, standings, strict=True):
            self._on_standing(topic, standing, heard)

    def _on_standing(self, topic: Topic, standing: Standing, now: float) -> None:
        topic.stands(standing, now)
        mine, pump = standing.token == topic.token, topic.pump
        if pump is not None and (pump.ended or not mine):
            self._end(pump)
            topic.pump = pump = None
            if not mine:
                topic.token = secrets.token_hex(8)
        if mine and pump is None and not self._stopped:
            pump = topic.pump = self._make_pump(topic)
            self._start_thread(pump.run, f"leader {topic.subject.label}")
        if pump is not None:
            pump.on_writer(standing.writer)
            pump.on_tail(standing.tail)
        trouble = self._trouble_of(topic, now)
        for link in list(topic.links):
            link.on_tail(standing.tail)
            link.on_health(trouble, topic.contact)

    def _trouble_of(self, topic: Topic, now: float) -> str | None:
        if topic.leader_in_trouble:
            return "its leader waits for another attempt"
        if topic.standing and topic.standing.token is None:
            seconds = now - topic.unled_since
            if seconds > 2 * self._lease:
                return f"nobody has led it for {seconds:.0f} s: is a gateway running?"
        return None

    def _give_up_left(self) -> None:
        with self._lock:
            left, self._left = self._left, []
        keys = [topic.key for topic in left if topic.key not in self._topics]
        for topic in left:
            if topic.pump is not None:
                self._end(topic.pump)
        try:
            self._log.unsubscribe(keys)
            for topic in left:
                if topic.pump is not None:
                    self._log.release(topic.key, topic.token)
        except LogAway:
            # The leases end by themselves.
            return

    def _end(self, pump: Pump) -> None:
        pump.stop()
        self._ending = [one for one in (*self._ending, pump) if not one.ended]

    def _went_away(self, why: str) -> None:
        first, self.away = self.away is None, why
        level = logging.WARNING if first else logging.INFO
        logger.log(level, "sharing: the store does not answer: %s; trying again", why)
        for topic in self.topics():
            for link in list(topic.links):
                link.on_health(f"the store of the fleet does not answer: {why}", None)
        self._failures += 1
        pause = min(FIRST_PAUSE * 2**self._failures, LONGEST_PAUSE)
        if not self._stopped:
            self._bell.wait(random.uniform(pause / 2, pause))
            self._bell.clear()
        self._claim_at = 0.0

    def _came_back(self) -> None:
        self._failures = 0
        if self.away is None:
            return
        self.away = None
        logger.info("sharing: the store answers again")
        for topic in self.topics():
            for link in list(topic.links):
                link.on_missed()
                link.on_health(self._trouble_of(topic, monotonic()), topic.contact)

    def _of(self, key: str) -> Iterable[Link]:
        topic = self._topics.get(key)
        return list(topic.links) if topic is not None else ()

    def _on_entry(self, key: str, id_: EntryId, blob: bytes) -> None:
        for link in self._of(key):
            link.on_entry(id_, blob)

    def _on_hint(self, key: str) -> None:
        self._hints.add(key)

    def _on_joined(self, key: str) -> None:
        self._hints.add(key)
        for link in self._of(key):
            link.on_missed()


def _await_end(pumps: list[Pump]) -> None:
    ends = monotonic() + END_SECONDS
    while not all(pump.ended for pump in pumps) and monotonic() < ends:
        time.sleep(0.005)
