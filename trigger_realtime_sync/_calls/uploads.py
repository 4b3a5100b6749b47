"""Large payloads: uploaded before the trigger that names them, where the server takes uploads.

Source: docs/protocol.md, section R3.
"""

from __future__ import annotations

import logging
import secrets
import string

from .._clock import monotonic
from .._encode.jwt import is_public_token
from .._encode.payload import TEXT, Payload
from .._http.retry import UnreadableAnswer
from .._wire.names import upload_path
from ..errors import (
    ApiError,
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    ServerError,
    TriggerRealtimeError,
)
from .calls import BoundedCalls
from .request import Reply, Request

logger = logging.getLogger("trigger_realtime_sync")

# Bytes of an encoded payload from which on it is uploaded.
LEAST_UPLOADED = 128 << 10
# Of a server that knows the path for reading alone.
METHOD_NOT_ALLOWED = 405
NO_STORE = "Object store is not configured"
_LETTERS = string.ascii_lowercase + string.digits
_NAME_LENGTH = 21


def uploaded(payload: Payload, calls: BoundedCalls, label: str) -> Payload:
    """Return what stands for a payload in a trigger: itself where it is small, or where the server
    or the token takes no uploads.

    Raises:
        TriggerRealtimeError: the upload failed otherwise. Nothing was triggered.
    """
    try:
        return _uploaded(payload, calls, label)
    except TriggerRealtimeError as error:
        error.may_have_happened = False
        raise


def _uploaded(payload: Payload, calls: BoundedCalls, label: str) -> Payload:
    if payload.data is None or payload.size < LEAST_UPLOADED:
        return payload
    key = calls.key
    is_public = isinstance(calls.token, str) and is_public_token(calls.token)
    if is_public or not calls.memory.takes_uploads(key, monotonic()):
        return payload
    try:
        url, path = calls.send(_url_request(payload, label), _places)
    except ApiError as error:
        if not _takes_none(error):
            raise
        logger.info("%s; the payload is sent within the request", error, extra={"target": label})
        calls.memory.uploads_refused(key, monotonic())
        return payload
    calls.send(_upload_request(payload, url, label), _stored)
    return payload.stored(path)


def _takes_none(error: ApiError) -> bool:
    """Return True if the server takes no uploads of this token, and so will not later."""
    if isinstance(error, ServerError):
        return NO_STORE in error.body
    refused = (AuthenticationError, PermissionDeniedError, NotFoundError)
    return isinstance(error, refused) or error.status == METHOD_NOT_ALLOWED


def _url_request(payload: Payload, label: str) -> Request:
    name = "".join(secrets.choice(_LETTERS) for _ in range(_NAME_LENGTH))
    ending = "txt" if payload.content_type == TEXT else "json"
    return Request(
        method="PUT",
        path=upload_path(f"trigger/packet_{name}/payload.{ending}"),
        label=f"upload for {label}",
        is_final=_takes_none,
    )


def _places(reply: Reply) -> tuple[str, str]:
    """Return the URL to upload to, and the path that the trigger names."""
    url = reply.text_of("presignedUrl")
    if not url.startswith(("https://", "http://")):
        raise ProtocolError(f"{reply.label}: the presigned URL is not http or https")
    return url, reply.text_of("storagePath")


def _stored(reply: Reply) -> None:
    """Accept the answer of a store, which says nothing.

    Raises:
        UnreadableAnswer: it is a page, of a proxy's or a login's: nothing was stored.
    """
    if reply.headers.get("content-type", "").startswith("text/html"):
        raise UnreadableAnswer(f"{reply.label}: a page came instead of the store's answer")


def _upload_request(payload: Payload, url: str, label: str) -> Request:
    if payload.data is None:
        raise UnreadableAnswer(f"upload for {label}: there is nothing to upload")
    return Request(
        method="PUT",
        path="",
        presigned_url=url,
        label=f"upload for {label}, to its presigned URL",
        body=payload.data.encode(),
        content_type=payload.content_type,
    )
