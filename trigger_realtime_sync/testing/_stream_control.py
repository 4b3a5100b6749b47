"""How a test plays the writers of streams, and the storage behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._stream_logs import StreamLogs


class StreamControl:
    """The part of `RealtimeServer` that changes streams. Every change wakes those who read them.

    Safe from any thread.
    """

    _stream_logs: StreamLogs

    def append(self, run_id: str, key: str, *parts: Any) -> None:
        """Write parts, any values that JSON can hold, to a stream of the run.

        The first write adds the stream to the run's `realtimeStreams`.

        Raises:
            KeyError: there is no such run.
        """
        self._stream_logs.append((run_id, key), parts)

    def append_raw(self, run_id: str, key: str, *entries: str) -> list[str]:
        """v1: write exactly these entries; a part may span several, or share one with others.

        Returns:
            The ids of the entries.
        """
        return self._stream_logs.append_raw((run_id, key), entries)

    def append_records(self, run_id: str, key: str, *records: Mapping[str, Any]) -> list[int]:
        """v2: write exactly these S2 records, with or without `headers` and `body`, at once.

        A body that is no text becomes JSON. `[["", "fence"]]` as headers make a command,
        `[["trigger-control", "…"]]` without a body a control record.

        Returns:
            The sequence numbers of the records.
        """
        return self._stream_logs.append_records((run_id, key), records)

    def trim(self, run_id: str, key: str, keep: int = 0) -> None:
        """Drop all but the last `keep` entries or records of a stream, as time does, in silence."""
        self._stream_logs.trim((run_id, key), keep)

    def trim_before(self, run_id: str, key: str, seq_num: int) -> int:
        """v2: trim the records before a number by a command, which readers are sent too.

        Returns:
            The command's own number.
        """
        return self._stream_logs.trim_before((run_id, key), seq_num)

    def end_stream(self, run_id: str, key: str) -> None:
        """v1: write what tells servers before 4.1.2 (`stream_ids=False`) that the writer is done.

        Later ones skip it.
        """
        self._stream_logs.end((run_id, key))

    # --- trouble of S2

    def delete_stream(self, run_id: str, key: str) -> None:
        """v2: delete a stream while it is read: a trim, `event: error`, and the end of the body.

        Who asks next finds a new one.
        """
        self._stream_logs.delete((run_id, key))

    def rewind_stream(self, run_id: str, key: str, to: int = 0) -> None:
        """v2: put a stream back to an earlier state, or lose it: S2 crashed or was restored.

        Bodies are cut, and numbers from `to` on are given to other records.
        """
        self._stream_logs.rewind((run_id, key), to)

    def interrupt_streams(self) -> None:
        """v2: let every open body end with `event: error`, without `[DONE]`."""
        self._stream_logs.end_bodies("error")

    def stop_storage(self) -> None:
        """v2: stop S2. Open bodies are cut, and each request for a stream is answered with 500."""
        self._stream_logs.storage_is_up = False
        self._stream_logs.end_bodies("cut")

    def start_storage(self) -> None:
        """v2: start S2 again, with what was written before and meanwhile."""
        self._stream_logs.storage_is_up = True
