"""Batches that clients fill: first the count, then the items (docs/protocol.md, section R5)."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import Any

import attrs

from ._access import Caller
from ._bodies import MIB
from ._control import RunControl
from ._payloads import stored_of_item
from ._replies import Refused
from ._run_book import RunBook
from ._run_life import RunLife
from ._settings import RoundTrip
from ._store import StoredBatch, now
from ._trigger_options import check_shape
from ._triggers import Ask, Triggers
from ._validation import Problems

_LARGEST_ITEM = 3 * MIB
# Seconds that a batch's key is found again; it is never free, though.
_KEY_SECONDS = 86_400
_SPENT = "Cannot create batch with a one-time use token as it has already been used."


@attrs.define
class FilledBatch:
    """A batch between its two steps, and after them.

    Attributes:
        accepted: the indexes of the items that came.
        processed: how many of them became a run, or an error.
    """

    id: str
    environment: str
    run_count: int
    tasks: tuple[str, ...]
    key: str | None
    v2_streams: bool
    created: float = attrs.field(factory=time.time)
    accepted: set[int] = attrs.field(factory=set)
    processed: int = 0

    @property
    def sealed(self) -> bool:
        return len(self.accepted) == self.run_count


class Batches:
    """Makes batches, and runs of their items. Safe from any thread."""

    def __init__(
        self,
        runs: RunControl,
        book: RunBook,
        life: RunLife,
        triggers: Triggers,
        settings: RoundTrip,
    ) -> None:
        self._runs = runs
        self._store = runs._store
        self._book = book
        self._life = life
        self._triggers = triggers
        self._settings = settings
        # Guarded by the store's lock.
        self._batches: dict[str, FilledBatch] = {}
        self._keys: dict[tuple[str, str], FilledBatch] = {}

    # --- the first step

    def create(
        self,
        caller: Caller,
        run_count: int,
        tasks: tuple[str, ...],
        key: str | None,
        *,
        v2_streams: bool,
    ) -> tuple[FilledBatch, bool]:
        """Return the batch, and whether it was there already.

        Raises:
            Refused: by a rule.
        """
        with self._store.lock:
            found = self._keys.get((caller.environment, key)) if key else None
            if found is not None:
                return self._again(found, tasks), True
            self._book.spend(caller.use, _SPENT)
            batch_id = f"batch_{secrets.token_hex(11)}"
            batch = FilledBatch(batch_id, caller.environment, run_count, tasks, key, v2_streams)
            self._batches[batch.id] = batch
            if key:
                self._keys[caller.environment, key] = batch
            self._store.batches[batch.id] = StoredBatch(batch.id, run_count, key=key)
            return batch, False

    def _again(self, batch: FilledBatch, tasks: tuple[str, ...]) -> FilledBatch:
        if batch.tasks != tasks or batch.created + _KEY_SECONDS <= time.time():
            message = "A batch has already been created with the same idempotency key"
            raise Refused(422, {"error": message})
        return batch

    # --- the second step

    def need(self, batch_id: str, caller: Caller) -> FilledBatch:
        """Return a batch that can be filled.

        Raises:
            Refused: there is none, or it takes no items any more.
        """
        with self._store.lock:
            batch = self._batches.get(batch_id)
            if batch is None or batch.environment != caller.environment:
                raise Refused(422, {"error": f"Batch {batch_id} not found"})
            aborted = self._store.batches[batch_id].status == "ABORTED"
            if aborted or (batch.sealed and not self._settings.answers_sealed):
                raise Refused(422, {"error": f"Batch {batch_id} is not in PENDING status"})
            return batch

    def add(self, batch: FilledBatch, item: Any, line: int, size: int, caller: Caller) -> bool:
        """Take an item. Return False if it is there already.

        Raises:
            Refused: the item is malformed. Those before it are in.
        """
        index = self._check(batch, item, line)
        caller.need("batchTrigger", ("tasks", item["task"]))
        with self._store.lock:
            if index in batch.accepted:
                return False
            batch.accepted.add(index)
        options = item.get("options", {})
        ask = Ask(
            task=item["task"],
            packet=stored_of_item(item, options.get("payloadType")),
            options=options,
            caller=caller,
            batch_id=batch.id,
            v2_streams=batch.v2_streams,
        )
        # Made after the answer, in the background.
        self._life.after(
            self._settings.batch_seconds,
            partial(self._make, batch, index, ask, too_large=size > _LARGEST_ITEM),
        )
        return True

    def _check(self, batch: FilledBatch, item: Any, line: int) -> int:
        problems = Problems()
        index: Any = line
        if problems.expect(item, "object", "item"):
            index = item.get("index", line)
            problems.expect_natural(item.get("index", ...), "index")
            problems.expect(item.get("task", ...), "string", "task")
            if "options" in item:
                check_shape(item["options"], problems)
        if problems.text:
            raise Refused(422, {"error": f"Invalid item at index {index}: {problems.text}"})
        if index >= batch.run_count:
            message = f"Item index {index} exceeds batch runCount {batch.run_count}"
            raise Refused(422, {"error": message})
        return int(index)

    # --- the runs

    def _make(self, batch: FilledBatch, index: int, ask: Ask, *, too_large: bool) -> None:
        try:
            if too_large:
                self._fail(batch, ask)
            else:
                made = self._triggers.trigger(ask)
                if made.is_cached:
                    self._runs.batch_add(batch.id, reused=[made.run_id])
        except Refused as refused:
            error = {"index": index, "taskIdentifier": ask.task, "error": refused.text}
            self._runs.batch_add(batch.id, errors=[error])
        with self._store.lock:
            batch.processed += 1
            if batch.processed == batch.run_count:
                self._finish(batch)

    def _fail(self, batch: FilledBatch, ask: Ask) -> None:
        run_id = self._runs.create_run(ask.task, batch=batch.id)
        self._runs.fail_run(run_id, "PAYLOAD_TOO_LARGE", status="SYSTEM_FAILURE")

    def _finish(self, batch: FilledBatch) -> None:
        stored = self._store.batches[batch.id]
        if stored.errors:
            stored.status = "PARTIAL_FAILED" if stored.runs else "ABORTED"
        stored.completed_at = now()
