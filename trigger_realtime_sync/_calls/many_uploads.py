"""The large payloads of a batch, uploaded a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import attrs

from .._encode.payload import Payload
from .._http.open_calls import OpenCalls
from ..errors import CallTimeout
from .calls import BoundedCalls
from .request import Deadline
from .uploads import LEAST_UPLOADED, uploaded

MOST_THREADS = 8
# Seconds for which threads that were cut off are waited for: one may be inside of a token function.
GRACE_SECONDS = 1.0


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
    """Uploads on several threads, all of which have ended when `run` returns: the first failure
    ends the others.

    Args:
        payloads: all of them.
        large: the indices of those to upload.
    """

    def __init__(
        self, payloads: list[Payload], large: list[int], calls: BoundedCalls, label: str
    ) -> None:
        self._payloads = payloads
        self._open_calls = calls.caller.open_calls
        self._own_calls = OpenCalls()
        self._calls = attrs.evolve(
            calls, caller=attrs.evolve(calls.caller, open_calls=self._own_calls)
        )
        self._label = label
        self._helpers: list[threading.Thread] = []
        # Protects everything below.
        self._lock = threading.Lock()
        self._left = large[::-1]
        self._error: BaseException | None = None

    def run(self) -> list[Payload]:
        """Return all payloads; for errors see `all_uploaded`."""
        with self._open_calls.making(self._own_calls):
            # The first alone: a server that takes none need not be asked for each.
            self._upload(self._left.pop())
            try:
                self._start_helpers()
                self._work()
                self._join(self._calls.deadline.left + GRACE_SECONDS)
            except BaseException as error:
                # Out of a signal handler.
                self._fail(error)
                self._join(GRACE_SECONDS)
                raise
        if self._error is not None:
            raise self._error
        return self._payloads

    def _start_helpers(self) -> None:
        """Start as many threads as are of use beside this one, and as there can be."""
        for number in range(min(MOST_THREADS, len(self._left)) - 1):
            thread = threading.Thread(
                target=self._work, name=f"trigger-realtime upload {number + 1}", daemon=True
            )
            try:
                thread.start()
            except RuntimeError:
                # The process has as many as it may. This one does the rest.
                return
            self._helpers.append(thread)

    def _join(self, seconds: float) -> None:
        """Wait for the threads, but not for a token function that does not return.

        One that does not end in time is an error, unless there is another one.
        """
        deadline = Deadline.after(seconds)
        for thread in self._helpers:
            thread.join(max(deadline.left, 0.0))
        if self._error is None and any(thread.is_alive() for thread in self._helpers):
            self._fail(CallTimeout(f"{self._label}: the payloads were not uploaded in time"))

    def _work(self) -> None:
        while (index := self._next()) is not None:
            try:
                self._upload(index)
            except BaseException as error:  # noqa: BLE001 (raised by the thread that waits)
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Keep the first error, and cut off all that are under way."""
        with self._lock:
            self._error = self._error or error
        self._own_calls.close()

    def _next(self) -> int | None:
        with self._lock:
            return self._left.pop() if self._left and self._error is None else None

    def _upload(self, index: int) -> None:
        self._payloads[index] = uploaded(self._payloads[index], self._calls, self._label)
