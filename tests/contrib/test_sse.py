"""The relay of one subscription to browsers."""

from __future__ import annotations

import functools
import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contrib.events import events_of, next_event, text_of
from tests.support.settings import TOKEN
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import Run, State
from trigger_realtime_sync.contrib import _browser_feeds, sse
from trigger_realtime_sync.contrib._body import KeepAlive
from trigger_realtime_sync.contrib._open_relays import RELAYS
from trigger_realtime_sync.contrib._source import has_streams
from trigger_realtime_sync.contrib.sse import Relay, has_ended, shared
from trigger_realtime_sync.testing import RealtimeServer


@pytest.fixture
def writer(server: RealtimeServer) -> str:
    """A run that streams an answer."""
    return server.create_run(
        "answer", tags=["a"], status="EXECUTING", realtime_streams=["text"], metadata={"n": 0}
    )


def test_the_current_state_comes_first_and_then_each_change(server, client, writer):
    """A browser sees the run as it is, then each change, then that it is complete."""
    relay = Relay(shared(client.subscribe_to_run, writer))
    events = events_of(relay)

    first = next_event(events)
    assert (first.name, first.data["status"], first.data["metadata"]) == (
        "run",
        "EXECUTING",
        {"n": 0},
    )
    server.update_run(writer, metadata={"n": 1})
    assert next_event(events, "run").data["metadata"] == {"n": 1}
    server.complete_run(writer, output={"words": 2})
    last = next_event(events, "run").data
    assert (last["isFinished"], last["output"]) == (True, {"words": 2})
    assert [event.name for event in events] == ["complete"]
    assert not client.subscriptions


def test_a_hundred_browsers_cost_one_connection_that_ends_with_the_last(server, client, writer):
    """Tabs on the same run join one subscription; it goes on until the last tab is closed."""
    relays = [Relay(shared(client.subscribe_to_run, writer)) for _ in range(100)]
    feeds = [events_of(relay) for relay in relays]
    for feed in feeds:
        next_event(feed, "run")
    server.wait_until_held(1)
    server.update_run(writer, metadata={"n": 1})
    for feed in feeds:
        assert next_event(feed, "run").data["metadata"] == {"n": 1}

    server.wait_until_held(1)
    assert server.open_connections == 1
    assert len({(one.path, one.query["offset"]) for one in server.requests}) == len(server.requests)
    for relay in relays[:-1]:
        relay.close()
    assert len(client.subscriptions) == 1
    relays[-1].close()
    assert not client.subscriptions
    server.wait_for_connections(0)


def test_a_browser_that_is_gone_is_noticed_by_closing_the_body(server, client, writer):
    """After a silence a comment is written, so that the web server finds the pipe broken."""
    relay = Relay(shared(client.subscribe_to_run, writer), keep_alive=0.02)
    events = events_of(relay)
    next_event(events, "run")
    assert next(events).name == ""
    relay.close()
    assert list(events) == []
    assert not client.subscriptions


def test_closing_wakes_the_thread_that_waits_for_news(server, client, writer, monkeypatch):
    """Under ASGI another thread than the browser's own notices that the browser is gone."""
    monkeypatch.setattr(sse, "LOOK_SECONDS", 60.0)
    relay = Relay(shared(client.subscribe_to_run, writer), keep_alive=60)
    told = threading.Event()

    def reads() -> None:
        for chunk in relay:
            if b"event: run" in chunk:
                told.set()

    thread = threading.Thread(target=reads)
    thread.start()
    assert told.wait(10)
    relay.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_browser_goes_on_exactly_after_the_parts_it_has(server, client, writer):
    """The id of the last event leads to the next part, even in a process without a cache."""
    source = shared(client.subscribe_to_run_with_streams, writer)
    server.append(writer, "text", "a", "b")
    relay = Relay(source)
    first = next_event(events_of(relay), "part")
    assert (first.data["key"], first.data["index"], first.data["parts"]) == ("text", 0, ["a", "b"])
    relay.close()

    server.append(writer, "text", "c", "d")
    client.clear_cache()
    server.complete_run(writer)
    again = [one for one in events_of(Relay(source, last_event_id=first.id)) if one.name == "part"]
    assert text_of(again) == "cd"
    assert again[0].data["index"] == 2


