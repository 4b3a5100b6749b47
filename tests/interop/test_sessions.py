"""Sessions: what the official client sees of a channel, ours tells in the same order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.interop.compare import differences
from tests.interop.official import Official, Told
from tests.support.waiting import eventually
from trigger_realtime_sync import RealtimeClient, RetryPolicy
from trigger_realtime_sync.testing import RealtimeServer

PATIENCE = 20.0
CHAT = "chat/7"
PARTS = [
    "text", "", "two\nlines", "\u2028é😀", '{"looks": "like JSON"}', "[DONE]", 0, -1.5, True, None,
    [], {}, {"type": "text-delta", "delta": "x", "nested": [{"a": [None]}]}, "x" * 50_000,
]  # fmt: skip


class Listener:
    """What our client tells of a session, parts and control records in one list."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.seen: list[Any] = []
        self.errors: list[Any] = []

    def on_stream(self, key: str, parts: list[Any]) -> None:
        self._note(*(("part", part) for part in parts))

    def on_control(self, name: str, headers: dict[str, str]) -> None:
        self._note((name, dict(headers)))

    def _note(self, *items: Any) -> None:
        with self._changed:
            self.seen += items
            self._changed.notify_all()

    def wait(self, count: int) -> list[Any]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.seen) >= count, PATIENCE):
                raise AssertionError(f"ours told {self.seen[-20:]}, {self.errors}")
            return list(self.seen)


class Table:
    """A server with a session, and both clients at it."""

    def __init__(self, server: RealtimeServer, official: Official, client: RealtimeClient) -> None:
        self.server = server
        self.client = client
        self._official = official
        self.chat = server.session(CHAT)

    def both(self, **options: Any) -> tuple[Told, Listener]:
        theirs = self._official.subscribe("session", self.server.url, CHAT, **options)
        ours = Listener()
        self.client.subscribe_to_session(
            CHAT,
            on_stream=ours.on_stream,
            on_control=ours.on_control,
            on_error=ours.errors.append,
            **options,
        )
        return theirs, ours

    @staticmethod
    def compare(theirs: Told, ours: Listener, count: int) -> None:
        """Wait until both have told so many, and compare them, one by one."""
        theirs.wait_for(seen=count)
        for one, (kind, value) in zip(theirs.seen, ours.wait(count), strict=True):
            headers = dict(one["headers"])
            name = headers.pop("trigger-control", None)
            assert kind == (name or "part")
            if name:
                assert value == headers
            else:
                assert list(differences(one["value"], value)) == []
        assert ours.errors == []


@pytest.fixture
def table(official: Official) -> Iterator[Table]:
    with ExitStack() as stack:
        server = stack.enter_context(RealtimeServer(ping_interval=0.5))
        quick = RetryPolicy(initial_delay=0.05, max_delay=0.5)
        client = stack.enter_context(RealtimeClient("tr_ours", base_url=server.url, retry=quick))
        client.sessions.start("my-chat", external_id=CHAT)
        yield Table(server, official, client)


def test_turns_with_their_headers(table):
    """Parts of every kind, the ends of turns, and what else is told between them."""
    theirs, ours = table.both()
    count = 0
    for turn in range(3):
        table.chat.write(*PARTS)
        table.chat.complete_turn(took_in=turn, token=f"token{turn}")
        count += len(PARTS) + 1
        table.compare(theirs, ours, count)
    table.chat.control("upgrade-required")
    table.chat.control("pending-version", {"version": "20261125.1"})
    table.chat.write("after")
    table.compare(theirs, ours, count + 3)
    theirs.wait_for(parts=3 * len(PARTS) + 1)
    assert theirs.parts[-1]["value"] == "after"


def test_trims_between_turns(table):
    """Neither tells a command, or a loss."""
    theirs, ours = table.both()
    for turn in range(3):
        table.chat.write("a", "b")
        end = table.chat.complete_turn(took_in=turn)
        table.compare(theirs, ours, 3 * turn + 3)
        table.chat.trim_before(end)
    again = table.both()
    table.compare(*again, 1)


def test_a_reload(table):
    """From a number of the server's, which both take: the rest of a turn, and its end."""
    table.chat.write("a", "b", "c")
    table.chat.complete_turn(took_in=0)
    theirs, ours = table.both(last_event_id="1")
    table.compare(theirs, ours, 2)


def test_retried_writes(table):
    """Two records with one id are one part to both."""
    theirs, ours = table.both()
    body = {"data": "once", "id": "same"}
    table.chat.append_records({"body": body}, {"body": body}, {"body": {"data": 2, "id": "x"}})
    table.compare(theirs, ours, 2)


def test_a_closed_session(table):
    """On purpose: theirs waits on for what never comes, ours ends."""
    theirs, ours = table.both()
    table.chat.write("last")
    table.chat.close("done")
    table.compare(theirs, ours, 2)
    eventually(lambda: not table.client.subscriptions)
    assert not theirs.ended


def test_control_records_of_older_agents(table):
    """On purpose: to theirs they are parts, which a chat has to sort out itself."""
    theirs, ours = table.both()
    table.chat.write({"type": "trigger:turn-complete", "publicAccessToken": "t"}, "after")
    theirs.wait_for(parts=2)
    assert theirs.parts[0]["value"]["type"] == "trigger:turn-complete"
    assert ours.wait(2) == [("turn-complete", {"public-access-token": "t"}), ("part", "after")]
