"""One key of a process: what is read, who follows it here, and whether this process leads it."""

from __future__ import annotations

import hashlib
import json
import math
import random
import secrets
import time
from typing import Protocol

import attrs

from .._channel.target import Target
from .._clock import monotonic
from .._wire.names import stream_path
from ..errors import TriggerRealtimeError
from .entries import EntryId
from .shared_log import Claim, Standing

# Seconds for which a process that could not lead a key does not try again.
RESIGNED_SECONDS = 30.0
# ... and one whose error the log has told to everybody: they leave it.
SAID_SECONDS = 1.0
# Seconds for which a process leaves keys beyond its share to others, drawn at random.
LEAST_POSTPONED = 0.1
MOST_POSTPONED = 0.5
# Every so many claims it is said what is read. The store forgets it after nine.
DESCRIBED_EVERY = 3
# Seconds after the end of another one's lease that it is looked at.
AFTER_LEASE = 0.02


@attrs.frozen
class Subject:
    """What is read: the runs of a target, or one stream.

    Attributes:
        target: of the runs, or of the subscription that reads the stream.
        stream: the run's id and the stream's key, None for runs.
        branch: the preview branch.
        audience: who may read it.
    """

    target: Target
    stream: tuple[str, str] | None
    branch: str | None
    audience: str

    @property
    def label(self) -> str:
        """Its name in thread names, errors and logs."""
        if self.stream is not None:
            return f"stream {self.stream[1]} of run {self.stream[0]}"
        target = self.target
        return f"{'run' if target.is_single else target.kind} {target.subject}"

    @property
    def path(self) -> str:
        """The path that is asked for."""
        return self.target.path if self.stream is None else stream_path(*self.stream)

    @property
    def key(self) -> str:
        """The key of its log: another one for another answer, and for whoever may see it."""
        query = () if self.stream is not None else self.target.query
        parts = [self.target.base_url, self.branch, self.path, _sorted(query), self.audience]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def described(self) -> str:
        """Return it as text, for those who lead what they do not follow."""
        target = self.target
        return json.dumps(
            {
                "kind": "run" if target.is_single else target.kind,
                "subject": target.subject,
                "path": target.path,
                "query": target.query,
                "base_url": target.base_url,
                "stream": self.stream,
                "branch": self.branch,
                "audience": self.audience,
            }
        )


def _sorted(query: tuple[tuple[str, str], ...]) -> list[tuple[str, list[str]]]:
    return sorted((name, sorted(text.split(","))) for name, text in query)


class Link(Protocol):
    """A follower. Called on the hub's thread; none of these blocks."""

    @property
    def is_gone(self) -> bool:
        """Whether nobody waits for it any more."""

    def on_entry(self, id_: EntryId, blob: bytes) -> None:
        """Called when an entry was published."""

    def on_missed(self) -> None:
        """Called when something may not have been published, or not for us."""

    def before_look(self) -> None:
        """Called before it is asked where the log ends."""

    def on_tail(self, tail: EntryId | None) -> None:
        """Called with the id of the last entry, each third of a lease."""

    def on_health(self, trouble: str | None, contact: float | None) -> None:
        """Called with what is wrong, if anything, and when the server last answered the leader
        (epoch seconds)."""

    def on_failed(self, error: TriggerRealtimeError) -> None:
        """Called when this process can't lead, by an error that is its own."""


class Pump(Protocol):
    """What leads one key, on a thread of its own."""

    @property
    def contact(self) -> float:
        """When the server last answered (epoch seconds), 0 if it never did."""

    @property
    def in_trouble(self) -> bool:
        """Whether it waits for another attempt."""

    @property
    def ended(self) -> bool:
        """Whether it leads no longer."""

    def run(self) -> None:
        """Lead, until it is stopped or can't."""

    def stop(self) -> None:
        """End it. Safe from any thread."""

    def on_writer(self, rank: int) -> None:
        """Note what the fleet knows of a stream's writer."""

    def before_look(self) -> None:
        """Called before it is asked where the log ends."""

    def on_tail(self, tail: EntryId | None) -> None:
        """Note the log's tail, which is before its own where the store lost something."""