@pytest.mark.parametrize("key", ["a/b", "a%2Fb", "/", "a=1&b", "ä/ö", "run_1/text"])
@pytest.mark.parametrize("method", ["subscribe_to_run_with_streams", "of_tag"])
def test_a_key_may_hold_any_character(server, client, key, method):
    """A slash too, which stands between a run and a key where there are many runs."""
    run_id = server.create_run(tags=["a"], status="EXECUTING", realtime_streams=[key])
    server.append(run_id, key, "a", "b")
    if method == "of_tag":
        source = shared(client.subscribe_to_runs_with_streams, "a")
    else:
        source = shared(client.subscribe_to_run_with_streams, run_id)
    relay = Relay(source)
    first = next_event(events_of(relay), "part")
    assert (first.data["key"], first.data["parts"]) == (key, ["a", "b"])
    relay.close()
    server.append(run_id, key, "c")
    again = Relay(source, last_event_id=first.id)
    event = next_event(events_of(again), "part")
    assert (event.data["key"], event.data["index"], event.data["parts"]) == (key, 2, ["c"])
    again.close()


def kept_of(source: Any, last: str) -> Any:
    """Let a subscription go on until this part is there, and return what it keeps of the stream."""
    subscription = source()
    eventually(lambda: subscription.streams.get("text", [None])[-1] == last)
    return subscription


def test_a_late_browser_begins_with_the_first_part_that_is_kept(server, client, writer):
    """It is told how many it has missed, and each index and id counts those too."""
    source = shared(client.subscribe_to_run_with_streams, writer, max_parts=3)
    server.append(writer, "text", *"abcdefgh")
    with kept_of(source, "h"):
        relay = Relay(source)
        events = events_of(relay)
        first = next_event(events, "part")
        assert first.data == {"key": "text", "index": 5, "parts": ["f", "g", "h"], "missed": 5}
        assert first.id == "text=8"
        server.append(writer, "text", "i")
        assert next_event(events, "part").data == {"key": "text", "index": 8, "parts": ["i"]}
        relay.close()


@pytest.mark.parametrize(
    ("has", "told"),
    [
        ("text=3", {"index": 5, "parts": ["f", "g", "h"], "missed": 2}),
        ("text=5", {"index": 5, "parts": ["f", "g", "h"]}),
        ("text=7", {"index": 7, "parts": ["h"]}),
    ],
)
def test_a_browser_that_returns_is_told_what_is_gone(server, client, writer, has, told):
    """What it has is not sent again, and what it can't have any more is not skipped in silence."""
    source = shared(client.subscribe_to_run_with_streams, writer, max_parts=3)
    server.append(writer, "text", *"abcdefgh")
    with kept_of(source, "h"):
        relay = Relay(source, last_event_id=has)
        part = next_event(events_of(relay), "part")
        assert part.data == {"key": "text", **told}
        assert part.id == "text=8"
        relay.close()


def test_a_browser_that_has_everything_gets_what_comes(server, client, writer):
    """Though its position is behind everything that is kept."""
    source = shared(client.subscribe_to_run_with_streams, writer, max_parts=1)
    server.append(writer, "text", *"abcdefgh")
    with kept_of(source, "h"):
        relay = Relay(source, last_event_id="text=8")
        events = events_of(relay)
        next_event(events, "run")
        server.append(writer, "text", "i")
        assert next_event(events, "part").data == {"key": "text", "index": 8, "parts": ["i"]}
        relay.close()


def test_bytes_count_as_parts_do(server, client, writer):
    """A late browser is told what was dropped for `max_part_bytes` alike."""
    source = shared(client.subscribe_to_run_with_streams, writer, max_part_bytes=2000)
    parts = [f"{number:03}" + "x" * 100 for number in range(100)]
    for start in range(0, 100, 10):
        server.append(writer, "text", *parts[start : start + 10])
    with kept_of(source, parts[-1]) as subscription:
        kept = len(subscription.streams["text"])
        assert 0 < kept < 25
        relay = Relay(source)
        part = next_event(events_of(relay), "part")
        assert (part.data["index"], part.data["missed"]) == (100 - kept, 100 - kept)
        assert part.data["parts"] == parts[100 - kept :]
        assert part.id == "text=100"
        relay.close()


def test_a_source_that_passes_its_own_lists_is_counted(server, client, writer):
    """A function of the project may change the parts on the way."""

    def loud(on_stream: Any, **callbacks: Any) -> Any:
        return client.subscribe_to_run_with_streams(
            writer,
            on_stream=lambda key, parts: on_stream(key, [part.upper() for part in parts]),
            **callbacks,
        )

    server.append(writer, "text", "a", "b")
    relay = Relay(loud, last_event_id="text=1")
    events = events_of(relay)
    assert next_event(events, "part").data == {"key": "text", "index": 1, "parts": ["B"]}
    server.append(writer, "text", "c")
    assert next_event(events, "part").data == {"key": "text", "index": 2, "parts": ["C"]}
    relay.close()


