"""Ids: joining, replacing, caching, enabling."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.raw import by_poll, hold, in_turn, reply
from tests.support.shape import answer, done, row, snapshot
from tests.support.waiting import Gate, Recorder, eventually
from trigger_realtime_sync import AuthenticationError, State, SubscriptionCancelled
from trigger_realtime_sync._channel.audience import Audience
from trigger_realtime_sync._dispatch import janitor, threads
from trigger_realtime_sync.testing import RealtimeServer


def test_the_same_id_and_target_share_a_connection(server, client):
    """Each subscription gets the current state first; the last one to cancel ends the reading."""
    run_id = server.create_run()
    recorders = [Recorder() for _ in range(3)]
    subscriptions = []
    for recorder in recorders:
        subscriptions.append(client.subscribe_to_run(run_id, id="x", **recorder.options))
        server.wait_until_held(1)
        recorder.wait("update")
    assert sum(request.live for request in server.requests) == 1
    assert len(set(map(id, subscriptions))) == 3
    assert client.get("x") is client.subscriptions["x"] is subscriptions[0]
    server.update_run(run_id, status="EXECUTING")
    for recorder in recorders:
        recorder.wait("update", 2)
        assert recorder.statuses == ["QUEUED", "EXECUTING"]
    subscriptions[0].cancel()
    assert client.get("x") is subscriptions[1]
    subscriptions[1].cancel()
    server.wait_until_held(1)
    assert subscriptions[2].state is State.LIVE
    subscriptions[2].cancel()
    server.wait_for_connections(0)
    assert client.get("x") is None


def test_cancelling_an_id_ends_it_for_all(server, client):
    """`client.cancel(id)`; False where there is none."""
    run_id = server.create_run()
    subscriptions = [client.subscribe_to_run(run_id, id="x") for _ in range(3)]
    assert client.cancel("x") is True
    assert {subscription.state for subscription in subscriptions} == {State.CANCELLED}
    assert client.cancel("x") is False


def test_subscriptions_that_join_complete_alike(server, client):
    """All of them complete; one that goes on after completion keeps the connection."""
    run_id = server.create_run()
    ends = client.subscribe_to_run(run_id, id="x")
    stays = client.subscribe_to_run(run_id, id="x", stop_on_completion=False)
    server.wait_until_held(1)
    server.complete_run(run_id)
    assert ends.wait_for_completion(5).is_success
    assert stays.wait_for_completion(5).is_success
    assert ends.state is State.COMPLETED
    assert stays.state is State.LIVE
    recorder = Recorder()
    late = client.subscribe_to_run(run_id, id="x", **recorder.options)
    assert late.wait_for_completion(5).is_success
    assert [kind for kind, _ in recorder.events] == ["update", "complete"]


@pytest.mark.parametrize("other", ["run", "token", "columns"])
def test_another_target_takes_the_id_over(server, client, other):
    """The old one is unsubscribed and its cached data removed."""
    first, second = server.create_run(), server.create_run()
    old = client.subscribe_to_run(first, id="x")
    server.wait_until_held(1)
    options: dict[str, Any] = {
        "run": {},
        "token": {"access_token": "tr_other"},
        "columns": {"skip_columns": ["payload"]},
    }[other]
    new = client.subscribe_to_run(second if other == "run" else first, id="x", **options)
    assert old.state is State.CANCELLED
    assert client.get("x") is new
    assert new.run is None or new.run.id != first or other != "run"
    server.wait_until_held(1)
    server.wait_for_connections(1)


def test_the_columns_are_named_as_given(server, client):
    """On the wire in the caller's order, each once; in another order they still join."""
    run_id = server.create_run()
    first = client.subscribe_to_run(run_id, id="x", skip_columns=["payload", "output", "payload"])
    server.wait_until_held(1)
    client.subscribe_to_run(run_id, id="x", skip_columns=["output", "payload"])
    assert first.state is State.LIVE
    assert {request.query["skipColumns"] for request in server.requests} == {"payload,output"}