@attrs.define(eq=False)
class Topic:
    """See above. Everything is protected by the hub's lock, or is its thread's own.

    Attributes:
        subject: what is read.
        key: of the log.
        links: who follows it here.
        wanted: whether others follow it, and this process leads for them.
        token: of the lease that it holds, or would hold.
        pump: leads, or None.
        writer: what is known here of a stream's writer.
        standing: the last answer.
        heard_at: when that was.
        unled_since: since when nobody leads.
        postponed_until: before that it takes no lease beyond its share.
        resigned_until: before that it takes no lease at all.
        claims: how many were made.
        place: how many parts of a stream this process read, and where that is.
    """

    subject: Subject
    key: str
    links: list[Link] = attrs.field(factory=list)
    wanted: bool = False
    token: str = attrs.field(factory=lambda: secrets.token_hex(8))
    pump: Pump | None = None
    writer: int = 0
    standing: Standing | None = None
    heard_at: float = 0.0
    unled_since: float = attrs.field(factory=monotonic)
    postponed_until: float | None = None
    resigned_until: float = 0.0
    claims: int = 0
    place: tuple[int, str] | None = None

    def note(self, place: tuple[int, str] | None) -> None:
        """Note where this process is in the stream, unless that is behind. Safe from any thread: a
        place that is lost is read again."""
        if place is not None and (self.place is None or place[0] > self.place[0]):
            self.place = place

    def stands(self, standing: Standing, now: float) -> None:
        """Note how it stands."""
        self.standing, self.heard_at = standing, now
        if standing.token is not None:
            self.unled_since, self.postponed_until = now, None
        elif self.postponed_until is None or now >= self.postponed_until:
            self.postponed_until = now + random.uniform(LEAST_POSTPONED, MOST_POSTPONED)

    def is_late(self, now: float) -> bool:
        """Return True if it was left to others for long enough."""
        return self.postponed_until is not None and now >= self.postponed_until

    @property
    def look_at(self) -> float:
        """When its lease may be free, by the monotonic clock."""
        if self.leads or self.standing is None:
            return math.inf
        if self.standing.token is None:
            return max(self.postponed_until or 0.0, self.resigned_until)
        return self.heard_at + self.standing.left + AFTER_LEASE

    @property
    def leads(self) -> bool:
        return self.pump is not None and not self.pump.ended

    @property
    def is_unused(self) -> bool:
        return not self.links and not self.wanted

    def claim(self, name: str, *, wants: bool) -> Claim:
        """Return what to say of it.

        Args:
            name: of this process, for people.
            wants: whether it would lead.
        """
        pump = self.pump
        contact = pump.contact if pump is not None else 0.0
        health = "trouble" if pump is not None and pump.in_trouble else "well"
        return Claim(
            key=self.key,
            token=self.token,
            wants=wants and monotonic() >= self.resigned_until,
            holds=self.leads,
            says=f"{contact * 1000:.0f} {health} {name}",
            writer=self.writer,
            target=self._described(),
            follows=bool(self.links),
        )

    def _described(self) -> str:
        """Return what is read, one time in three: in between the store keeps it alive."""
        self.claims += 1
        return self.subject.described() if self.claims % DESCRIBED_EVERY == 1 else ""

    @property
    def leader(self) -> str | None:
        """Who leads, for people."""
        words = self.standing.says.split(" ", 2) if self.standing and self.standing.token else []
        return words[2] if len(words) == 3 else None

    @property
    def contact(self) -> float | None:
        """When the server last answered the leader (epoch seconds)."""
        if self.leads and self.pump is not None and self.pump.contact:
            return self.pump.contact
        words = self.standing.says.split(" ") if self.standing and self.standing.token else []
        milliseconds = int(words[0]) if words and words[0].isdigit() else 0
        return min(milliseconds / 1000, time.time()) if milliseconds else None

    @property
    def leader_in_trouble(self) -> bool:
        if self.leads and self.pump is not None:
            return self.pump.in_trouble
        words = self.standing.says.split(" ") if self.standing and self.standing.token else []
        return len(words) > 1 and words[1] == "trouble"