def test_each_stream_has_a_place_of_its_own(server, client, writer):
    """Many runs, many streams, odd names: one id holds the positions in all of them."""
    server.update_run(writer, realtime_streams=["text", "ä=&/%0A"])
    server.append(writer, "text", "1", "2")
    server.append(writer, "ä=&/%0A", "x")
    server.complete_run(writer)
    source = shared(client.subscribe_to_runs_with_streams, "a")
    relay = Relay(source)
    events = events_of(relay)
    parts = [next_event(events, "part") for _ in range(2)]
    assert {one.data["runId"] for one in parts} == {writer}
    relay.close()

    server.append(writer, "text", "3")
    client.clear_cache()
    relay = Relay(source, last_event_id=parts[1].id)
    more = next_event(events_of(relay), "part").data
    assert (more["key"], more["index"], more["parts"]) == ("text", 2, ["3"])
    relay.close()


@pytest.mark.parametrize("text", ["text=" + "9" * 5000, "text=1" + "&x=1" * 2000, "text=\u0664"])
def test_a_last_event_id_that_is_none_of_ours_does_not_count(text):
    """Numbers without end, more than a header holds, digits of another script."""
    assert _browser_feeds.Position(text).counts == {}


@given(st.text(max_size=60) | st.from_regex(r"text=[0-9]{0,30}(&text=-1)?", fullmatch=True))
def test_any_last_event_id_is_taken(text):
    """Any text is a position, or is ignored."""
    counts = _browser_feeds.Position(text).counts
    assert all(0 <= count < 10**15 for count in counts.values())
    assert _browser_feeds.Position(str(_browser_feeds.Position(text))).counts == counts


def test_places_in_very_many_streams_are_left_out_of_the_id(server, client):
    """No header would hold the id; each event still has the index of its first part."""
    keys = ["a" * 60, "b" * 60]
    for number in range(30):
        run_id = server.create_run(tags=["many"], status="EXECUTING", realtime_streams=keys)
        for key in keys:
            server.append(run_id, key, number)
    relay = Relay(shared(client.subscribe_to_runs_with_streams, "many"))
    events = events_of(relay)
    ids = [next_event(events, "part").id for _ in range(60)]
    assert max(len(id_ or "") for id_ in ids) <= _browser_feeds.MAX_LAST_EVENT_ID
    assert ids[-1] is None
    relay.close()


def test_the_end_can_be_told_from_a_lost_connection(server, client, writer):
    """A browser that was sent the end can be recognized when it connects again."""
    server.complete_run(writer)
    last = list(events_of(Relay(shared(client.subscribe_to_run, writer))))[-1]
    assert last.name == "complete"
    assert has_ended(last.id)
    assert not has_ended(None)
    assert not has_ended("end=1")


def test_a_terminal_error_tells_what_but_no_secret(server, client):
    """It has the kind and the status, never the token, the URL of the API or its answer."""
    server.fail_next(status=403, body={"error": "Sesame of host-17"}, match="run")
    body = b"".join(Relay(shared(client.subscribe_to_run, "run_1")))
    events = [event for event in events_of([body]) if event.name]
    assert [event.name for event in events] == ["error"]
    assert events[0].data["error"] == "PermissionDeniedError"
    assert events[0].data["status"] == 403
    assert has_ended(events[0].id)
    for secret in (TOKEN, server.url, "127.0.0.1", "Sesame", "run_1"):
        assert secret.encode() not in body
    assert not client.subscriptions


def test_a_cancelled_subscription_leaves_the_browser_to_connect_again(server, client, writer):
    """A process that stops ends the body without an end of the run."""
    events = events_of(Relay(shared(client.subscribe_to_run, writer)))
    next_event(events, "run")
    client.cancel_all()
    assert [event.name for event in events] == []


