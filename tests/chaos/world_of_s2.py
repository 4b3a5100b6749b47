"""A world whose streams are in S2: retried writes, commands, trims, interruptions and losses."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tests.chaos.world import Watcher, difference
from tests.chaos.world_of_streams import SETTLED_SECONDS, Stream, WorldOfStreams
from trigger_realtime_sync import StreamRewound

# Records that are lost of a stream, and writes after that, of fewer records: one after the other,
# since an old S2 shows a loss only by what is written to those who follow.
LOST, WRITES_AFTER, NOTICED_SECONDS = 20, 8, 2.0


class WorldOfS2(WorldOfStreams):
    """What happens to the streams of v2 as well.

    Attributes:
        restored: the stream that the storage lost, and how many of its parts everybody had told.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.restored: dict[Stream, int] = {}
        self._idents = itertools.count()
        # The numbers at which a write and its repetition have ended: a trim between the two would
        # turn the order of their parts.
        self._ends: defaultdict[Stream, list[int]] = defaultdict(lambda: [0])

    # --- what happens

    def _actions(self) -> dict[Callable[[], None], float]:
        return {**super()._actions(), self._trouble_s2: 13}

    def _append(self, run: str, key: str, parts: list[Any]) -> None:
        """Write the parts, and sometimes again, as the SDK's writer does after a lost answer."""
        records = [{"body": {"data": part, "id": f"c{next(self._idents)}"}} for part in parts]
        for _ in range(self.rng.choice([1, 1, 1, 2])):
            numbers = self.server.append_records(run, key, *records)
        self._ends[(run, key)].append(numbers[-1] + 1)

    def _trouble_s2(self) -> None:
        what = self.rng.random()
        streams = [one for one, parts in self.written.items() if parts]
        if what < 0.2:
            self.server.interrupt_streams()
        elif what < 0.3:
            self.server.stop_storage()
            time.sleep(self.rng.uniform(0.0, 0.2))
            self.server.start_storage()
        elif what < 0.5:
            bytes_before = self.rng.choice([0, 1, 40, 400, 4000])
            seconds = self.rng.choice([0.1, 0.5, 2.0])
            self.server.fail_next(match="stream", silence=(bytes_before, seconds))
        elif streams:
            self._write_no_part(*self.rng.choice(streams), self.rng.random())

    def _write_no_part(self, run: str, key: str, what: float) -> None:
        if what < 0.4:
            fence = {"headers": [["", "fence"]], "body": "token"}
            self.server.append_records(run, key, fence)
        elif what < 0.8:
            control = {"headers": [["trigger-control", "turn-complete"]]}
            self.server.append_records(run, key, control)
        else:
            self.lost.add((run, key))
            self.server.trim_before(run, key, self.rng.choice(self._ends[(run, key)][-4:]))

    def lose_streams(self) -> None:
        """Put one stream back, as a restored volume does, or delete it while it is read.

        Those who follow it have read it all, and less is written than was lost: else nobody could
        tell (docs/protocol.md, section 4).
        """
        stream = next(iter(self.written))
        self._write_to(stream, LOST)
        if not self._settle(stream, SETTLED_SECONDS):
            # Whoever has not read it all loses parts of which nothing can tell.
            return
        self.lost.add(stream)
        self.restored[stream] = len(self.written[stream])
        if self.habits.deletes_streams:
            self.server.delete_stream(*stream)
        else:
            end = self.server.append_records(*stream, {"headers": [["", "fence"]], "body": ""})[0]
            self.server.rewind_stream(*stream, max(0, end - LOST))
        for _ in range(WRITES_AFTER):
            self._write_to(stream, 1)
            if self._settle(stream, NOTICED_SECONDS):
                return

    # --- what must hold

    def _difference(self, watcher: Watcher, run: str, key: str, parts: list[Any]) -> str:
        """Of a stream that lost something: no part twice, none out of order, and a word where parts
        are missing after the first that was told. What is gone before that nobody asked for."""
        stream = (run, key)
        written, losses = self.written[stream], self._losses(watcher, run, key)
        if stream not in self.lost:
            return difference(parts, written) or ("told of a loss" if losses else "")
        told = set(map(repr, parts))
        places = [place for place, part in enumerate(written) if repr(part) in told]
        expected = [written[place] for place in places]
        if parts != expected:
            return f"of those told: {difference(parts, expected)}"
        missing = set(range(places[0], len(written))) - set(places)
        if missing and not losses:
            return f"parts {min(missing)} to {max(missing)} are missing without a word"
        return self._difference_after_restoring(stream, missing, losses)

    def _difference_after_restoring(
        self, stream: Stream, missing: set[int], losses: list[Any]
    ) -> str:
        """All that was written after it is told, and the loss itself."""
        if stream not in self.restored:
            return ""
        if lost := [place for place in missing if place >= self.restored[stream]]:
            return f"parts {min(lost)} to {max(lost)}, written after the loss, are missing"
        if not any(isinstance(one, StreamRewound) for one in losses):
            return "the storage lost the stream without a word"
        return ""

    def _ends_unwritten(self) -> bool:
        return self.habits.creates_streams
