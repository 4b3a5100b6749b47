"""What the native backend sends to a live poll, and what it withholds (docs/protocol.md,
section 2, items 5 and 6)."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone

import pytest

from .conftest import serving


def shape(client, server, kind):
    """A run, and a feed that it is in: its own, that of a tag, that of a batch."""
    run_id = server.create_run(tags=["a"])
    if kind == "run":
        return run_id, client.feed(run_id)
    if kind == "tag":
        return run_id, client.tag_feed("a")
    return run_id, client.follow(f"/realtime/v1/batches/{server.batch(run_id)}")


KINDS = pytest.mark.parametrize("kind", ["run", "tag", "batch"])
SETS = pytest.mark.parametrize("kind", ["tag", "batch"])


@KINDS
def test_not_live_with_a_handle_is_the_whole_snapshot(server, client, kind):
    """Every row again, as an insert, and up to date, under the same handle."""
    _, feed = shape(client, server, kind)
    first = feed.ask()
    again = feed.ask()
    assert (again.values, again.operations) == (first.values, ["insert"])
    assert again.controls == ["up-to-date"]
    assert again.headers["electric-handle"] == first.headers["electric-handle"]
    assert "electric-schema" in again.headers


@SETS
def test_a_lost_answer_is_not_sent_again(server, client, kind):
    """The set moved before the answer left: no live poll of the handle shows the change, and a
    request that is not live does."""
    run_id, feed = shape(client, server, kind)
    feed.start()
    server.update_run(run_id, metadata={"n": 1})
    server.fail_next(lost=True)
    with pytest.raises(ConnectionResetError):
        feed.live()
    client.connection.close()
    server._polls.hold = 0.01

    assert feed.live().rows == []
    assert feed.ask().values[0]["metadata"] == '{"n":1}'


@serving(hold=0.01)
def test_a_lost_answer_of_a_single_run_comes_again(server, client):
    """Its place is in the offset, which the client still has."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.complete_run(run_id)
    server.fail_next(lost=True)
    with pytest.raises(ConnectionResetError):
        feed.live()
    client.connection.close()
    assert feed.live().values[0]["status"] == "COMPLETED_SUCCESSFULLY"


@serving(hold=0.01)
def test_refused_requests_move_nothing(server, client):
    """A fault before the backend leaves the set as it was."""
    run_id = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    server.update_run(run_id, metadata={"n": 1})
    server.fail_next(status=502)
    assert feed.live().status == 502
    assert feed.live().values[0]["metadata"] == '{"n":1}'


@serving(hold=0.01)
@KINDS
@pytest.mark.parametrize("back", [0, 2.5])
def test_a_stamp_that_is_not_later_is_withheld(server, client, kind, back):
    """COMPLETED with the same or an earlier stamp: never by a live poll, at once by another."""
    run_id, feed = shape(client, server, kind)
    feed.start()
    server.complete_run(run_id, stamp_back=back)
    assert feed.live().rows == []
    assert feed.live().rows == []
    (value,) = feed.ask().values
    assert value["status"] == "COMPLETED_SUCCESSFULLY"


@serving(hold=0.01)
def test_a_set_moves_to_the_older_stamp(server, client):
    """A change between the two stamps is then told in a feed by tags, and withheld from the feed of
    the run, whose offset did not move."""
    run_id = server.create_run(tags=["a"])
    by_tag, single = client.tag_feed("a").start(), client.feed(run_id).start()
    server.update_run(run_id, metadata={"n": 1}, stamp_back=10)
    assert (by_tag.live().rows, single.live().rows) == ([], [])
    server.update_run(run_id, metadata={"n": 2}, stamp_back=-5)
    assert by_tag.live().values[0]["metadata"] == '{"n":2}'
    assert single.live().rows == []


@serving(hold=0.01)
@SETS
def test_readers_of_one_handle_spoil_its_set(server, client, kind):
    """What one was told, the other is not."""
    run_id, feed = shape(client, server, kind)
    feed.start()
    other = client.follow(feed.path, **feed.query)
    other.offset, other.handle = feed.offset, feed.handle
    server.update_run(run_id, status="EXECUTING")
    assert len(other.live().rows) == 1
    assert feed.live().rows == []


@SETS
def test_handles_are_minted_for_each_reader(server, client, kind):
    """Two snapshots of the same shape have two handles; those of a run have one."""
    run_id, feed = shape(client, server, kind)
    other = client.follow(feed.path, **feed.query)
    assert feed.start().handle != other.start().handle
    assert client.feed(run_id).start().handle == client.feed(run_id).start().handle


