"""A pure model of the server of v1 streams, traps included (docs/protocol.md, section 4). No I/O.

A writer's text lands in entries cut anywhere. A body joins the entries after an id, cuts them at
line ends, drops blank lines, and gives each line the id of the entry that ended it; closing for
idleness, it sends what is left as if it were a line.
"""

from __future__ import annotations

import json
import random
from typing import Any

from trigger_realtime_sync._wire.stream_cursor import StreamCursor
from trigger_realtime_sync._wire.stream_parts import AnyPart

PING = b": ping\n\n"


class V1Server:
    """One stream: its entries, at most `cap` of them kept."""

    def __init__(self, cap: int = 1000) -> None:
        self.entries: list[tuple[tuple[int, int], str]] = []
        self._cap = cap
        self._clock = 1_795_414_755_000

    def write(self, text: str, *, later: int = 0) -> str:
        """Add an entry, `later` milliseconds after the one before; return its id."""
        self._clock += later
        if self.entries and self.entries[-1][0][0] == self._clock:
            key = (self._clock, self.entries[-1][0][1] + 1)
        else:
            key = (self._clock, 0)
        self.entries.append((key, text))
        del self.entries[: -self._cap]
        return "{}-{}".format(*key)

    def body(self, headers: dict[str, str]) -> V1Body:
        """The answer to a request with these headers."""
        if headers.get("X-Trigger-Stream-Start") == "latest":
            after = self.entries[-1][0] if self.entries else (0, 0)
        else:
            ms, _, n = headers.get("Last-Event-ID", "0-0").partition("-")
            after = (int(ms), int(n))
        return V1Body(self, after)


class V1Body:
    """One answer, which follows the stream as it grows."""

    def __init__(self, server: V1Server, after: tuple[int, int]) -> None:
        self._server = server
        self._after = after
        self._rest = ""

    def news(self) -> bytes:
        """What the entries since the last call make the server send."""
        sent = []
        for key, text in [e for e in self._server.entries if e[0] > self._after]:
            self._after = key
            *lines, self._rest = (self._rest + text).split("\n")
            sent += [_frame(key, line) for line in lines if line.strip()]
        return b"".join(sent)

    def idle_close(self) -> bytes:
        """The last bytes before the clean end for idleness: a half-written line, or none."""
        return _frame(self._after, self._rest.strip()) if self._rest.strip() else b""


def _frame(key: tuple[int, int], line: str) -> bytes:
    return "id: {}-{}\ndata: {}\n\n".format(*key, line).encode()


def value_of(line: str) -> Any:
    """What a reader should see of a line: `NaN` is no JSON."""
    try:
        return line if line == "NaN" else json.loads(line)
    except ValueError:
        return line


