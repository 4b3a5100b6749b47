"""Bodies of streams as servers write them, and what a cursor makes of them."""

from __future__ import annotations

import json
from typing import Any

from trigger_realtime_sync._wire.stream_cursor import StreamCursor
from trigger_realtime_sync._wire.stream_parts import Part


def frame(ident: str, data: str) -> bytes:
    """Return one part of a v1 stream."""
    return f"id: {ident}\ndata: {data}\n\n".encode()


def event(name: str, data: Any) -> bytes:
    """Return one event of a v2 stream; data that is no text as JSON."""
    text = data if isinstance(data, str) else json.dumps(data)
    return f"event: {name}\ndata: {text}\n\n".encode()


def record(seq_num: int, part: Any, ident: str | None = None) -> dict[str, Any]:
    """Return a record that holds a part, by default under an envelope id of its own."""
    body = json.dumps({"data": part, "id": ident or f"id{seq_num}"}, separators=(",", ":"))
    return {"seq_num": seq_num, "timestamp": 1700000000000, "headers": [], "body": body}


def batch(*records: Any, tail: int | None = None) -> bytes:
    """Return a batch event of these records."""
    data: dict[str, Any] = {"records": list(records)}
    if tail is not None:
        data["tail"] = {"seq_num": tail, "timestamp": 1}
    return b"id: 1,1,10\n" + event("batch", data)


def opened(version: str, cursor: StreamCursor | None = None) -> StreamCursor:
    """Return the cursor, or a new one, at the start of a body of this format."""
    cursor = cursor or StreamCursor()
    assert cursor.open(version)
    return cursor


def at_tail(version: str) -> StreamCursor:
    """Return a cursor that started at the tail, at the start of a body of this format."""
    cursor = StreamCursor(from_latest=True)
    cursor.open(version)
    return opened(version, cursor)


def reopened(version: str, cursor: StreamCursor) -> StreamCursor:
    """Return the cursor of another process at the same position, in a new body."""
    return opened(version, StreamCursor.restore(cursor.last_event_id or ""))


def fed(cursor: StreamCursor, data: bytes) -> list[Any]:
    """Return the parts in the next bytes of a body."""
    return list(cursor.feed(data))


def values(parts: list[Any]) -> list[Any]:
    """Return the values of parts, all of which are good."""
    assert all(isinstance(part, Part) for part in parts)
    return [part.value for part in parts]
