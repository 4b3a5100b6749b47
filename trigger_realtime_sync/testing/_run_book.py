"""What the server knows of a run beyond its row, and the keys by which it finds one again."""

from __future__ import annotations

import threading
import time
from typing import Any

import attrs

from ._payloads import Packet, value_of
from ._replies import Refused
from ._store import Store
from ._trigger_options import Wanted

# Seconds that the id of a request is remembered.
_REQUEST_SECONDS = 86_400
# A run that ended so gives its idempotency key free: docs/protocol.md, section R2.
_GIVES_KEY_FREE = frozenset(
    {"COMPLETED_WITH_ERRORS", "CRASHED", "TIMED_OUT", "SYSTEM_FAILURE", "EXPIRED", "INTERRUPTED"}
)
# An environment, a task, and a key in it.
Key = tuple[str, str, str]


@attrs.frozen
class Triggered:
    """One trigger that was accepted, as it was asked for.

    Attributes:
        task: the task's id.
        payload: what the task gets, in Python's types.
        options: as they were sent.
        token: the access token of the request.
        run_id: the run that the answer named.
        is_cached: the run was there already.
        request_id: what the client called the request; None if it did not.
        batch_id: the batch that the run came with, if it did.
    """

    task: str
    payload: Any
    options: dict[str, Any]
    token: str = attrs.field(repr=False)
    run_id: str
    is_cached: bool = False
    request_id: str | None = None
    batch_id: str | None = None


@attrs.define(kw_only=True)
class RunFacts:
    """A run's options, as the server understood them, and where the run came from."""

    task: str
    wanted: Wanted = attrs.field(factory=Wanted)
    packet: Packet = (None, "application/json")
    batch_id: str | None = None

    @property
    def user_key(self) -> str | None:
        """The idempotency key as the user wrote it, if the client said so."""
        written = (self.wanted.key_options or {}).get("key")
        if isinstance(written, list):
            return "-".join(map(str, written))
        return str(written) if written else self.wanted.idempotency_key

    @property
    def queue(self) -> str:
        return self.wanted.queue or f"task/{self.task}"


class RunBook:
    """Facts of runs, and keys to them. Guarded by the store's lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock: threading.RLock = store.lock
        self._facts: dict[str, RunFacts] = {}
        self._triggered: list[Triggered] = []
        # The run of a key, and when the key ends (seconds of the epoch).
        self._keys: dict[Key, tuple[str, float]] = {}
        self._requests: dict[Key, tuple[str, float]] = {}
        self._uses: set[str] = set()

    # --- runs

    def add(self, run_id: str, facts: RunFacts) -> None:
        with self._lock:
            self._facts[run_id] = facts

    def facts(self, run_id: str) -> RunFacts:
        """Return the facts of a run, also of one that the test made."""
        with self._lock:
            if run_id not in self._facts:
                row = self._store.need(run_id).row
                packet = (row.get("payload"), row.get("payloadType") or "application/json")
                task = row.get("taskIdentifier") or ""
                batch = self._store.need(run_id).batch
                return RunFacts(task=task, packet=packet, batch_id=batch)
            return self._facts[run_id]

    def payload(self, packet: Packet) -> Any:
        """Return what a task gets of the packet, which may be in the object store."""
        text, payload_type = packet
        if payload_type != "application/store":
            return value_of(packet)
        data, stored_type = self._store.packets.get(text or "", (b"", ""))
        return value_of((data.decode("utf-8", "replace"), stored_type.partition(";")[0].strip()))

    def note(self, triggered: Triggered) -> None:
        with self._lock:
            self._triggered.append(triggered)

    def triggered(self, task: str | None) -> list[Triggered]:
        with self._lock:
            return [one for one in self._triggered if task is None or one.task == task]

    # --- idempotency keys

    def keyed(self, key: Key) -> str | None:
        """Return the run of the key, which is cleared if it is too old or its run has failed."""
        with self._lock:
            run_id, ends = self._keys.get(key, ("", 0.0))
            state = self._store.get(run_id)
            if state is None or ends <= time.time() or state.row["status"] in _GIVES_KEY_FREE:
                self._keys.pop(key, None)
                return None
            return run_id

    def keep_key(self, key: Key, run_id: str, seconds: float) -> None:
        with self._lock:
            self._keys[key] = (run_id, time.time() + seconds)

    def reset_key(self, key: Key) -> bool:
        """Forget the key. Return False if there is none."""
        with self._lock:
            return self._keys.pop(key, None) is not None

    # --- requests

    def requested(self, key: Key) -> str | None:
        """Return the run of an earlier attempt of the same request."""
        with self._lock:
            run_id, ends = self._requests.get(key, ("", 0.0))
            return run_id if ends > time.time() else None

    def keep_request(self, key: Key, run_id: str) -> None:
        with self._lock:
            self._requests[key] = (run_id, time.time() + _REQUEST_SECONDS)

    # --- one-time tokens

    def spend(self, use: str | None, message: str) -> None:
        """Note the use of a one-time token.

        Raises:
            Refused: it was used before.
        """
        if use is None:
            return
        with self._lock:
            if use in self._uses:
                raise Refused(422, {"error": message})
            self._uses.add(use)
