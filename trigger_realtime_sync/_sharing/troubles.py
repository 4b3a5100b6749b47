"""Errors as entries, and back."""

from __future__ import annotations

from typing import Any

from .. import errors
from .._http.retry import ERROR_OF_STATUS
from ..errors import (
    ApiConnectionError,
    ApiError,
    ProtocolError,
    ProtocolReport,
    ServerError,
    TriggerRealtimeError,
)

# Characters of an error's body that are passed on.
MOST_BODY = 2_000


def concerns_all(error: TriggerRealtimeError) -> bool:
    """Return True for what the server says to everybody who asks with the same rights.

    A network that fails, or a function that can't get a token, is the trouble of one process:
    others may lead.
    """
    if isinstance(error, ApiError):
        return error.status < 500 and error.status != 429
    return isinstance(error, ProtocolError)


def data_of(error: TriggerRealtimeError) -> dict[str, Any]:
    """Return what an entry says of an error. Its texts hold no secret: errors never do."""
    data: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
    if isinstance(error, ApiError):
        data |= {"status": error.status, "code": error.code, "body": error.body[:MOST_BODY]}
    for name in ("run_id", "stream"):
        if value := getattr(error, name, None):
            data[name] = value
    return data


def error_of(data: dict[str, Any]) -> TriggerRealtimeError:
    """Return the error that an entry tells of, of the class that this version knows best."""
    message = str(data.get("message", ""))
    if (status := data.get("status")) is not None:
        kind = ERROR_OF_STATUS.get(status) or (ServerError if status >= 500 else ApiError)
        return kind(message, status=status, code=data.get("code"), body=data.get("body", ""))
    named = getattr(errors, str(data.get("error")), None)
    if isinstance(named, type) and issubclass(named, ProtocolReport):
        return named(message, run_id=data.get("run_id"), stream=data.get("stream"))
    if isinstance(named, type) and issubclass(named, ApiConnectionError):
        return named(message)
    return ProtocolError(message)