class Reader:
    """A client driven by dice: chunks cut anywhere, cuts, silences, idle closes, restarts."""

    def __init__(self, server: V1Server, rng: random.Random) -> None:
        self.server = server
        self.rng = rng
        self.cursor = StreamCursor()
        self.parts: list[AnyPart] = []
        self.trace: list[str] = []
        self._open()

    def step(self) -> None:
        """One thing that can happen to a reader."""
        self.rng.choice(
            [self.read, self.read, self.read, self.ping, self.silence, self.cut, self.idle_close]
        )()

    def read(self) -> None:
        self._feed(self.body.news())

    def ping(self) -> None:
        self._feed(self.body.news() + PING)

    def silence(self) -> None:
        self.trace.append("idle")
        self.cursor.idle()

    def cut(self) -> None:
        """The connection breaks at any byte of what was under way."""
        sent = self.body.news()
        if self.rng.random() < 0.3:
            self.silence()
        self._feed(sent[: self.rng.randint(0, len(sent))])
        self._end(clean=False)

    def idle_close(self, *, restart: bool = True) -> None:
        """The server gives up waiting; the silence before shows by the clock, or by its pings."""
        self._feed(self.body.news())
        if self.rng.random() < 0.5:
            self.silence()
        else:
            self._feed(PING)
        self._feed(self.body.idle_close())
        self._end(clean=True, restart=restart)

    def drain(self) -> list[Any]:
        """The run is finished: read until a body brings nothing; return all values."""
        seen = -1
        while seen != len(self.parts):
            seen = len(self.parts)
            self.idle_close(restart=False)
        self.parts += self.cursor.finish()
        return [part.value for part in self.parts]

    def _feed(self, data: bytes) -> None:
        while data:
            size = self.rng.choice([1, 7, 40, len(data)])
            self.trace.append(f"feed {data[:size]!r}")
            self.parts += self.cursor.feed(data[:size])
            data = data[size:]

    def _end(self, *, clean: bool, restart: bool = True) -> None:
        self.trace.append(f"end clean={clean}")
        self.cursor.end(clean=clean)
        if restart and self.rng.random() < 0.5:
            self._restart()
        self._open()

    def _restart(self) -> None:
        """Another process goes on, with nothing but the text of the cursor, or of a part."""
        last = self.cursor.last_event_id
        assert last is not None
        if self.parts and self.rng.random() < 0.3:
            keep = self.rng.randint(1, min(3, len(self.parts)))
            del self.parts[len(self.parts) - keep + 1 :]
            last = self.parts[-1].id
        self.trace.append(f"restart {last}")
        self.cursor = StreamCursor.restore(last)
        assert self.cursor.last_event_id == last

    def _open(self) -> None:
        headers = self.cursor.request_headers()
        self.trace.append(f"open {headers}")
        self.body = self.server.body(headers)
        assert self.cursor.open(None)


_LOOK_LIKE_HALVES = [
    '{"i":', ":3}", '"abc', "12", "1", "-", "-1.5e", "1e5", "tru", "true", "null", "nullable",
    "]", "[", "[1,", ": ping", "id: 5-0", "data: x", "data:", "NaN", '\\"', "Hello", " world",
    "wörld ✓", "a b  c", "0", "00", '{"a":1', "event: error", "[DONE]", ",", "a\u2028b",
]  # fmt: skip


def random_line(rng: random.Random) -> str:
    """A part's line: JSON of any kind, or text, much of it like a piece of another line."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(
            ['{"i":%d}', '{"text":"w\u00f6 %d"}', "[%d]", "[[],{}, %d]"]
        ) % rng.randint(0, 99)
    if kind == 1:
        return rng.choice(['"just a string"', f'"{rng.randint(0, 9)}"', '""', '"{\\"a\\":1}"'])
    if kind == 2:
        return str(rng.choice([rng.randint(-5, 2000), 4.25, 10**12]))
    if kind == 3:
        return rng.choice(["  ", " ", ""]) + '{"spaces": 1}' + rng.choice(["", " ", "  "])
    return rng.choice(_LOOK_LIKE_HALVES)


def random_entries(rng: random.Random, lines: list[str], *, last_open: bool) -> list[str]:
    """The lines as a writer's text, with blank lines, cut into entries anywhere."""
    text = ""
    for line in lines:
        text += rng.choice(["", "", "", "\n", " \n", "\n\n"]) + line + "\n"
    if last_open:
        text = text[:-1]
    mean = rng.choice([2, 5, 12, 40])
    entries = []
    while text:
        size = rng.randint(1, 2 * mean)
        entries.append(text[:size])
        text = text[size:]
    return entries


def run_trial(rng: random.Random) -> tuple[list[Any], list[Any], list[str]]:
    """One stream written and read at the same time; returns what was read, what should have
    been, and what happened."""
    lines = [random_line(rng) for _ in range(rng.randint(1, 12))]
    last_open = rng.random() < 0.3
    server = V1Server()
    reader = Reader(server, rng)
    for entry in random_entries(rng, lines, last_open=last_open):
        ident = server.write(entry, later=rng.choice([0, 1, 30]))
        reader.trace.append(f"write {ident} {entry!r}")
        while rng.random() < 0.5:
            reader.step()
    if last_open:
        lines[-1] = lines[-1].strip()
    expected = [value_of(line) for line in lines]
    return reader.drain(), expected, reader.trace
