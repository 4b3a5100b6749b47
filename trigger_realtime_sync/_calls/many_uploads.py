"""The large payloads of a batch, uploaded a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

from .._encode.payload import Payload
from .calls import BoundedCalls
from .uploads import LEAST_UPLOADED, uploaded

MOST_THREADS = 8


def all_uploaded(payloads: Sequence[Payload], calls: BoundedCalls, label: str) -> list[Payload]:
    """Return what stands for each payload: see `uploaded`.

    Raises:
        TriggerRealtimeError: an upload failed.
    """
    large = [index for index, payload in enumerate(payloads) if payload.size >= LEAST_UPLOADED]
    if not large:
        return list(payloads)
    return _Uploads(list(payloads), large, calls, label).run()


class _Uploads:
    """Uploads on several threads, all of which have ended when `run` returns.

    Args:
        payloads: all of them.
        large: the indices of those to upload.
    """

    def __init__(
        self, payloads: list[Payload], large: list[int], calls: BoundedCalls, label: str
    ) -> None:
        self._payloads = payloads
        self._calls = calls
        self._label = label
        # Protects everything below.
        self._lock = threading.Lock()
        self._left = large[::-1]
        self._error: BaseException | None = None

    def run(self) -> list[Payload]:
        """Return all payloads; for errors see `all_uploaded`."""
        # The first alone: a server that takes none need not be asked for each.
        self._upload(self._left.pop())
        helpers = list(self._helpers())
        self._work()
        try:
            for thread in helpers:
                thread.join()
        except BaseException:
            # A signal handler's: nobody waits for the others any more.
            self._left.clear()
            raise
        if self._error is not None:
            raise self._error
        return self._payloads

    def _helpers(self) -> Iterator[threading.Thread]:
        """Start and yield as many threads as are of use beside this one, and as there can be."""
        for number in range(min(MOST_THREADS, len(self._left)) - 1):
            thread = threading.Thread(
                target=self._work, name=f"trigger-realtime upload {number + 1}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                # The process has as many as it may. This one does the rest.
                return
            yield thread

    def _work(self) -> None:
        while (index := self._next()) is not None:
            try:
                self._upload(index)
            except BaseException as error:  # noqa: BLE001 (raised by the thread that waits)
                with self._lock:
                    self._error = self._error or error

    def _next(self) -> int | None:
        with self._lock:
            return self._left.pop() if self._left and self._error is None else None

    def _upload(self, index: int) -> None:
        self._payloads[index] = uploaded(self._payloads[index], self._calls, self._label)
