"""A world whose streams lose something: what was lost, and who must have been told so."""

from __future__ import annotations

import time
from typing import Any

from tests.chaos.world import Watcher, World

# Seconds until those who follow a stream have told what was written, so that it can be lost.
SETTLED_SECONDS = 15.0
Stream = tuple[str, str]


class WorldOfStreams(World):
    """What worlds of both formats share.

    Attributes:
        lost: the streams of which parts were trimmed, or lost by the storage.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lost: set[Stream] = set()

    def _write_to(self, stream: Stream, count: int) -> None:
        number = len(self.written[stream])
        parts = [self._part(number + n) for n in range(count)]
        self.written[stream] += parts
        self._append(*stream, parts)

    def _settle(self, stream: Stream, seconds: float) -> bool:
        """Wait until all who follow a stream have told its last part. Return False if not."""
        end = time.monotonic() + seconds
        last = self.written[stream][-1]
        while time.monotonic() < end:
            if all(parts and parts[-1] == last for parts in self._told(*stream)):
                return True
            time.sleep(0.02)
        return False

    def _told(self, run: str, key: str) -> list[list[Any]]:
        """Return what each one who follows a stream has been told of it."""
        of_many = "streams of a tag"
        following = (f"streams {run}", of_many, f"stream {key} of {run}")
        return [
            watcher.parts.get((run if watcher.name == of_many else "", key), [])
            for watcher in self.watchers
            if watcher.name in following
        ]

    def finish(self) -> None:
        """Leave a part in every stream, if only one, so that each is told."""
        for stream in self.lost:
            self._write_to(stream, 1)
        self._end_writing()
        super().finish()

    def _end_writing(self) -> None:
        """Do what writers do when they are done: nothing."""

    @staticmethod
    def _losses(watcher: Watcher, run: str, key: str) -> list[Any]:
        """Return the losses of one stream that a subscription was told of."""
        return [one for one in watcher.losses if (one.run_id, one.stream) == (run, key)]
