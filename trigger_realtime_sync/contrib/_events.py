"""The events that a browser is sent, as bytes."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from datetime import date
from typing import Any

from .. import ApiError, Run, State, TriggerRealtimeError
from ..jsonable import run_as_dict, to_jsonable
from ._browser_feeds import News, PartsEvent

RunToDict = Callable[[Run[Any, Any]], dict[str, Any]]

# The fields of a run that browsers see. Listed rather than derived, so that a new field is never
# shown by accident. Missing on purpose: the payload and the idempotency key, which may be private.
SHOWN_FIELDS = (
    "id",
    "task_identifier",
    "status",
    "created_at",
    "updated_at",
    "started_at",
    "queued_at",
    "delayed_until",
    "expired_at",
    "finished_at",
    "duration_ms",
    "cost_in_cents",
    "base_cost_in_cents",
    "number",
    "tags",
    "ttl",
    "is_test",
    "metadata",
    "output",
    "is_queued",
    "is_executing",
    "is_waiting",
    "is_finished",
    "is_success",
    "is_failed",
    "is_cancelled",
)

# Bounds an event that holds a value which unfolds endlessly.
MAX_VALUES = 100_000

RECONNECT_MS = 1000
PREAMBLE = f"retry: {RECONNECT_MS}\n: connected\n\n".encode()
RETRY = f"retry: {RECONNECT_MS}\n\n".encode()
COMMENT = b": keep-alive\n\n"
END_ID = "end"

_MESSAGES = {
    400: "The request can't be served.",
    401: "The server refused the access token.",
    403: "The access token does not cover this.",
    404: "There is no such run.",
    422: "The request can't be served.",
    429: "Too many requests.",
}


def run_for_browser(run: Run[Any, Any]) -> dict[str, Any]:
    """Return what browsers see of a run, under the names that the JavaScript hooks use.

    Left out are `payload`, `idempotencyKey` and the error's stack trace. A field that can't be
    read is None, and its name is in `unreadable`.
    """
    fields = run_as_dict(run, SHOWN_FIELDS)
    unreadable = fields.pop("payload_errors", ())
    shown = {_camel_case(name): value for name, value in fields.items()}
    error = run.error
    shown["error"] = error and {"name": error.name, "message": error.message}
    if unreadable:
        shown["unreadable"] = [_camel_case(name) for name in unreadable]
    return shown


def _camel_case(name: str) -> str:
    first, *words = name.split("_")
    return first + "".join(map(str.capitalize, words))


def event_of(news: News, run_to_dict: RunToDict) -> bytes:
    """Return the event for a run or for parts; one that is made already as it is."""
    if isinstance(news, bytes):
        return news
    if isinstance(news, PartsEvent):
        *run_id, key = news.stream
        data = {"key": key, "index": news.index, "parts": news.parts}
        if news.missed:
            data["missed"] = news.missed
        if run_id:
            data = {"runId": run_id[0], **data}
        return _event("part", to_json(data), news.last_event_id)
    return run_event(news, run_to_dict)


def run_event(run: Run[Any, Any], run_to_dict: RunToDict) -> bytes:
    """Return the event for a run."""
    # The result of another function may depend on the browser's user: it is not shared.
    shared = run_to_dict is run_for_browser
    return _event("run", _encoded_runs(run) if shared else to_json(run_to_dict(run)))


def last_event(state: State, error: TriggerRealtimeError | None) -> bytes:
    """Return the event for the end of a subscription.

    For one that was cancelled it is empty: the browser shall connect again, to the next process if
    this one stops. An error's own text is not shown, as it may name hosts and quote answers.
    """
    if state is State.CANCELLED:
        return b""
    if state is State.COMPLETED:
        return _event("complete", b"{}", END_ID)
    status = error.status if isinstance(error, ApiError) else None
    data = {
        "error": type(error).__name__,
        "status": status,
        "message": _MESSAGES.get(status or 0, "The run can't be followed any longer."),
    }
    return _event("error", to_json(data), END_ID)


def _event(name: str, data: bytes, id_: str = "") -> bytes:
    head = f"event: {name}\nid: {id_}\n" if id_ else f"event: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


class EncodedRuns:
    """Encodes each state of a run once, for all browsers that are sent it.

    The bytes are kept for as long as anything refers to the run.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Run[Any, Any]], bytes]] = {}

    def __call__(self, run: Run[Any, Any]) -> bytes:
        key = id(run)
        reference, text = self._known.get(key, (None, b""))
        if reference is None or reference() is not run:
            text = to_json(run_for_browser(run))
            self._known[key] = weakref.ref(run, lambda gone: self._forget(key, gone)), text
        return text

    def _forget(self, key: int, gone: weakref.ref[Run[Any, Any]]) -> None:
        """Forget a run, unless another run has its place in memory by now."""
        if self._known.get(key, (None, b""))[0] is gone:
            self._known.pop(key, None)


_encoded_runs = EncodedRuns()


def to_json(value: Any) -> bytes:
    """Return any value as one line of JSON in ASCII.

    Values that JSON can hold as they are, which most are, take the encoder's fast path.
    """
    try:
        return _dumps(value, default=_date)
    except (TypeError, ValueError, RecursionError):
        return _dumps(to_jsonable(value, MAX_VALUES))


def _dumps(value: Any, **options: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":"), **options).encode()


def _date(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)