def test_what_was_known_is_shown_before_the_network_answers(server, client):
    """Under the same id and target; it counts as not yet delivered."""
    run_id = server.create_run(metadata={"a": 1})
    with client.subscribe_to_run(run_id, id="x"):
        server.wait_until_held(1)
    before = len(server.requests)
    server.fail_next(stall=5)
    recorder = Recorder()
    again = client.subscribe_to_run(run_id, id="x", **recorder.options)
    assert again.run is not None
    assert again.run.metadata == {"a": 1}
    assert next(again.updates(timeout=4)).id == run_id
    assert again.state is not State.LIVE
    assert recorder.updates == []
    server.wait_for_requests(before + 1)
    again.cancel()
    recorder = Recorder()
    again = client.subscribe_to_run(run_id, id="x", **recorder.options)
    assert recorder.wait("update")[0].metadata == {"a": 1}
    assert client.subscribe_to_run(run_id, id="y", enabled=False).run is None


def test_a_cached_run_outlives_a_late_replica(server, client):
    """A first answer without the row is no reason to forget what was known."""
    run_id = server.create_run(id="run_late")
    with client.subscribe_to_run(run_id, id="x"):
        server.wait_until_held(1)
    server.delete_run(run_id)
    server.create_run(id="run_late", lag=True)
    again = client.subscribe_to_run(run_id, id="x")
    server.wait_until_held(1)
    assert again.run is not None


def test_the_cache_forgets_the_least_recently_used(server, connect):
    """At most `max_cached` ids are remembered; 0 remembers none."""
    run_id = server.create_run()
    for most, kept in ((2, ["b", "c"]), (0, [])):
        client = connect(server, max_cached=most)
        for name in ("a", "b", "c"):
            with client.subscribe_to_run(run_id, id=name) as subscription:
                eventually(lambda s=subscription: s.run)  # type: ignore[misc]
        known = [
            name
            for name in ("a", "b", "c")
            if client.subscribe_to_run(run_id, id=name, enabled=False).run is not None
        ]
        assert known == kept


def test_clearing_the_cache(server, client):
    """One id or all; a running subscription tells its next snapshot anew."""
    run_id = server.create_run()

    def known(name: str) -> bool:
        with client.subscribe_to_run(run_id, id=name, enabled=False) as subscription:
            return subscription.run is not None

    for name in ("a", "b"):
        with client.subscribe_to_run(run_id, id=name) as subscription:
            eventually(lambda s=subscription: s.run)  # type: ignore[misc]
    client.clear_cache("a")
    assert not known("a")
    assert known("b")
    client.clear_cache()
    assert not known("b")


def test_clearing_the_cache_of_a_running_one(connect):
    """The next snapshot counts as new."""
    with RealtimeServer("electric") as server:
        run_id = server.create_run()
        recorder = Recorder()
        client = connect(server)
        client.subscribe_to_run(run_id, id="x", **recorder.options)
        server.wait_until_held(1)
        recorder.wait("update")
        client.clear_cache("x")
        server.rotate()
        recorder.wait("update", 2)


def test_changing_the_id(server, client):
    """Unsubscribes this subscription alone, drops its data and subscribes it again."""
    run_id = server.create_run()
    recorder = Recorder()
    one = client.subscribe_to_run(run_id, id="x", **recorder.options)
    other = client.subscribe_to_run(run_id, id="x")
    recorder.wait("update")
    one.change_id("y")
    assert one.id == "y"
    assert client.get("x") is other
    assert client.get("y") is one
    recorder.wait("update", 2)
    other.cancel()
    server.update_run(run_id, status="EXECUTING")
    assert recorder.wait("update", 3)[-1].is_executing
    one.change_id("z")
    assert client.subscribe_to_run(run_id, id="y", enabled=False).run is None
    one.cancel()
    with pytest.raises(SubscriptionCancelled):
        one.change_id("w")


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("told", [True, False])
def test_changing_the_id_in_the_last_update(told, joined, server, client, monkeypatch):
    """What waits is still delivered, and is the end of it; also where the channel has not yet told
    that it is."""
    run_id = server.create_run()
    recorder = Recorder()

    def change(run: Any) -> None:
        recorder.on_update(run)
        if run.is_finished:
            subscription.change_id("new")

    subscription = client.subscribe_to_run(
        run_id, id="old", on_update=change, on_complete=recorder.on_complete
    )
    other = client.subscribe_to_run(run_id, id="old", enabled=joined)
    server.wait_until_held(1)
    if not told:
        monkeypatch.setattr(Audience, "end_complete", lambda self: None)
    server.complete_run(run_id, output=7)
    assert subscription.result(timeout=5) == 7
    assert subscription.wait_for_completion(5) is subscription.run
    assert subscription.state is State.COMPLETED
    assert subscription.id == "new"
    assert len(recorder.completes) == 1
    assert recorder.statuses == ["QUEUED", "COMPLETED"]
    other.cancel()
    assert client.subscribe_to_run(run_id, id="new", enabled=False).run is not None
    assert client.get("new").run.is_finished


