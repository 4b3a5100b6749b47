"""Every parser that sees bytes from the network, as a function of bytes.

Each function feeds the bytes to the parser as the network would, and uses what comes out as a user
would. It raises nothing that is not documented: whatever else comes out of it is a bug. Shared by
the tests (hypothesis) and by `fuzz_atheris.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from trigger_realtime_sync._decode.columns import COLUMNS
from trigger_realtime_sync._decode.packets import PacketValue
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync._decode.snapshot_check import CHECKS, is_readable
from trigger_realtime_sync._feeds.batch_members import members_of
from trigger_realtime_sync._feeds.run_feed import RunChanges, RunFeed
from trigger_realtime_sync._http.call import Interrupted
from trigger_realtime_sync._http.requester import Origin, Requester
from trigger_realtime_sync._http.retry import asked_wait, error_of, is_rotation
from trigger_realtime_sync._http.tokens import TokenSource
from trigger_realtime_sync._wire.json import loads
from trigger_realtime_sync._wire.stream_cursor import StreamCursor
from trigger_realtime_sync._wire.stream_parts import BadPart
from trigger_realtime_sync.config import RetryPolicy
from trigger_realtime_sync.errors import (
    ApiConnectionError,
    PayloadError,
    ProtocolError,
    TriggerRealtimeError,
)

KINDS = ["application/json", "application/super+json", "text/plain", "application/store", "x/y"]
# Between the pieces of one input: bodies, chunks, headers.
PIECE = b"\x1e"
# Of the bodies of runs, so many bytes arrive at a time.
CHUNK = 1_000
HEADERS = {"electric-handle": "h", "electric-offset": "1_1", "electric-cursor": "1"}


class FakeAnswer:
    """A whole answer."""

    framed = True

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.status = 204 if body == b"204" else 200
        if body.startswith(b"!"):
            self.status, body = 400, body[1:]
        self.headers = dict(headers)
        self._body = body

    def body_chunks(self) -> Iterator[bytes]:
        for at in range(0, len(self._body), CHUNK):
            yield self._body[at : at + CHUNK]

    def text(self) -> str:
        return self._body.decode("utf-8", "replace")

    def __enter__(self) -> FakeAnswer:
        return self

    def __exit__(self, *_: object) -> None:
        """There is no connection to return."""


class FakeTransport:
    """Answers with one body after the other, then interrupts."""

    def __init__(self, bodies: list[bytes], headers: Mapping[str, str]) -> None:
        self._bodies = iter(bodies)
        self._headers = headers

    def get(self, url: str, *, query: Mapping[str, str], **_: Any) -> FakeAnswer:
        assert all(isinstance(text, str) for text in query.values())
        for body in self._bodies:
            return FakeAnswer(body, self._headers)
        raise Interrupted


def fake_requester(transport: FakeTransport) -> Requester:
    """A real one, which does not wait."""
    origin = Origin(
        transport=transport,  # type: ignore[arg-type]
        base_url="http://fuzzed",
        token=TokenSource("tr_fuzz"),
        retry=RetryPolicy(initial_delay=1e-9, max_delay=1e-9),
    )
    return Impatient(origin, "the fuzzed feed")


class Impatient(Requester):
    """Does not wait between the polls of a server that holds none, either."""

    def pause(self, seconds: float, at_least: float = 0.0) -> None:
        super().pause(0.0)


def run_feed(data: bytes, *, single: bool = True) -> list[RunChanges]:
    """Bodies through a whole feed, and every run that comes out looked at."""
    headers = dict(HEADERS)
    bodies = data.split(PIECE)
    if bodies[0].startswith(b"#"):
        # Replaces one of the headers.
        name, _, text = bodies.pop(0)[1:].decode("latin-1").partition(":")
        headers[name] = text
    requester = fake_requester(FakeTransport(bodies, headers))
    told: list[RunChanges] = []

    def on_changes(changes: RunChanges) -> bool:
        told.append(changes)
        for run in changes.rows.values():
            look_at(run)
        for error in changes.failures.values():
            assert isinstance(error, ProtocolError)
        return True

    named = re.search(rb'"friendlyId":\s*"(\w{1,60})"', data)
    run_id = (named[1].decode() if named else "run_1") if single else None
    feed = RunFeed(requester, "/", {}, RowDecoder(), run_id=run_id, on_changes=on_changes)
    with suppress(Interrupted, TriggerRealtimeError):
        feed.run()
    return told


def run_feed_of_many(data: bytes) -> None:
    """The same for the runs of a tag."""
    run_feed(data, single=False)


def look_at(run: Any) -> None:
    """What users do with a run."""
    assert isinstance(run.id, str)
    repr(run)
    hash(run.status)
    assert run.is_finished in (True, False)
    for moment in (run.created_at, run.updated_at, run.finished_at):
        assert moment is None or moment.tzinfo is not None
    for field in ("payload", "output", "metadata"):
        with suppress(PayloadError):
            getattr(run, field)


def stream(data: bytes, version: str) -> None:
    """Chunks of a body through a cursor, which is restored from the positions of its parts."""
    cursor = StreamCursor()
    parts = []
    cursor.open(version)
    for chunk in data.split(PIECE):
        parts += cursor.feed(chunk)
    with suppress(ApiConnectionError, ProtocolError):
        cursor.end(clean=len(data) % 2 == 0)
    parts += cursor.finish()
    for part in parts[:20]:
        assert isinstance(part.reason if isinstance(part, BadPart) else part.id, str)
        restored = StreamCursor.restore(part.id)
        restored.request_headers()
    for text in cursor.request_headers().values():
        assert text.isascii()
        assert text.isprintable()


def stream_v1(data: bytes) -> None:
    """A body of the v1 format."""
    stream(data, "v1")


def stream_v2(data: bytes) -> None:
    """A body of the v2 format."""
    stream(data, "v2")


def packet(data: bytes) -> None:
    """A packet of any type: its first byte says which."""
    kind = KINDS[data[0] % len(KINDS)] if data else KINDS[0]
    text = data[1:].decode("utf-8", "replace")
    value = PacketValue("run_1", "output", text, kind)
    with suppress(PayloadError):
        value.read()
    assert value == PacketValue("run_1", "output", text, kind)
    repr(value)


def error_answer(data: bytes) -> None:
    """Headers and body of an error: what it is taken for, and how long it asks to wait."""
    head, _, body = data.partition(PIECE)
    status = 400 + (head[0] if head else 0)
    text = head[1:].decode("latin-1")
    headers = {"retry-after": text, "x-ratelimit-reset": text, "x-should-retry": text}
    error = error_of(status, headers, body.decode("utf-8", "replace"), "the fuzzed request")
    assert len(str(error)) < 1000
    assert is_rotation(error) in (True, False)
    wait = asked_wait(headers, 1e9)
    assert wait is None or 0 <= wait <= 3600


def column(data: bytes) -> None:
    """A column's text, read as that of each column, alone and among many."""
    text = data.decode("utf-8", "replace")
    for _, name, parse in COLUMNS:
        is_well = name not in CHECKS or is_readable(name, CHECKS[name], [{name: text}])
        try:
            parse(text)
        except ValueError:
            assert not is_well


def batch_members(data: bytes) -> None:
    """The list of a batch's runs."""
    try:
        document = loads(data)
    except ValueError:
        return
    with suppress(ProtocolError):
        members = members_of(document, "the fuzzed batch")
        assert members is None or all(isinstance(run, str) for run in members)


def last_event_id(data: bytes) -> None:
    """A `last_event_id` that someone stored, or an id that a server made."""
    text = data.decode("latin-1")
    try:
        cursor = StreamCursor.restore(text)
    except ValueError:
        return
    for sent in cursor.request_headers().values():
        assert re.fullmatch(r"[0-9-]+|latest", sent)


TARGETS: dict[str, Callable[[bytes], Any]] = {
    "run_feed": run_feed,
    "run_feed_of_many": run_feed_of_many,
    "stream_v1": stream_v1,
    "stream_v2": stream_v2,
    "packet": packet,
    "error_answer": error_answer,
    "column": column,
    "batch_members": batch_members,
    "last_event_id": last_event_id,
}
