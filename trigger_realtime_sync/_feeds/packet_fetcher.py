"""Payloads and outputs that are too large for their rows (docs/protocol.md, section 3)."""

from __future__ import annotations

from contextlib import suppress

import attrs

from .._decode.packets import Packet
from .._http.answer import Answer
from .._http.call import Call
from .._http.mask import Mask, Secret
from .._http.requester import Origin, Requester
from .._http.retry import WAIT_HEADERS, UnreadableAnswer, error_of
from .._wire.names import packet_path, run_packet_path
from ..config import RetryPolicy
from ..errors import (
    ApiError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    TriggerRealtimeError,
)

# A callback waits for the value, so a fetch fails after a few seconds instead of retrying for ever.
ATTEMPTS = RetryPolicy(initial_delay=0.2, max_delay=2.0, max_retries=3)


class PacketFetcher:
    """Downloads packets, on the thread that reads the value.

    The token is sent to the API alone, never to a presigned URL.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = attrs.evolve(origin, retry=ATTEMPTS)

    def __call__(self, run_id: str, field: str, path: str) -> Packet:
        """Return the packet of a run's field, stored at `path`.

        Raises:
            TriggerRealtimeError: the packet can't be downloaded.
        """
        requester = Requester(self._origin, f"{field} of run {run_id}")
        while True:
            try:
                url = self._presigned_url(requester, run_id, field, path)
                return self._download(url, requester)
            except TriggerRealtimeError as error:
                requester.recover(error)

    def _presigned_url(self, requester: Requester, run_id: str, field: str, path: str) -> str:
        if field in ("payload", "output"):
            with suppress(NotFoundError):
                return _read_url(requester, run_packet_path(run_id, field))
        return _read_url(requester, packet_path(path))

    def _download(self, url: str, requester: Requester) -> Packet:
        label, call = f"{requester.label}, from its presigned URL", Call()
        with self._origin.transport.get(url, call=call, label=label, token=None) as answer:
            if answer.status != 200:
                raise _refusal(answer, call.mask, label)
            content_type = answer.headers.get("content-type", "").split(";")[0].strip()
            text = answer.body().decode("utf-8", "replace")
            return Packet(text, content_type or "application/json")


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


def _read_url(requester: Requester, path: str) -> str:
    document = requester.get_json(path)
    url = document.get("presignedUrl") if isinstance(document, dict) else None
    if url is None:
        raise UnreadableAnswer(f"{requester.label}: the answer has no presignedUrl")
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise ProtocolError(f"{requester.label}: the presigned URL is not http or https")
    return Secret(url)
