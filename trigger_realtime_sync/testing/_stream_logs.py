"""The logs of the streams of all runs: Redis entries (v1) and S2 records (v2)."""

from __future__ import annotations

import itertools
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ._redis_log import END_OF_STREAM, RedisLog
from ._replies import to_json
from ._s2_log import Ending, S2Log, trim_body, trim_command
from ._store import Store, Subject

StreamVersion = Literal["v1", "v2"]
# A run's id and the key of its stream.
StreamName = tuple[str, str]


def subject_of(stream: StreamName) -> Subject:
    return ("stream", *stream)


class StreamLogs:
    """The log of every stream of every run. Safe from any thread.

    Attributes:
        storage_is_up: False while S2 can't be reached.
    """

    def __init__(self, version: StreamVersion, store: Store) -> None:
        self.version = version
        self.storage_is_up = True
        self._store = store
        # Runs with v1 streams on a server that has S2. Grows only.
        self._born_v1: set[str] = set()
        self._envelope_ids = itertools.count(1)
        self._envelope_prefix = secrets.token_hex(3)
        # Protects the two dictionaries, not the logs in them.
        self._lock = threading.Lock()
        self._redis: dict[StreamName, RedisLog] = {}
        self._s2: dict[StreamName, S2Log] = {}

    def bear_v1(self, run_id: str) -> None:
        """Let a run have v1 streams, as one whose trigger did not ask for v2
        (docs/protocol.md, section R1).
        """
        self._born_v1.add(run_id)

    def version_of(self, stream: StreamName) -> StreamVersion:
        return "v1" if stream[0] in self._born_v1 else self.version

    # --- reading

    def redis(self, stream: StreamName) -> RedisLog:
        with self._lock:
            return self._redis.setdefault(stream, RedisLog())

    def s2(self, stream: StreamName) -> S2Log:
        """Return the stream's log, which is created where there is none."""
        with self._lock:
            return self._s2.setdefault(stream, S2Log())

    def records(self, stream: StreamName) -> list[dict[str, Any]]:
        """Return the records that are left, as S2 shows them."""
        log = self.s2(stream)
        return [json.loads(record.json) for record in log.left()]

    def has_s2(self, stream: StreamName) -> bool:
        with self._lock:
            return stream in self._s2

    # --- writing

    def append(self, stream: StreamName, parts: Sequence[Any]) -> None:
        if self.version_of(stream) == "v1":
            self.append_raw(stream, [to_json(part).decode() + "\n" for part in parts])
        else:
            bodies = [{"data": part, "id": self.envelope_id()} for part in parts]
            self.append_records(stream, [{"body": body} for body in bodies])

    def append_raw(self, stream: StreamName, texts: Sequence[str]) -> list[str]:
        self._open("v1", stream)
        ids = self.redis(stream).append(texts)
        self._wake(stream)
        return ids

    def end(self, stream: StreamName) -> None:
        self.append_raw(stream, [END_OF_STREAM])

    def append_records(self, stream: StreamName, records: Sequence[Mapping[str, Any]]) -> list[int]:
        self._open("v2", stream)
        seq_nums = self.s2(stream).append(records)
        self._wake(stream)
        return seq_nums

    def write(self, stream: StreamName, records: Sequence[Mapping[str, Any]]) -> list[int]:
        """Write records to a stream that is no run's. Return their numbers."""
        self._need("v2")
        seq_nums = self.s2(stream).append(records)
        self._wake(stream)
        return seq_nums

    def trim(self, stream: StreamName, keep: int) -> None:
        (self.redis if self.version_of(stream) == "v1" else self.s2)(stream).trim(keep)

    def trim_before(self, stream: StreamName, seq_num: int) -> int:
        return self.append_records(stream, [trim_command(trim_body(seq_num))])[0]

    # --- trouble of S2

    def delete(self, stream: StreamName) -> None:
        self._need("v2")
        with self._lock:
            log = self._s2.pop(stream, None)
        if log is not None:
            log.delete()
        self._wake(stream)

    def rewind(self, stream: StreamName, to: int) -> None:
        self._need("v2")
        self.s2(stream).rewind(to)
        self._wake(stream)

    def end_bodies(self, ending: Ending) -> None:
        """End the body of every stream that is read."""
        self._need("v2")
        with self._lock:
            logs = list(self._s2.values())
        for log in logs:
            log.end_bodies(ending)
        self._store.wake()

    def _need(self, version: StreamVersion) -> None:
        if self.version != version:
            raise ValueError(f"the streams of this server are {self.version}, not {version}")

    def _open(self, version: StreamVersion, stream: StreamName) -> None:
        if self.version_of(stream) != version:
            raise ValueError(f"the streams of this run are {self.version_of(stream)}")
        self._store.add_stream(*stream)

    def _wake(self, stream: StreamName) -> None:
        self._store.wake([subject_of(stream)])

    def envelope_id(self) -> str:
        """Return a fresh id for a part."""
        return f"{self._envelope_prefix}{next(self._envelope_ids):x}"
