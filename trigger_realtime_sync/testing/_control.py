"""The owner's side of the server: runs, batches and packets, changed at will from any thread."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ._rows import EXECUTING, server_status, timestamp
from ._store import Batch, Store, now
from ._stream_logs import StreamLogs, StreamVersion

_UNSET: Any = object()


class RunControl:
    """The part of `RealtimeServer` that plays the tasks. Every change wakes the held polls."""

    def __init__(self, streams: StreamVersion) -> None:
        if streams not in ("v1", "v2"):
            raise ValueError(f"streams must be 'v1' or 'v2', not {streams!r}")
        self._store = Store()
        self._stream_logs = StreamLogs(streams, self._store)

    def create_run(
        self,
        task_identifier: str = "my-task",
        *,
        id: str | None = None,
        payload: Any = None,
        tags: Iterable[str] = (),
        status: str = "PENDING",
        batch: str | None = None,
        metadata: Any = None,
        ttl: str | None = None,
        is_test: bool = False,
        idempotency_key: str | None = None,
        delay_until: datetime | str | None = None,
        lag: bool = False,
        **columns: Any,
    ) -> str:
        """Trigger a run.

        Args:
            id: the run's id; one is made up by default.
            payload: a value, stored as `application/json`, or `(data, content_type)`, stored as
                it is. `metadata` and `output` are told in the same way.
            status: by its public or its server's name.
            batch: the id of a batch to join.
            lag: the run has not reached the replica yet: a single run's first answer holds no
                row until `catch_up`, or the next change.
            columns: any other column, by its wire, snake case or public name.

        Returns:
            The run's id.

        Raises:
            ValueError: there is a run with this id.
        """
        if isinstance(tags, str):
            tags = [tags]
        values: dict[str, Any] = {
            "task_identifier": task_identifier,
            "payload": payload,
            "metadata": metadata,
            "output": None,
            "tags": list(tags),
            "status": "DELAYED" if delay_until and status == "PENDING" else status,
            "ttl": ttl,
            "is_test": is_test,
            "delay_until": delay_until,
        }
        if server_status(status) == "EXECUTING":
            values["started_at"] = now()
        if idempotency_key is not None:
            values["idempotency_key"] = idempotency_key
        run_id = self._store.create(id, {**values, **columns}, batch=batch, lag=lag)
        if batch is not None:
            self._note_in_batch(batch, [run_id])
        return run_id

    def update_run(
        self,
        id: str,
        *,
        status: str | None = None,
        metadata: Any = _UNSET,
        output: Any = _UNSET,
        tags: Iterable[str] | None = None,
        **columns: Any,
    ) -> None:
        """Change a run; `updatedAt` moves on by at least a millisecond.

        Going to EXECUTING sets `startedAt`, if it is not set; nothing else happens by itself.

        Raises:
            KeyError: there is no such run.
        """
        values: dict[str, Any] = {}
        if status is not None:
            values["status"] = status
            started = self._store.need(id).row.get("startedAt")
            if server_status(status) == "EXECUTING" and started is None:
                values["started_at"] = now()
        if metadata is not _UNSET:
            values["metadata"] = metadata
        if output is not _UNSET:
            values["output"] = output
        if tags is not None:
            values["tags"] = [tags] if isinstance(tags, str) else list(tags)
        self._store.update(id, {**values, **columns})

    def complete_run(self, id: str, output: Any = None, **columns: Any) -> None:
        """The run succeeded: COMPLETED_SUCCESSFULLY, `completedAt`, its output."""
        self._finish(id, {"status": "COMPLETED_SUCCESSFULLY", "output": output, **columns})

    def fail_run(
        self,
        id: str,
        message: str = "It failed",
        *,
        name: str = "Error",
        stack_trace: str | None = None,
        status: str = "COMPLETED_WITH_ERRORS",
        **columns: Any,
    ) -> None:
        """The run failed with a BUILT_IN_ERROR; `error=` replaces it by another one."""
        error = {
            "type": "BUILT_IN_ERROR",
            "name": name,
            "message": message,
            "stackTrace": stack_trace if stack_trace is not None else f"{name}: {message}",
        }
        self._finish(id, {"status": status, "error": error, **columns})

    def cancel_run(self, id: str) -> None:
        """Cancel a run. One that was still queued never gets a `completedAt`."""
        if self._store.need(id).row.get("status") in EXECUTING:
            self._finish(id, {"status": "CANCELED"})
        else:
            self._store.update(id, {"status": "CANCELED"})

    def delete_run(self, id: str) -> None:
        """The row is gone: Electric says so, native is silent, and single requests get a 404."""
        self._store.delete(id)

    def catch_up(self, id: str) -> None:
        """A run created with `lag=True` reaches the replica."""
        self._store.catch_up(id)

    def _finish(self, run_id: str, values: Mapping[str, Any]) -> None:
        moment = now()
        times: dict[str, Any] = {"completedAt": moment}
        started = self._store.need(run_id).row.get("startedAt")
        if started:
            try:
                since = datetime.fromisoformat(started)
            except ValueError:
                since = moment.replace(tzinfo=None)
            passed = moment.replace(tzinfo=None) - since.replace(tzinfo=None)
            times["usageDurationMs"] = max(0, round(passed.total_seconds() * 1000))
        self._store.update(run_id, {**times, **values})

    # --- batches

    def batch(
        self,
        *run_ids: str,
        count: int | None = None,
        id: str | None = None,
        run_count: int | None = None,
        processing_completed: bool = True,
        errors: Sequence[Mapping[str, Any]] = (),
        reused: Iterable[str] = (),
    ) -> str:
        """Put runs into a batch.

        Args:
            count: create that many runs for it.
            run_count: what REST says as `runCount`; by default the number of runs.
            processing_completed: whether `processing.completedAt` is set; else `batch_finish`.
            errors: items that could not be created.
            reused: runs that REST lists, but the feed never shows (idempotency keys do that).

        Returns:
            The batch's id.
        """
        batch_id = id or f"batch_{secrets.token_hex(11)}"
        with self._store.lock:
            if batch_id in self._store.batches:
                raise ValueError(f"this server already has a batch {batch_id!r}")
            moment = timestamp(now())
            self._store.batches[batch_id] = Batch(
                batch_id, [], run_count, moment, [dict(error) for error in errors]
            )
            self.batch_add(batch_id, *run_ids, count=count, reused=reused)
            if processing_completed:
                self.batch_finish(batch_id)
        return batch_id

    def batch_add(
        self,
        batch_id: str,
        *run_ids: str,
        count: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        reused: Iterable[str] = (),
    ) -> list[str]:
        """More runs for a batch that is still filling. Returns the ids it was given now."""
        with self._store.lock:
            kept = list(reused)
            for run_id in (*run_ids, *kept):
                self._store.need(run_id)
            for run_id in run_ids:
                self._store.join_batch(run_id, batch_id)
            self._note_in_batch(batch_id, [*run_ids, *kept])
            made = [self.create_run(batch=batch_id) for _ in range(count or 0)]
            self._store.batches[batch_id].errors.extend(dict(error) for error in errors)
        return [*run_ids, *kept, *made]

    def batch_finish(self, batch_id: str) -> None:
        """The list of the batch's runs is complete."""
        with self._store.lock:
            self._store.batches[batch_id].completed_at = timestamp(now())

    def _note_in_batch(self, batch_id: str, run_ids: Sequence[str]) -> None:
        with self._store.lock:
            batch = self._store.batches.get(batch_id)
            if batch is None:
                batch = Batch(batch_id, [], None, timestamp(now()), [])
                self._store.batches[batch_id] = batch
            batch.runs.extend(run_id for run_id in run_ids if run_id not in batch.runs)

    # --- packets

    def store_packet(self, data: bytes | str, content_type: str | None = "application/json") -> str:
        """Keep a large packet in the object store.

        Returns:
            The path, to be used as `output=(path, "application/store")`.
        """
        path = f"packets/{secrets.token_hex(8)}.json"
        raw = data.encode() if isinstance(data, str) else data
        self._store.packets[path] = (raw, content_type or "")
        return path

    # --- streams

    def append(self, run_id: str, key: str, *parts: Any) -> None:
        """Write parts to a stream of the run: any values that JSON can hold.

        The first write names the stream in the run's `realtimeStreams`.

        Raises:
            KeyError: there is no such run.
        """
        self._stream_logs.append(run_id, key, parts)

    def append_raw(self, run_id: str, key: str, *entries: str) -> list[str]:
        """v1: write exactly these entries, parts torn over several or several in one.

        Returns:
            The ids of the entries.
        """
        return self._stream_logs.append_raw(run_id, key, entries)

    def append_records(self, run_id: str, key: str, *records: Mapping[str, Any]) -> list[int]:
        """v2: write exactly these S2 records, with `headers` and `body` or without.

        A body that is no text becomes JSON. `[["", "trim"]]` as headers make a command,
        `[["trigger-control", "…"]]` without a body a control record.

        Returns:
            The numbers of the records.
        """
        return self._stream_logs.append_records(run_id, key, records)

    def trim(self, run_id: str, key: str, keep: int = 0) -> None:
        """Lose all but the last entries or records of a stream."""
        self._stream_logs.trim(run_id, key, keep)