def test_a_slow_browser_holds_nobody_back_and_coalesces(server, client, writer):
    """While one browser takes nothing, another sees every change; then it sees the latest alone."""
    slow = events_of(Relay(shared(client.subscribe_to_run, writer)))
    quick_relay = Relay(shared(client.subscribe_to_run, writer))
    quick = events_of(quick_relay)
    next_event(slow, "run")
    next_event(quick, "run")
    for number in range(1, 21):
        server.update_run(writer, metadata={"n": number})
        assert next_event(quick, "run").data["metadata"] == {"n": number}
    server.complete_run(writer)
    assert [event.name for event in quick] == ["run", "complete"]
    rest = list(slow)
    assert [event.name for event in rest] == ["run", "complete"]
    assert rest[0].data["isFinished"]


def test_a_browser_too_slow_for_its_parts_is_cut_off_and_goes_on_where_it_was(
    server, client, writer
):
    """Waiting parts are bounded, other browsers get all, and no part is lost or repeated."""
    source = shared(client.subscribe_to_stream, writer, "text")
    slow_relay, quick = Relay(source), events_of(Relay(source))
    slow = events_of(slow_relay)
    server.append(writer, "text", "0 ")
    got = [next_event(slow, "part")]
    heard = [next_event(quick, "part")]
    total = _browser_feeds.MAX_WAITING_PARTS + 1500
    for start in range(1, total, 500):
        batch = [f"{number} " for number in range(start, min(start + 500, total))]
        server.append(writer, "text", *batch)
        while sum(len(event.data["parts"]) for event in heard) < start + len(batch):
            heard.append(next_event(quick, "part"))

    expected = "".join(f"{number} " for number in range(total))
    assert text_of(heard) == expected
    assert slow_relay._body._feed._waiting < _browser_feeds.MAX_WAITING_PARTS + 500  # type: ignore[attr-defined]
    got += [event for event in slow if event.name]
    assert not {event.name for event in got} - {"part", "run"}
    got_parts = [event for event in got if event.name == "part"]
    assert text_of(got_parts) != expected
    server.complete_run(writer)
    rest = list(events_of(Relay(source, last_event_id=got_parts[-1].id)))
    assert text_of(got_parts + rest) == expected
    assert rest[-1].name == "complete"
    assert list(quick)[-1].name == "complete"


def test_a_long_stream_comes_in_events_of_bounded_size(server, client, writer):
    """A browser that comes late is sent the stream piece by piece."""
    server.append(writer, "text", *["x"] * 1000)
    server.complete_run(writer)
    relay = Relay(shared(client.subscribe_to_stream, writer, "text"))
    parts = [event.data["parts"] for event in events_of(relay) if event.name == "part"]
    assert sum(map(len, parts)) == 1000
    assert max(map(len, parts)) <= _browser_feeds.MAX_PARTS_IN_EVENT


def test_callers_with_different_tokens_do_not_meet(server, client, writer):
    """A shared id depends on the token, and does not contain it."""
    one = shared(client.subscribe_to_run, writer, access_token="tr_one_secret")
    two = shared(client.subscribe_to_run, writer, access_token="tr_two_secret")
    with one(), two():
        assert len(client.subscriptions) == 2
        assert "secret" not in repr(list(client.subscriptions))


class Provider:
    """Hands out a token, and looks like any other."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self) -> str:
        return self.token

    def __repr__(self) -> str:
        return "<Provider>"


def test_token_functions_that_look_the_same_do_not_meet(server, client, writer):
    """Two users' relays each go on, though the functions that hand out their tokens have one
    `repr`."""
    relays = [
        Relay(shared(client.subscribe_to_run, writer, access_token=Provider(token)))
        for token in ("tr_a", "tr_b")
    ]
    feeds = [events_of(relay) for relay in relays]
    for feed in feeds:
        next_event(feed, "run")
    assert len(client.subscriptions) == 2
    server.update_run(writer, metadata={"n": 1})
    for feed in feeds:
        assert next_event(feed, "run").data["metadata"] == {"n": 1}
    for relay in relays:
        relay.close()


def test_callers_with_the_same_token_function_join(client):
    """The method of one object is another object each time it is named, and equals itself."""
    provider = Provider("tr_a")
    name = functools.partial(shared, client.subscribe_to_run, "run_1")
    first = name(access_token=provider.__call__)
    assert first.id == name(access_token=provider.__call__).id
    assert first.id != name(access_token=Provider("tr_a").__call__).id
    with first() as one, name(access_token=provider.__call__)() as other:
        assert one.id == other.id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"streams": {"a": list[int], "b": str}}, {"streams": {"b": str, "a": list[int]}}),
        ({"streams": {"a": int | None}}, {"streams": {"a": int | None}}),
        ({"skip_columns": ["payload"]}, {"skip_columns": ("payload",)}),
    ],
)
def test_equal_options_make_one_id(client, one, other):
    """What is made anew in each view joins what it equals."""
    ids = {shared(client.subscribe_to_run_with_streams, "run_1", **x).id for x in (one, other)}
    assert len(ids) == 1


class Masked(str):
    """A token that does not show itself."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _subscribe_as(name: str) -> Any:
    return lambda **options: name


