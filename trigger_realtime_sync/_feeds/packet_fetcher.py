"""Payloads and outputs that are too large for their rows (docs/protocol.md, section 3)."""

from __future__ import annotations

from contextlib import suppress

import attrs

from .._clock import monotonic
from .._decode.packets import Packet
from .._http.answer import Answer
from .._http.call import Call, Interrupted
from .._http.mask import Mask, Secret
from .._http.requester import Origin, Requester
from .._http.retry import WAIT_HEADERS, UnreadableAnswer, error_of
from .._wire.names import packet_path, run_packet_path
from ..config import RetryPolicy
from ..errors import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    ClientClosed,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    TriggerRealtimeError,
)

# A callback waits for the value, so a fetch fails after a few attempts instead of being retried for
# ever.
ATTEMPTS = RetryPolicy(initial_delay=0.2, max_delay=2.0, max_retries=3)
# Seconds that one read of a value may take in all. A pause that would last longer is not begun.
LONGEST_READ = 60.0


class PacketFetcher:
    """Downloads packets, on the thread that reads the value.

    The token is sent to the API alone, never to a presigned URL.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = attrs.evolve(origin, retry=ATTEMPTS)

    def __call__(self, run_id: str, field: str, path: str) -> Packet:
        """Return the packet of a run's field, stored at `path`, within `LONGEST_READ` seconds.

        Raises:
            TriggerRealtimeError: the packet can't be downloaded.
            ClientClosed: the client was closed meanwhile.
        """
        fetch, fetches = _PacketFetch(self._origin, run_id, field), self._origin.fetches
        with fetches.running(fetch):
            try:
                return fetch.run(path)
            except Interrupted:
                pass
            finally:
                if fetches.stopped:
                    # Nobody else will close the connection that was kept.
                    self._origin.transport.close()
        raise ClientClosed("the client was closed")


class _PacketFetch:
    """One read of a value, with all its attempts."""

    def __init__(self, origin: Origin, run_id: str, field: str) -> None:
        self._transport = origin.transport
        self._run_id = run_id
        self._field = field
        self._label = f"{field} of run {run_id}"
        self._requester = Requester(origin, self._label, on_users_thread=True)
        self._download_call = Call()
        self._deadline = monotonic() + LONGEST_READ

    def stop(self) -> None:
        """Cut it off, whatever it is blocked on. Safe from any thread."""
        self._requester.stop()
        self._download_call.interrupt()

    def run(self, path: str) -> Packet:
        """Return the packet at a path of the storage."""
        while True:
            try:
                return self._download(self._presigned_url(path))
            except TriggerRealtimeError as error:
                # Its frames would keep, and show, what was read.
                failure = error.with_traceback(None)
            except Exception as error:
                said = self._download_call.mask.hide(repr(error))
                if said == repr(error):
                    raise
                failure = ProtocolError(f"{self._label}: {said}")
            self._requester.recover(failure, most=self._seconds_left())

    def _seconds_left(self) -> float:
        """Return the seconds until the deadline.

        Raises:
            ApiConnectionError: there are none.
        """
        left = self._deadline - monotonic()
        if left <= 0:
            raise ApiConnectionError(f"{self._label}: not read within {LONGEST_READ:g} s")
        return left

    def _presigned_url(self, path: str) -> str:
        if self._field in ("payload", "output"):
            with suppress(NotFoundError):
                return self._read_url(run_packet_path(self._run_id, self._field))
        return self._read_url(packet_path(path))

    def _read_url(self, path: str) -> str:
        with self._requester.get(path, head_timeout=self._seconds_left()) as answer:
            body = self._body(answer)
        document = self._requester.parsed(body)
        url = document.get("presignedUrl") if isinstance(document, dict) else None
        if url is None:
            raise UnreadableAnswer(f"{self._label}: the answer has no presignedUrl")
        if not isinstance(url, str) or not url.startswith(("https://", "http://")):
            raise ProtocolError(f"{self._label}: the presigned URL is not http or https")
        return Secret(url)

    def _download(self, url: str) -> Packet:
        call, label = self._download_call, f"{self._label}, from its presigned URL"
        with self._transport.get(
            url, call=call, label=label, token=None, head_timeout=self._seconds_left()
        ) as answer:
            if answer.status != 200:
                raise _refusal(answer, call.mask, label)
            content_type = answer.headers.get("content-type", "").split(";")[0].strip()
            text = self._body(answer).decode("utf-8-sig", "replace")
            return Packet(text, content_type or "application/json")

    def _body(self, answer: Answer) -> bytes:
        pieces: list[bytes] = []
        answer.limit_silence(self._seconds_left())
        for piece in answer.body_chunks():
            pieces.append(piece)
            answer.limit_silence(self._seconds_left())
        return b"".join(pieces)


def _refusal(answer: Answer, mask: Mask, label: str) -> ApiError:
    """Return the storage's error, without what may contain the presigned URL: its body, and the
    headers that decide on nothing.

    A 401 or 403 becomes a plain ApiError: it is not about the token, which must not be renewed.
    """
    headers = {name: mask.hide(answer.headers.get(name, "")) for name in WAIT_HEADERS}
    error = error_of(answer.status, {k: v for k, v in headers.items() if v}, "", label)
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return ApiError(str(error), status=error.status, headers=error.headers)
    return error