@pytest.mark.parametrize(("kind", "kept"), [("run", True), ("tag", False), ("batch", True)])
def test_a_handle_at_minus_one(server, client, kind, kept):
    """A feed by tags gets a new one, with a window of its own."""
    _, feed = shape(client, server, kind)
    handle = feed.start().handle
    feed.offset = "-1"
    assert (feed.start().handle == handle) is kept


@serving(hold=0.01)
def test_a_handle_that_the_server_does_not_know(server, client):
    """Rows later than the offset, as updates; then the set is known."""
    run_id = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    feed.handle = "33-1764000000000"
    assert feed.live().rows == []
    feed.handle, feed.offset = "34-1764000000000", "0_inf"
    assert (feed.live().run_ids, feed.handle) == ([run_id], "34-1764000000000")
    late = server.create_run(tags=["a"], updated_at="2020-01-01T00:00:00.000")
    assert (feed.live().run_ids, feed.ask().run_ids) == ([late], [run_id, late])


@serving(hold=0.01)
def test_an_idle_poll_of_tags_moves_the_offset(server, client):
    """Only that of a single run stays where it was."""
    server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    before = feed.offset
    assert feed.live().controls == ["up-to-date"]
    assert feed.offset != before
    assert feed.offset.split("_")[0] == before.split("_")[0]


def test_polls_are_held_for_different_times(server):
    """15 % more or less, so that clients who came together do not return together."""
    held = [server._native.hold_seconds(20) for _ in range(100)]
    assert 17 <= min(held) < 19 < 21 < max(held) <= 23
    assert server._electric.hold_seconds(20) == 20


@serving(hold=0.01)
def test_the_floor_of_a_day_moves_with_each_request(server, client):
    """The handle pins a window, but what is older than a day is in none: neither in a snapshot nor
    told by a live poll."""
    run_id = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    moment = int(time.time() * 1000)
    feed.handle = re.sub(r"runs_\d+", f"runs_{moment - 90_000_000}", feed.handle)
    yesterday = datetime.fromtimestamp(moment / 1000 - 88_000, timezone.utc)
    old = server.create_run(tags=["a"], created_at=yesterday)
    assert feed.ask().run_ids == [run_id]
    server.update_run(old, status="EXECUTING")
    assert feed.live().rows == []
    feed.handle = re.sub(r"runs_\d+", f"runs_{moment + 90_000}", feed.handle)
    assert feed.ask().run_ids == []


@serving(hold=0.01)
def test_the_1001st_run_is_not_told(server, client):
    """It has left the snapshot, and is not told by live polls any more."""
    first = server.create_run(tags=["a"], created_at="2098-01-01T00:00:00.000")
    for _ in range(999):
        server.create_run(tags=["a"], created_at="2099-01-01T00:00:00.000")
    feed = client.tag_feed("a").start()
    server.update_run(first, status="EXECUTING")
    assert feed.live().run_ids == [first]
    newest = server.create_run(tags=["a"], created_at="2099-01-01T00:00:01.000")
    server.update_run(first, status="WAITING")
    assert feed.live().run_ids == [newest]
    assert first not in feed.ask().run_ids


def test_a_stale_snapshot_seeds_an_older_set(server, client):
    """The newer row follows by itself."""
    run_id = server.create_run(tags=["a"])
    server.update_run(run_id, status="EXECUTING")
    server.fail_next(stale=True)
    feed = client.tag_feed("a")
    assert feed.ask().values[0]["status"] == "PENDING"
    assert feed.live().values[0]["status"] == "EXECUTING"


def test_an_untagged_run_is_never_mentioned(server, client, in_background):
    """It has left: a change of it does not end a poll that is held."""
    run_id = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    got = in_background(feed.live)
    server.wait_until_held()
    server.update_run(run_id, tags=[])
    server.delete_run(run_id)
    other = server.create_run(tags=["a"])
    assert got.result(5).run_ids == [other]


def test_nothing_at_all_has_offset_zero(server, client):
    """A run that has not reached the replica, and tags without runs."""
    lagging = client.feed(server.create_run(lag=True)).start()
    assert (lagging.offset, client.tag_feed("a").start().offset[:2]) == ("0_0", "0_")


def test_no_tags_are_all_runs(server, client):
    """With an empty `tags=`, and without."""
    runs = [server.create_run(), server.create_run(tags=["a"])]
    assert client.runs(tags="").run_ids == runs
    feed = client.follow("/realtime/v1/runs").start()
    server.update_run(runs[0], status="EXECUTING")
    assert feed.live().run_ids == [runs[0]]


@serving({}, {"cache": "url"})
def test_nothing_is_cached(server, client):
    """Native forbids it, and sends no tag to compare."""
    run_id = server.create_run()
    client.run(run_id)
    got = client.run(run_id)
    assert "age" not in got.headers
    assert got.headers["cache-control"] == "no-store"
    assert "etag" not in got.headers