def test_changing_the_id_while_the_last_update_runs(server, client):
    """From another thread, too: the callbacks that are due come after it."""
    run_id = server.create_run()
    recorder, gate = Recorder(), Gate()
    subscription = client.subscribe_to_run(
        run_id, id="old", on_update=gate, on_complete=recorder.on_complete
    )
    assert gate.entered.wait(5)
    server.complete_run(run_id)
    eventually(lambda: subscription.run is not None and subscription.run.is_finished)
    subscription.change_id("new")
    gate.go.set()
    assert subscription.wait_for_completion(5).is_success
    assert len(recorder.completes) == 1


def test_enable_and_disable(server, client):
    """IDLE sends nothing; what is known stays; going on tells what changed, and only that."""
    run_id = server.create_run()
    recorder = Recorder()
    subscription = client.subscribe_to_run(run_id, enabled=False, **recorder.options)
    assert subscription.state is State.IDLE
    assert server.requests == []
    subscription.enable()
    recorder.wait("update")
    server.wait_until_held(1)
    subscription.disable()
    subscription.disable()
    server.wait_for_connections(0)
    assert subscription.state is State.IDLE
    assert subscription.run is not None
    assert client.get(subscription.id) is subscription
    subscription.enable()
    server.wait_until_held(1)
    assert recorder.statuses == ["QUEUED"]
    subscription.disable()
    server.update_run(run_id, status="EXECUTING")
    subscription.enable()
    recorder.wait("update", 2)
    server.complete_run(run_id)
    assert subscription.wait_for_completion(5).is_success
    subscription.disable()
    subscription.enable()
    assert subscription.state is State.COMPLETED


def test_enabling_after_the_end(server, client):
    """A cancelled one can't go on."""
    subscription = client.subscribe_to_run(server.create_run())
    subscription.cancel()
    with pytest.raises(SubscriptionCancelled):
        subscription.enable()


def test_subscriptions_is_a_live_mapping(server, client):
    """Read-only, of ids to the first subscriptions."""
    mapping = client.subscriptions
    assert isinstance(mapping, Mapping)
    assert not hasattr(mapping, "__setitem__")
    one = client.subscribe_to_run(server.create_run(), id="one")
    two = client.subscribe_to_batch("batch_x", id="two")
    assert dict(mapping) == {"one": one, "two": two}
    assert "one" in mapping
    assert len(mapping) == 2
    with pytest.raises(KeyError):
        mapping["three"]
    client.cancel_all()
    assert dict(mapping) == {}
    assert client.get("one") is None


def test_ids_are_made_up_without_one(server, client):
    """Two subscriptions to one run are two."""
    run_id = server.create_run()
    one, two = client.subscribe_to_run(run_id), client.subscribe_to_run(run_id)
    assert one.id != two.id
    server.wait_until_held(2)


def test_a_subscription_that_joins_under_a_stuck_callback(server, client):
    """One slow subscription holds up no other of the same id."""
    run_id = server.create_run()
    gate, recorder = Gate(), Recorder()
    client.subscribe_to_run(run_id, id="x", on_update=gate)
    assert gate.entered.wait(5)
    client.subscribe_to_run(run_id, id="x", **recorder.options)
    recorder.wait("update")
    server.update_run(run_id, status="EXECUTING")
    recorder.wait("update", 2)
    gate.go.set()