def _class_of_parts() -> type:
    class Chunk:
        pass

    return Chunk


@pytest.mark.parametrize("make", [Masked, Provider, _class_of_parts])
def test_arguments_that_only_look_the_same_make_two_ids(client, make):
    """Texts that hide themselves, objects of one name, classes of one name."""
    arguments = [("one",), ("two",)] if make is not _class_of_parts else [(), ()]
    values = [make(*some) for some in arguments]
    ids = {shared(client.subscribe_to_run, "run_1", access_token=value).id for value in values}
    assert len(ids) == 2


def test_ways_to_subscribe_that_only_look_the_same_make_two_ids(client):
    """Functions of one name, and what a partial has bound already."""
    functions = [_subscribe_as("one"), _subscribe_as("two")]
    assert len({shared(function).id for function in functions}) == 2
    partials = [functools.partial(client.subscribe_to_run, run_id) for run_id in ("run_1", "run_2")]
    assert len({shared(partial).id for partial in partials}) == 2
    whole = shared(client.subscribe_to_run, "run_1")
    assert shared(partials[0]).id == whole.id


def test_any_callable_that_subscribes_is_a_source(server, client, writer):
    """A partial or a function of the project gets `on_stream` only if it takes that."""
    server.append(writer, "text", "a")
    server.complete_run(writer)
    with_parts = functools.partial(client.subscribe_to_run_with_streams, writer)
    assert text_of(events_of(Relay(with_parts))) == "a"

    def without_parts(**callbacks: Any) -> Any:
        return client.subscribe_to_run(writer, **callbacks)

    names = [event.name for event in events_of(Relay(without_parts)) if event.name]
    assert names == ["run", "complete"]


def test_a_shared_source_knows_its_id(client):
    """Equal arguments make equal ids; an id that was given is kept."""
    source = shared(client.subscribe_to_run, "run_1", throttle_in_ms=5)
    assert source.id == shared(client.subscribe_to_run, "run_1", throttle_in_ms=5).id
    assert source.id != shared(client.subscribe_to_run, "run_2", throttle_in_ms=5).id
    assert shared(client.subscribe_to_run, "run_1", id="mine").id == "mine"
    assert not has_streams(source)
    assert has_streams(shared(client.subscribe_to_stream, "run_1"))
    with source() as subscription:
        assert subscription.id == source.id


@pytest.fixture
def _ends_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RELAYS, "is_ending", False)


@pytest.mark.usefixtures("_ends_again")
def test_a_process_that_stops_ends_its_relays(server, client, writer, monkeypatch):
    """A relay is woken from its wait for news, and its subscription ends with it."""
    monkeypatch.setattr(sse, "LOOK_SECONDS", 60.0)
    relay = Relay(shared(client.subscribe_to_run, writer), keep_alive=60)
    told: list[str] = []
    thread = threading.Thread(target=lambda: told.extend(e.name for e in events_of(relay)))
    thread.start()
    server.wait_until_held(1)
    sse.end_relays()
    thread.join(10)
    assert not thread.is_alive()
    assert told == ["", "run"] or told == ["run"]
    eventually(lambda: not client.subscriptions)
    assert not RELAYS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_child_has_no_relays_of_its_parent(server, client, writer):
    """Ending its own relays then needs no lock that a thread of the parent held at the fork."""
    relay = Relay(shared(client.subscribe_to_run, writer))
    assert RELAYS
    pid = os.fork()
    if pid == 0:
        os._exit(len(RELAYS))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    relay.close()
    assert not RELAYS


def test_a_silence_is_broken_twice_so_that_a_broken_connection_is_noticed():
    """The first write to a browser that is gone succeeds, and only the second fails."""
    keep_alive = KeepAlive(15.0, 0.5)
    keep_alive.restart(100.0)
    looks = [100 + number / 2 for number in range(1, 70)]
    assert [now for now in looks if keep_alive.is_due(now)] == [115.0, 115.5, 130.5, 131.0]
    keep_alive.restart(135.0)
    assert not keep_alive.is_due(149.5)
    assert keep_alive.is_due(150.0)


