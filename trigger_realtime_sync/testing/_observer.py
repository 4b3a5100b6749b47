"""Requests, connections and held requests: a record of them, and a way to wait for them."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import parse_qsl, unquote

import attrs

from .._clock import monotonic

# The values of `RecordedRequest.kind`, which faults and waits can match.
KINDS = (
    *("run", "runs", "batch", "stream", "packets", "presigned", "api"),
    *("trigger", "batch_create", "batch_items", "claims", "input", "wait_token", "callback"),
    "session",
)
# What follows is as good as a token: the key of a presigned URL, the hash of a callback.
_BEARER = re.compile(r"(?<=^/presigned/)[^/]+|(?<=/callback/)[^/]+")


def hide_bearers(path: str) -> str:
    """Return the path without what is as good as a token."""
    return _BEARER.sub("***", path)


def _read_only(mapping: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(mapping))


@attrs.frozen
class RecordedRequest:
    """One request as it arrived.

    Attributes:
        path: still percent-encoded, without the query.
        headers: names in lower case.
        at: `time.monotonic()` of its arrival.
        live: True for a poll that the server may hold.
        kind: one of `KINDS`, or `""`.
        body: as it was sent, without the framing of chunks.
        whole: False: the client left in the middle of the body.
    """

    method: str
    path: str = attrs.field(repr=lambda path: repr(hide_bearers(path)))
    query: Mapping[str, str] = attrs.field(converter=_read_only)
    headers: Mapping[str, str] = attrs.field(converter=_read_only, repr=False)
    at: float
    live: bool
    kind: str
    body: bytes = attrs.field(default=b"", repr=False)
    whole: bool = True

    @property
    def segments(self) -> tuple[str, ...]:
        """The decoded segments of the path."""
        return tuple(unquote(part) for part in self.path.split("/")[1:])


# A kind of request, a callable that judges one, or None for any.
MatchT = str | Callable[[RecordedRequest], bool] | None


def parse_request(
    method: str, target: str, headers: Mapping[str, str], body: bytes = b"", whole: bool = True
) -> RecordedRequest:
    path, _, query_text = target.partition("?")
    query = dict(parse_qsl(query_text, keep_blank_values=True))
    kind = _kind(path.split("/")[1:])
    return RecordedRequest(
        method=method,
        path=path,
        query=query,
        headers={name.lower(): value for name, value in headers.items()},
        at=monotonic(),
        live=query.get("live") == "true" and kind in ("run", "runs", "batch"),
        kind=kind,
        body=body,
        whole=whole,
    )


def _kind(parts: list[str]) -> str:
    match parts:
        case ["realtime", "v1", "runs"]:
            return "runs"
        case ["realtime", "v1", "runs", _]:
            return "run"
        case ["realtime", "v1", "batches", _]:
            return "batch"
        case ["realtime", "v1", "streams", _, _]:
            return "stream"
        case ["api", "v1", "runs", _, "packets", _] | ["api", "v1", "packets", *_]:
            return "packets"
        case ["api", "v2", "packets", *_]:
            return "packets"
        case ["presigned", *_]:
            return "presigned"
        case ["realtime", "v1", "streams", _, "input", _]:
            return "input"
        case ["realtime" | "api", "v1", "sessions", *_]:
            return "session"
        case ["api", "v1", "tasks", _, "trigger"]:
            return "trigger"
        case ["api", "v3", "batches"]:
            return "batch_create"
        case ["api", "v3", "batches", _, "items"]:
            return "batch_items"
        case ["api", "v1", "auth", "jwt", "claims"]:
            return "claims"
        case ["api", "v1", "waitpoints", "tokens", _, "callback", _]:
            return "callback"
        case ["api", "v1", "waitpoints", *_]:
            return "wait_token"
        case ["api", *_]:
            return "api"
    return ""


def matches(request: RecordedRequest, match: MatchT, live: bool | None) -> bool:
    """Return True if the request is of that kind, or satisfies that callable, and liveness."""
    if live is not None and request.live != live:
        return False
    if callable(match):
        return match(request)
    if match is None:
        return bool(request.kind)
    return request.kind == match or (match == "api" and request.path.startswith("/api/"))


class Observer:
    """Counts connections and holds, and keeps every request. Safe from any thread."""

    def __init__(self) -> None:
        # Protects the attributes below.
        self._changed = threading.Condition()
        self._requests: list[RecordedRequest] = []
        self._counts: Counter[str] = Counter()

    def add_request(self, request: RecordedRequest) -> None:
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def count(self, what: str, change: int) -> None:
        """Add to the number of `"connection"`s, or of held requests of a kind."""
        with self._changed:
            self._counts[what] += change
            self._changed.notify_all()

    @contextmanager
    def holding(self, request: RecordedRequest) -> Iterator[None]:
        """Count the request as held until the end of the block."""
        self.count(request.kind, 1)
        try:
            yield
        finally:
            self.count(request.kind, -1)

    @property
    def requests(self) -> list[RecordedRequest]:
        with self._changed:
            return list(self._requests)

    @property
    def connections(self) -> int:
        with self._changed:
            return self._counts["connection"]

    def held(self, match: str | None = None) -> int:
        """Return how many requests of that kind are held; by default how many polls."""
        with self._changed:
            if match is not None:
                return self._counts[match]
            return sum(self._counts[kind] for kind in ("run", "runs", "batch"))

    def clear_requests(self) -> None:
        with self._changed:
            self._requests.clear()

    def wait(self, reached: Callable[[], bool], timeout: float, what: Callable[[], str]) -> None:
        """Block until `reached()` is true, at most `timeout` seconds.

        Raises:
            TimeoutError: it is not; `what()` describes the state instead.
        """
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                raise TimeoutError(f"after {timeout} s: {what()}")