def test_last_contact_is_the_time_of_the_last_answer(server, client):
    """Aware, UTC; None before any answer."""
    subscription = client.subscribe_to_run(server.create_run(), enabled=False)
    assert subscription.last_contact is None
    subscription.enable()
    server.wait_until_held(1)
    first = subscription.last_contact
    assert first is not None
    assert first.utcoffset() is not None
    server.update_run(subscription.run.id, status="EXECUTING")  # type: ignore[union-attr]
    eventually(lambda: subscription.last_contact > first)  # type: ignore[operator]


def test_the_map_can_be_looked_through_while_subscriptions_end(raw, connect):
    """Its views are snapshots."""
    client = connect(raw(snapshot(row())))
    for id_ in "abc":
        client.subscribe_to_run("run_1", id=id_)
    seen = []
    for id_, subscription in client.subscriptions.items():
        client.cancel_all()
        seen.append((id_, subscription.id))
    assert seen == [("a", "a"), ("b", "b"), ("c", "c")]
    assert list(client.subscriptions.values()) == []
    assert dict(client.subscriptions) == {}


def test_tags_in_another_order_are_the_same(raw, connect):
    """The second joins the first."""
    client = connect(raw(snapshot(row())))
    first = client.subscribe_to_runs_with_tag(["x", "y"], id="a")
    second = client.subscribe_to_runs_with_tag(["y", "x"], id="a")
    assert second.state is not State.CANCELLED
    assert first.state is not State.CANCELLED
    assert client.subscriptions["a"] is first


def test_the_first_snapshot_is_told_though_it_is_older_than_the_cache(raw, connect):
    """A replica may lag: the newest known state is delivered."""
    client = connect(raw(by_poll(in_turn(answer(row(version=5)), answer(row(version=3))), hold())))
    first, second = Recorder(), Recorder()
    client.subscribe_to_run("run_1", id="a", **first.options)
    first.wait("update")
    client.cancel("a")
    client.subscribe_to_run("run_1", id="a", **second.options)
    assert second.wait("update")[0].metadata == {"version": 5}


def test_the_last_contact_outlives_a_pause(raw, connect):
    """A health check sees when the server was last heard, enabled or not."""
    subscription = connect(raw(answer(row()), hold())).subscribe_to_run("run_1")
    before = eventually(lambda: subscription.last_contact)
    subscription.disable()
    assert subscription.last_contact == before
    subscription.enable()
    assert subscription.last_contact == before


def test_what_has_failed_cannot_be_enabled(raw, connect):
    """It says so, by the error that ended it."""
    client = connect(raw(reply(401, {}, {"error": "no"})))
    subscription = client.subscribe_to_run("run_1")
    eventually(lambda: subscription.state is State.FAILED)
    with pytest.raises(AuthenticationError):
        subscription.enable()


def test_a_thread_that_cannot_be_started_is_tried_again(raw, connect, monkeypatch, caplog):
    """The system may have none to give for a moment: nothing is lost, and the log says it once."""
    client = connect(raw(answer(done())))
    subscription = client.subscribe_to_run("run_1", enabled=False)
    recorder = Recorder()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        patch.setattr(threads, "AGAIN_SECONDS", 0.01)
        subscription.enable()
        assert subscription.state is State.CONNECTING
        eventually(lambda: caplog.text.count("can't start new thread; it is tried again") == 1)
        client.subscribe_to_run("run_1", id="another", **recorder.options)
    assert subscription.wait_for_completion(10).is_success
    assert recorder.wait("complete")[0].is_success
    assert caplog.text.count("it is tried again") == 1


def test_a_subscription_without_any_thread_is_refused(raw, connect, monkeypatch):
    """Nobody could try again: the call says so, and leaves nothing behind."""
    client = connect(raw(answer(done())))
    monkeypatch.setattr(janitor, "START_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            client.subscribe_to_run("run_1")
    assert not client.subscriptions
    assert client.subscribe_to_run("run_1").wait_for_completion(10).is_success


def no_thread(self: threading.Thread) -> None:
    """Do what `start` does at the limit of threads."""
    raise RuntimeError("can't start new thread")
