"""A world whose streams are in Redis: trims, and servers before 4.1.2."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.chaos.world import Watcher, difference
from tests.chaos.world_of_streams import SETTLED_SECONDS, Stream, WorldOfStreams
from tests.support.waiting import eventually

# Parts that are written while nobody can read, and how many of them a trim leaves.
LOST, LEFT = 20, 5
# The last parts that a reader goes back to: as long as they are there, it knows that no part is
# missing.
NEEDED = 2


class WorldOfRedis(WorldOfStreams):
    """What happens to the streams of v1 as well.

    Within a body nothing tells what was trimmed before the server had read it (docs/protocol.md,
    section 4). So unread parts are lost only while no body is open, and storms trim what all have
    told.

    Attributes:
        unread: the parts that were trimmed before anybody could read them.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.unread: defaultdict[Stream, list[Any]] = defaultdict(list)

    # --- what happens

    def _actions(self) -> dict[Callable[[], None], float]:
        return {**super()._actions(), self._trim: 3}

    def _trim(self) -> None:
        """Drop parts that everybody has told."""
        streams = [one for one, parts in self.written.items() if parts]
        if not streams:
            return
        stream = self.rng.choice(streams)
        written = self.written[stream]
        told = min(written.index(parts[-1]) + 1 if parts else 0 for parts in self._told(*stream))
        more = self.rng.choice([0, 1, 10])
        if told > NEEDED + more:
            self.lost.add(stream)
            self.server.trim(*stream, keep=len(written) - told + NEEDED + more)

    def lose_streams(self) -> None:
        """Trim parts of one stream that nobody has read: no body is open meanwhile."""
        stream = next(iter(self.written))
        self._write_to(stream, LOST)
        if not self._settle(stream, SETTLED_SECONDS):
            return
        is_back = threading.Event()
        self.server.fail_next(
            times=10**6,
            match=lambda request: request.kind == "stream" and not is_back.is_set(),
            status=503,
        )
        self.server.drop_connections()
        eventually(lambda: not self.server.open_streams, "bodies are open")
        self._write_to(stream, LOST)
        self.lost.add(stream)
        self.unread[stream] += self.written[stream][-LOST:-LEFT]
        self.server.trim(*stream, keep=LEFT)
        is_back.set()

    def _end_writing(self) -> None:
        """Let the writers say that they are done, without which an old server ends no body."""
        for stream, parts in self.written.items():
            if parts:
                self.server.end_stream(*stream)

    # --- what must hold

    def _difference(self, watcher: Watcher, run: str, key: str, parts: list[Any]) -> str:
        """Every part is told that could be read, in order, and a loss where one was.

        With ids each comes once. Without, a reader can't tell what is new once what it has read is
        not there any more: it is told that, and then all that is left again.
        """
        unread = self.unread[(run, key)]
        expected = [part for part in self.written[(run, key)] if part not in unread]
        losses = self._losses(watcher, run, key)
        if unread and not losses:
            return "parts are missing without a word"
        if self.habits.stream_ids:
            is_false = losses and not unread
            return difference(parts, expected) or ("told of a loss" if is_false else "")
        return _difference_without_ids(parts, expected, len(losses))

    def _ends_unwritten(self) -> bool:
        # Only its writer ends a body of an old server, and it has none.
        return self.habits.stream_ids


def _difference_without_ids(parts: list[Any], expected: list[Any], losses: int) -> str:
    places = {repr(part): place for place, part in enumerate(expected)}
    told = [places.get(repr(part), -1) for part in parts]
    if -1 in told:
        return f"told what could not be read: {parts[told.index(-1)]!r:.60}"
    if missing := set(places.values()) - set(told):
        return f"parts {min(missing)} to {max(missing)} of {len(expected)} are missing"
    again = sum(later != earlier + 1 for earlier, later in itertools.pairwise(told))
    return f"begins {again} times again, but tells {losses} losses" if again > losses else ""