def test_a_run_that_finishes_among_many_is_no_reason_to_look_all_the_time(
    server, client, monkeypatch
):
    """The relay of a tag looks soon if that was the end, then less and less often."""
    now = 0.0
    monkeypatch.setattr(_browser_feeds, "time", SimpleNamespace(monotonic=lambda: now))
    feed = _browser_feeds.OwnFeed(
        shared(client.subscribe_to_runs_with_tag, "a"), _browser_feeds.Position()
    )
    assert feed._next_look() > 60
    feed.on_complete(Run(id="run_1"))
    looks = []
    while feed._next_look() < 0.5:
        looks.append(feed._next_look())
        now += looks[-1]
    assert looks[0] == _browser_feeds.FIRST_LOOK_SECONDS
    assert len(looks) < 10
    feed.close()


@pytest.mark.parametrize("begun", [False, True])
def test_a_relay_that_is_dropped_ends_its_subscription(server, client, writer, begun):
    """A middleware that raises drops the response without closing it."""
    relay = Relay(shared(client.subscribe_to_run, writer))
    if begun:
        next_event(events_of(relay), "run")
    assert client.subscriptions
    del relay
    eventually(lambda: not client.subscriptions, "the subscription goes on")
    assert not RELAYS


def test_somebody_elses_subscription_is_relayed_and_left_running(server, client, writer):
    """A browser that leaves does not affect the owner of the subscription."""
    with client.subscribe_to_run(writer) as subscription:
        relay = Relay(subscription)
        events = events_of(relay)
        assert next_event(events).data["id"] == writer
        relay.close()
        assert list(events) == []
        assert subscription.state is State.LIVE
        server.complete_run(writer)
        subscription.wait_for_completion(10)
        assert [event.name for event in events_of(Relay(subscription)) if event.name] == [
            "run",
            "complete",
        ]


def test_the_parts_of_somebody_elses_stream_are_relayed(server, client, writer):
    """All parts from the start, or from the position of the browser."""
    server.append(writer, "text", "a", "b", "c")
    with client.subscribe_to_stream(writer, "text") as subscription:
        server.complete_run(writer)
        subscription.wait_for_completion(10)
        events = list(events_of(Relay(subscription)))
        assert text_of(events) == "abc"
        assert text_of(events_of(Relay(subscription, last_event_id=events[2].id))) == "c"


def test_the_error_of_somebody_elses_subscription_is_told(server, client):
    """It ends the relay as it ended the subscription."""
    with client.subscribe_to_run("run_nowhere") as subscription:
        eventually(lambda: subscription.state is State.FAILED)
        last = list(events_of(Relay(subscription)))[-1]
    assert (last.name, last.data["status"]) == ("error", 404)


def test_what_can_not_be_followed_raises_before_the_response(client):
    """The view can answer a bad id or option."""
    with pytest.raises(ValueError, match="run_id"):
        Relay(shared(client.subscribe_to_run, "\n"))
    with pytest.raises(ValueError, match="keep_alive"):
        Relay(shared(client.subscribe_to_run, "run_1"), keep_alive=0)
    assert not client.subscriptions


def test_relays_need_no_thread_of_their_own(server, client, writer):
    """There are the reader of the network and some threads for callbacks, not one per browser."""
    relays = [Relay(shared(client.subscribe_to_run, writer)) for _ in range(100)]
    for relay in relays:
        next_event(events_of(relay), "run")
    assert len(threads_named("trigger-realtime")) < 30
    for relay in relays:
        relay.close()


def test_somebody_elses_stream_may_have_lost_its_beginning(server, client, writer):
    """Its parts have their true index, and what a browser missed is told once."""
    server.append(writer, "text", *"abcdefgh")
    with client.subscribe_to_stream(writer, "text", max_parts=3) as subscription:
        server.complete_run(writer)
        subscription.wait_for_completion(10)
        events = [one for one in events_of(Relay(subscription)) if one.name == "part"]
        assert [one.data for one in events] == [
            {"key": "parts", "index": 5, "parts": ["f"], "missed": 5},
            {"key": "parts", "index": 6, "parts": ["g"]},
            {"key": "parts", "index": 7, "parts": ["h"]},
        ]
        assert [one.id for one in events] == ["parts=6", "parts=7", "parts=8"]
        again = events_of(Relay(subscription, last_event_id="parts=7"))
        assert next_event(again, "part").data == {"key": "parts", "index": 7, "parts": ["h"]}
