"""Server-Sent Events as a browser reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import attrs


@attrs.frozen
class Event:
    """One event. `name` is empty for a comment."""

    name: str
    data: Any = None
    id: str | None = None


def events_of(chunks: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events and comments of a body as they arrive, however it is chunked."""
    rest = b""
    for chunk in chunks:
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            yield _event(block.decode())
    assert not rest, f"the body ended inside an event: {rest!r}"


def _event(block: str) -> Event:
    fields: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        assert name not in fields, f"{name!r} twice: {block!r}"
        fields[name] = value.removeprefix(" ")
    if "data" not in fields:
        return Event("")
    return Event(fields["event"], json.loads(fields["data"]), fields.get("id"))


def next_event(events: Iterator[Event], *names: str) -> Event:
    """Return the next event with one of these names, or the next that is no comment."""
    for event in events:
        if event.name in names or (not names and event.name):
            return event
    raise AssertionError(f"the body ended before {names or 'any event'}")


def text_of(events: Iterable[Event]) -> str:
    """Return the joined parts of a stream of text."""
    return "".join("".join(event.data["parts"]) for event in events if event.name == "part")
