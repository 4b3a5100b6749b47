"""How relays end that no browser has left: by age, at a log-out, cut off, refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contrib.events import events_of, next_event, text_of
from tests.support.waiting import eventually
from trigger_realtime_sync.contrib import _browser_feeds, _open_relays
from trigger_realtime_sync.contrib._open_relays import RELAYS
from trigger_realtime_sync.contrib.sse import (
    Relay,
    RelayLimits,
    TooManyRelays,
    end_relays,
    relay_counts,
    shared,
)
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def writer(server: RealtimeServer) -> str:
    return server.create_run(status="EXECUTING", realtime_streams=["text"])


@pytest.fixture
def relay(client: Any, writer: str) -> Iterator[Any]:
    """Make relays of one run, which are closed after the test."""
    made: list[Relay] = []

    def make(**options: Any) -> Relay:
        made.append(Relay(shared(client.subscribe_to_run, writer), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_relay_of_some_age_ends_and_is_asked_for_again(server, client, writer):
    """Without an end of the run, so that the browser comes back; no part is lost by it."""
    source = shared(client.subscribe_to_run_with_streams, writer)
    server.append(writer, "text", "a", "b")
    started = time.monotonic()
    body = list(Relay(source, max_age=0.5))
    assert time.monotonic() - started >= 0.4
    assert body[-1] == b"retry: 1000\n\n"
    events = [one for one in events_of(body) if one.name]
    assert {one.name for one in events} == {"run", "part"}
    assert not client.subscriptions

    server.append(writer, "text", "c")
    server.complete_run(writer)
    position = next(one.id for one in reversed(events) if one.id)
    again = list(events_of(Relay(source, last_event_id=position)))
    assert text_of(again) == "c"
    assert again[-1].name == "complete"


def test_relays_of_one_age_do_not_all_end_at_once(relay):
    """Browsers that came together, after a deploy, would all ask for permission together."""
    ends = {one._body._ends_at for one in (relay(max_age=3600) for _ in range(10))}
    assert len(ends) == 10
    assert max(ends) - time.monotonic() <= 3600


@pytest.mark.parametrize("max_age", [0, -1, float("nan")])
def test_an_age_that_can_not_be_is_refused(client, max_age):
    """At the call, and by name."""
    with pytest.raises(ValueError, match="max_age"):
        Relay(shared(client.subscribe_to_run, "run_1"), max_age=max_age)
    assert not RELAYS


def test_a_log_out_ends_the_relays_of_one_user(server, client, relay):
    """Whether the user's key is a number or its text; other browsers don't notice."""
    mine, other, nobodys = relay(owner=7), relay(owner=8), relay()
    for one in (mine, other, nobodys):
        next_event(events_of(one), "run")
    end_relays(of="7")
    assert list(events_of(mine)) == []
    eventually(lambda: len(RELAYS) == 2)
    end_relays(of=None)
    server.update_run(next(iter(client.subscriptions.values())).run.id, metadata={"n": 1})
    for one in (other, nobodys):
        assert next_event(events_of(one), "run").data["metadata"] == {"n": 1}


def test_relays_are_bounded_per_owner_and_per_process(client, relay, caplog):
    """What has no place subscribes to nothing, and is logged; a place that is left is free."""
    limits = RelayLimits(per_process=4, per_owner=2)
    first, _ = relay(owner="a", limits=limits), relay(owner="a", limits=limits)
    with pytest.raises(TooManyRelays) as refused:
        relay(owner="a", limits=limits)
    assert refused.value.retry_after > 0
    assert "'a'" in caplog.text
    relay(owner="b", limits=limits)
    relay(limits=limits)
    with pytest.raises(TooManyRelays, match="4 are open"):
        relay(owner="c", limits=limits)
    first.close()
    relay(owner="c", limits=limits)


def test_a_source_that_raises_takes_no_place(client):
    """However often it is tried."""
    limits = RelayLimits(per_process=1, per_owner=1)
    for _ in range(3):
        with pytest.raises(ValueError, match="run_id"):
            Relay(shared(client.subscribe_to_run, "\n"), owner="a", limits=limits)


def test_of_browsers_that_come_at_once_as_many_get_in_as_there_are_places(client, writer):
    """No more, and no less."""
    limits = RelayLimits(per_owner=5)
    source = shared(client.subscribe_to_run, writer)
    start, got, refused = threading.Barrier(20), list[Relay](), list[Exception]()

    def come() -> None:
        start.wait(10)
        try:
            got.append(Relay(source, owner="a", limits=limits))
        except TooManyRelays as error:
            refused.append(error)

    threads = [threading.Thread(target=come) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(got), len(refused)) == (5, 15)
    for one in got:
        one.close()


@pytest.mark.parametrize("bound", [0, -1, True, 1.5, "20"])
def test_a_bound_that_can_not_be_is_refused(bound):
    """None is no bound; 0 would let nobody in."""
    with pytest.raises(ValueError, match="per_owner"):
        RelayLimits(per_owner=bound)


def test_an_operator_can_count(server, client, writer, relay):
    """Relays, the subscriptions they share, the age of the oldest, and who was refused."""
    before = relay_counts()
    relay(owner="a")
    relay(owner="b")
    Relay(client.subscribe_to_run(writer)).close()
    own = Relay(lambda **callbacks: client.subscribe_to_run(writer, **callbacks))
    with pytest.raises(TooManyRelays):
        relay(limits=RelayLimits(per_process=1))
    counts = relay_counts()
    assert (counts.open, counts.upstream) == (3, 2)
    assert counts.refused == before.refused + 1
    assert 0 < counts.oldest < 60
    own.close()


def test_a_relay_that_is_cut_off_gives_its_subscription_back_at_once(
    server, client, writer, monkeypatch
):
    """Whoever would act on it is blocked in a write; what waits is still sent."""
    monkeypatch.setattr(_browser_feeds, "MAX_WAITING_PARTS", 100)
    before = relay_counts().cut
    stalled = Relay(shared(client.subscribe_to_stream, writer, "text"))
    for start in range(0, 300, 50):
        server.append(writer, "text", *(f"{n} " for n in range(start, start + 50)))
        time.sleep(0.05)
    eventually(lambda: not client.subscriptions, "the stream is still read")
    server.wait_for_connections(0)
    assert relay_counts().cut == before + 1
    got = [one for one in events_of(stalled) if one.name]
    assert {one.name for one in got} <= {"run", "part"}
    parts = text_of(got)
    assert parts.startswith("0 1 2 ")
    assert "".join(f"{n} " for n in range(300)).startswith(parts)


def test_a_relay_that_is_ended_gives_its_subscription_back_whoever_is_blocked(
    server, client, relay, writer
):
    """Nobody reads here, as nobody does while a write to a stalled browser blocks."""
    relay(owner="a")
    server.wait_until_held(1)
    end_relays(of="a")
    eventually(lambda: not client.subscriptions, "the run is still followed")
    server.wait_for_connections(0)


def test_a_relay_that_is_ended_while_it_subscribes_leaves_nothing(server, client, writer):
    """A source may take its time."""

    def slow(**callbacks: Any) -> Any:
        end_relays(of="a")
        eventually(lambda: not RELAYS)
        return client.subscribe_to_run(writer, **callbacks)

    relay = Relay(slow, owner="a")
    assert not client.subscriptions
    assert [event for event in events_of(relay) if event.name] == []


class Stalled:
    """The connection of a browser that takes nothing, as an environment holds it."""

    def __init__(self) -> None:
        import socket

        self.ours, self.browser = socket.socketpair()
        self.environ = {"gunicorn.socket": self.ours}

    def fill(self) -> None:
        """Write until the write fails."""
        try:
            while True:
                self.ours.sendall(b"x" * 65536)
        except OSError as error:
            self.error = error

    def close(self) -> None:
        self.ours.close()
        self.browser.close()


@pytest.fixture
def stalled() -> Iterator[Stalled]:
    connection = Stalled()
    yield connection
    connection.close()


def test_a_write_that_is_blocked_when_its_relay_ends_fails(relay, stalled):
    """Only its connection is cut; a thread that comes back by itself is left a moment."""
    relay(owner="a", environ=stalled.environ)
    writing = threading.Thread(target=stalled.fill)
    writing.start()
    started = time.monotonic()
    end_relays(of="a")
    writing.join(10)
    assert not writing.is_alive()
    assert time.monotonic() - started >= _open_relays.LAST_WRITE_SECONDS * 0.9


def test_a_browser_that_reads_is_not_cut_off_by_the_end(relay, stalled, monkeypatch):
    """Its response ends as any other, and the connection can be used again."""
    monkeypatch.setattr(_open_relays, "LAST_WRITE_SECONDS", 0.05)
    one = relay(owner="a", environ=stalled.environ)
    assert stalled.ours.gettimeout() is not None
    threads = threading.active_count()
    end_relays(of="a")
    list(one)
    one.close()
    time.sleep(0.2)
    assert threading.active_count() <= threads
    assert stalled.ours.gettimeout() is None
    stalled.ours.sendall(b"next")
    assert stalled.browser.recv(4) == b"next"


def test_a_write_that_takes_too_long_fails(relay, stalled, monkeypatch):
    """A byte now and then does not extend it."""
    monkeypatch.setattr("trigger_realtime_sync.contrib._connections.WRITE_SECONDS", 0.3)
    relay(environ=stalled.environ)
    writing = threading.Thread(target=stalled.fill)
    writing.start()
    while writing.is_alive():
        stalled.browser.recv(1)
        writing.join(0.05)
    assert isinstance(stalled.error, TimeoutError)


def test_the_connection_of_http_2_is_left_alone(relay, stalled):
    """Other responses share it."""
    relay(owner="a", environ={**stalled.environ, "SERVER_PROTOCOL": "HTTP/2"})
    assert stalled.ours.gettimeout() is None
