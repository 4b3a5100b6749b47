"""Fetches a payload or output that was too large for its row (PROTOCOL, section 3)."""

from __future__ import annotations

import attrs

from .._decode.packets import Packet
from .._http.answer import Answer
from .._http.call import Call
from .._http.requester import Origin, Requester
from .._http.retry import UnreadableAnswer, error_of
from .._wire.json import loads
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

# Someone is waiting for the value in the middle of a callback: better an error than an hour.
ATTEMPTS = RetryPolicy(initial_delay=0.2, max_delay=2.0, max_retries=3)


class PacketFetcher:
    """Gets packets by the network, on the thread that reads the value.

    The token goes to the API alone, never to the presigned URL.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = attrs.evolve(origin, retry=ATTEMPTS)

    def __call__(self, run_id: str, field: str, path: str) -> Packet:
        """Raises TriggerRealtimeError when the packet can't be had."""
        requester = Requester(self._origin, f"{field} of run {run_id}")
        while True:
            try:
                return self._download(
                    self._presigned_url(requester, run_id, field, path), requester
                )
            except TriggerRealtimeError as error:
                requester.recover(error)

    def _presigned_url(self, requester: Requester, run_id: str, field: str, path: str) -> str:
        by_path = packet_path(path)
        if field not in ("payload", "output"):
            return _read_url(requester, by_path)
        try:
            return _read_url(requester, run_packet_path(run_id, field))
        except NotFoundError:
            return _read_url(requester, by_path)

    def _download(self, url: str, requester: Requester) -> Packet:
        source = f"{requester.source}, from its presigned URL"
        answer = self._origin.transport.get(url, call=Call(), source=source, token=None)
        try:
            if answer.status != 200:
                raise _refusal(answer, source)
            content_type = answer.headers.get("content-type", "").split(";")[0].strip()
            return Packet(
                answer.body().decode("utf-8", "replace"), content_type or "application/json"
            )
        finally:
            answer.close()


def _refusal(answer: Answer, source: str) -> ApiError:
    """Without its body, which may hold the presigned URL. A 401 or 403 of the storage's says
    nothing of the token, so it is not of the kind that calls for another one."""
    error = error_of(answer.status, answer.headers, "", source)
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return ApiError(str(error), status=error.status, headers=error.headers)
    return error


def _read_url(requester: Requester, path: str) -> str:
    answer = requester.get(path)
    try:
        body = answer.body()
    finally:
        answer.close()
    try:
        url = loads(body)["presignedUrl"]
    except (ValueError, KeyError, TypeError):
        raise UnreadableAnswer(f"{requester.source}: the answer has no presignedUrl") from None
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise ProtocolError(f"{requester.source}: the presigned URL is not http or https")
    return url
