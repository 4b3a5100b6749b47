"""Electric's log: its parts, its caches, what goes wrong in it (docs/protocol.md, section 2)."""

from __future__ import annotations

import re

import pytest

from trigger_realtime_sync.testing import RealtimeServer

from .conftest import serving

UP_TO_DATE, OUT_OF_BOUNDS = ["up-to-date"], {"offset": ["out of bounds for this shape"]}


@pytest.fixture
def server(request):
    options = {"hold": 0.05, **getattr(request, "param", {})}
    with RealtimeServer("electric", **options) as server:
        yield server


def patient(**options):
    """Polls are held for as long as it takes."""
    return serving(hold=20, **options)


def headers_of(got):
    return [row["headers"] for row in got.rows]


# --- parts


def test_the_first_answer_ends_the_snapshot_at_0_0(server, client):
    """The catch-up after it, empty and up to date, moves to `0_inf`."""
    feed = client.feed(server.create_run())
    assert (feed.ask().controls, feed.offset) == (["snapshot-end"], "0_0")
    assert (feed.ask().controls, feed.offset) == (UP_TO_DATE, "0_inf")
    assert (feed.ask().controls, feed.offset) == (UP_TO_DATE, "0_inf")


@serving(snapshot_chunk_rows=2)
def test_parts_of_a_snapshot_have_offsets_of_their_own(server, client):
    """`0_0`, `0_1`, and so on; a number beyond them is out of bounds."""
    for _ in range(5):
        server.create_run(tags=["a"])
    feed = client.tag_feed("a")
    offsets = []
    for _ in range(4):
        feed.ask()
        offsets.append(feed.offset)
    assert offsets == ["0_0", "0_1", "0_2", "0_inf"]
    feed.offset = "0_3"
    assert feed.ask().json()["errors"] == OUT_OF_BOUNDS


@serving(empty_past_snapshot=True)
def test_an_empty_answer_past_the_snapshot(server, client):
    """`[]`, and not up to date: one more request says so."""
    feed = client.feed(server.create_run())
    feed.ask()
    got = feed.ask()
    assert (got.json(), feed.offset) == ([], "0_inf")
    assert "electric-up-to-date" not in got.headers
    assert feed.ask().controls == UP_TO_DATE


def test_a_transaction_has_one_last_row(server, client):
    """Its rows share `lsn` and `txids`; each has an `op_position`, and the last one `last`."""
    runs = [server.create_run(tags=["a"]) for _ in range(3)]
    feed = client.tag_feed("a").start()
    with server.transaction():
        for run_id in runs:
            server.update_run(run_id, status="EXECUTING")
    server.update_run(runs[0], status="WAITING")

    headers = headers_of(feed.live())

    assert [one.get("last") for one in headers] == [None, None, True, True]
    assert [one["op_position"] for one in headers] == [0, 2, 4, 0]
    assert len({one["lsn"] for one in headers[:3]}) == 1
    assert headers[3]["lsn"] != headers[0]["lsn"]
    assert headers[0]["txids"] == [int(headers[0]["lsn"])]


def test_last_is_the_last_row_of_the_shape(server, client):
    """Rows of the transaction that the shape does not show do not count."""
    mine, other = server.create_run(), server.create_run()
    feed = client.feed(mine).start()
    with server.transaction():
        server.update_run(mine, status="EXECUTING")
        server.update_run(other, status="EXECUTING")
    assert headers_of(feed.live())[0]["last"] is True


@patient()
def test_a_transaction_reaches_a_held_poll_whole(server, client, in_background):
    """No poll is answered between its changes."""
    runs = [server.create_run(tags=["a"]) for _ in range(2)]
    feed = client.tag_feed("a").start()
    got = in_background(feed.live)
    server.wait_until_held()
    with server.transaction():
        for run_id in runs:
            server.update_run(run_id, status="EXECUTING")
    assert got.result(5).run_ids == runs


@serving(log_chunk_rows=2)
def test_a_live_answer_can_end_within_a_transaction(server, client):
    """It is not up to date, and the rest follows from its offset."""
    runs = [server.create_run(tags=["a"]) for _ in range(3)]
    feed = client.tag_feed("a").start()
    with server.transaction():
        for run_id in runs:
            server.update_run(run_id, status="EXECUTING")

    part, rest = feed.live(), feed.ask()

    assert (part.run_ids, part.controls, rest.controls) == (runs[:2], [], UP_TO_DATE)
    assert "electric-up-to-date" not in part.headers
    assert [one.get("last") for one in headers_of(part) + headers_of(rest)] == [None, None, True]
    assert rest.run_ids == runs[2:]


def test_the_log_of_a_skipped_column_says_nothing(server, client):
    """A change that the shape does not show moves no offset either."""
    run_id = server.create_run()
    feed = client.follow(f"/realtime/v1/runs/{run_id}", skipColumns="metadata,updatedAt").start()
    server.update_run(run_id, metadata={"n": 1})
    got = feed.ask()
    assert (got.rows, got.controls, feed.offset) == ([], UP_TO_DATE, "0_inf")


@pytest.mark.parametrize("back", [0, 5])
def test_a_change_with_an_earlier_stamp_is_told(server, client, back):
    """Order is the log's: the stamp may go back."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.complete_run(run_id, stamp_back=back)
    (value,) = feed.live().values
    assert value["status"] == "COMPLETED_SUCCESSFULLY"
    assert ("updatedAt" in value) is bool(back)


# --- caches


def test_headers_for_caches(server, client):
    """A week for the first answer, seconds for the others, each with a tag to compare."""
    run_id = server.create_run()
    feed = client.feed(run_id)
    first, catch_up, live = feed.ask(), feed.ask(), feed.live()
    feed.offset = "x"
    wrong = feed.ask()
    assert [got.headers["cache-control"] for got in (first, catch_up, live, wrong)] == [
        "public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746",
        "public, max-age=60, stale-while-revalidate=300",
        "public, max-age=5, stale-while-revalidate=5",
        "no-store",
    ]
    assert first.headers["etag"] == f'"{feed.handle}:-1:0_0"'
    assert re.fullmatch(rf'"{feed.handle}:0_0:0_inf:\d+"', catch_up.headers["etag"])
    assert [("etag" in got.headers) for got in (first, live, wrong)] == [True, True, False]


@pytest.mark.parametrize(("send_handle", "age"), [(True, 60), (False, 1)])
def test_a_409_may_be_cached(server, client, send_handle, age):
    """For a minute, or for a second if it has no handle."""
    feed = client.feed(server.create_run()).start()
    server.rotate(send_handle=send_handle)
    got = feed.ask()
    assert (got.status, "etag" in got.headers) == (409, send_handle)
    assert f"max-age={age}," in got.headers["cache-control"]


@serving(cache="url")
def test_a_cache_repeats_an_old_snapshot(server, client):
    """Whatever the request says of caches; another URL gets past it."""
    run_id = server.create_run()
    first = client.run(run_id, {"Cache-Control": "no-store"})
    server.rotate()
    server.complete_run(run_id)
    again = client.run(run_id, {"Cache-Control": "no-store"})
    assert (again.body, again.headers["age"]) == (first.body, "0")
    assert again.headers["electric-handle"] == first.headers["electric-handle"]
    new = client.run(run_id, bust="1")
    assert new.values[0]["status"] == "COMPLETED_SUCCESSFULLY"
    assert "age" not in new.headers


@serving(cache="known")
def test_a_cache_can_ignore_unknown_parameters(server, client):
    """Then nothing helps against an old snapshot, and its handle is refused."""
    feed = client.feed(server.create_run())
    feed.ask()
    server.rotate()
    again = client.run(feed.path.rpartition("/")[2], log="full", bust="1")
    assert again.headers["electric-handle"] == feed.handle
    assert feed.ask().status == 409


@serving(cache="url")
def test_a_cache_repeats_a_409(server, client):
    """Its handle is refused for as long as the answer is kept; errors are not kept at all."""
    feed = client.feed(server.create_run()).start()
    server.rotate()
    assert feed.ask().headers.get("age") is None
    assert (feed.ask().status, feed.ask().headers["age"]) == (409, "0")
    feed.offset = "9_9"
    feed.handle = feed.ask().headers["electric-handle"]
    assert [feed.ask().headers.get("age") for _ in range(2)] == [None, None]


@serving(cache="url")
def test_a_cursor_gets_past_a_cache(server, client):
    """Each answer names the cursor of the next, and so another URL."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    cursor = feed.ask(live="true", cursor="").headers["electric-cursor"]
    server.update_run(run_id, status="EXECUTING")
    assert feed.ask(live="true", cursor=cursor).rows


# --- shapes and windows


@patient()
def test_a_held_poll_gets_a_409_without_a_handle(server, client, in_background):
    """A poll that comes later is named the new one."""
    feed = client.feed(server.create_run()).start()
    got = in_background(feed.live)
    server.wait_until_held()
    server.rotate()
    assert got.result(5).status == 409
    assert "electric-handle" not in got.result(5).headers
    assert "electric-handle" in feed.live().headers


@pytest.mark.parametrize("query", [{"replica": "full"}, {"skipColumns": "ttl"}], ids=str)
def test_another_shape_is_a_snapshot_of_now(server, client, query):
    """The shape that exists begins at its birth."""
    run_id = server.create_run()
    client.feed(run_id).start()
    server.complete_run(run_id)
    assert client.row(run_id)["status"] == "PENDING"
    assert client.row(run_id, **query)["status"] == "COMPLETED_SUCCESSFULLY"


def test_full_replicas_send_whole_rows(server, client):
    """An update has every column."""
    run_id = server.create_run()
    feed = client.follow(f"/realtime/v1/runs/{run_id}", replica="full").start()
    server.update_run(run_id, status="EXECUTING")
    assert len(feed.live().values[0]) == len(client.row(run_id))


def test_the_window_moves_with_each_request(server, client):
    """Each first request by tags is about a shape of its own; later ones keep its window."""
    server.create_run(tags=["a"])
    feeds = [client.tag_feed("a").start() for _ in range(20)]
    # Two requests within one millisecond have the same window.
    assert len({feed.handle for feed in feeds}) > 1
    assert {feed.ask().status for feed in feeds} == {200}


def test_a_run_that_grew_old_is_not_in_the_new_shape(server, client):
    """A rotation moves the window past it, though it still executes."""
    feed = client.follow("/realtime/v1/runs", tags="a", createdAt="1s")
    run_id = server.create_run(tags=["a"])
    assert feed.start().ask().status == 200
    server.rotate()
    server.update_run(run_id, status="EXECUTING", created_at="2020-01-01T00:00:00.000")
    assert feed.live().status == 409
    assert client.follow("/realtime/v1/runs", tags="a", createdAt="1s").ask().run_ids == []


def test_a_handle_at_minus_one_has_no_window(server, client):
    """The web application knows no bound for the handle of a 409: all runs ever."""
    old = server.create_run(tags=["a"], created_at="2020-01-01T00:00:00.000")
    young = server.create_run(tags=["a"])
    feed = client.tag_feed("a")
    assert feed.ask().run_ids == [young]
    server.rotate()
    handle = feed.ask().headers["electric-handle"]
    assert client.runs(tags="a", handle=handle).run_ids == [old, young]
    assert client.runs(tags="a").run_ids == [young]


def test_too_many_tags(server, client):
    """They make the URL too long."""
    tags = ",".join(f"a tag with a long name {n}" for n in range(300))
    assert client.runs(tags=tags).status == 414


# --- what goes wrong


def test_a_flush_leaves_a_change_out(server, client):
    """The offset has passed it; at the old offset it is still there."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.complete_run(run_id)
    server.fail_next(leave_out=1)
    old = feed.offset

    got = feed.live()

    assert (got.rows, got.controls) == ([], UP_TO_DATE)
    assert feed.offset != old
    assert feed.live().rows == []
    feed.offset = old
    assert feed.ask().values[0]["status"] == "COMPLETED_SUCCESSFULLY"


def test_a_flush_within_a_transaction(server, client):
    """The last row that is sent has no `last`."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    with server.transaction():
        server.update_run(run_id, status="EXECUTING")
        server.complete_run(run_id)
    server.fail_next(leave_out=1)
    (headers,) = headers_of(feed.live())
    assert "lsn" in headers
    assert "last" not in headers
    assert feed.live().rows == []


def test_a_restart_repeats_changes(server, client):
    """The offset goes back, and the last change comes again; once for each shape."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.update_run(run_id, status="EXECUTING")
    first = feed.offset
    change = feed.live().rows
    server.restart()
    assert feed.live().rows == change
    assert feed.offset == first
    assert feed.live().rows == change
    assert feed.live().rows == []


def test_a_restart_skips_no_change(server, client):
    """Whoever is behind the last change gets those before it too, in order."""
    run_id = server.create_run(metadata={"n": 0})
    feed = client.feed(run_id).start()
    for n in (1, 2, 3):
        server.update_run(run_id, metadata={"n": n})
    server.restart()
    told = [*feed.live().values, *feed.live().values]
    assert [row["metadata"] for row in told] == ['{"n":1}', '{"n":2}', '{"n":3}', '{"n":3}']


@serving({}, {"empty_past_snapshot": True})
def test_a_crash_forgets_the_end_of_the_log(server, client):
    """Held offsets: 400. From -1: the snapshot of the birth, up to date where it was, and silence
    until the run changes again."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.update_run(run_id, metadata={"n": 1})
    feed.live()
    handle = feed.handle
    server.crash()

    assert feed.live().json()["errors"] == OUT_OF_BOUNDS
    feed.offset, feed.handle = "-1", None
    snapshot = feed.ask()
    assert (snapshot.values[0]["metadata"], feed.offset, feed.handle) == (None, "0_0", handle)
    assert (feed.ask().controls, feed.offset) == (UP_TO_DATE, "0_0")
    assert (feed.live().rows, feed.offset) == ([], "0_0")
    server.update_run(run_id, status="EXECUTING")
    assert set(feed.live().values[0]) == {"id", "status", "updatedAt", "startedAt"}
    assert feed.ask().controls == UP_TO_DATE
    assert client.row(run_id, replica="full")["metadata"] == '{"n":1}'


def test_a_restart_after_a_crash_stays_in_bounds(server, client):
    """What it repeats is at an offset that it remembers."""
    feed = client.feed(server.create_run()).start()
    server.crash()
    feed.offset = "0_0"
    server.restart()
    assert [(feed.live().rows, feed.offset) for _ in range(2)] == [([], "0_0")] * 2


def test_a_crash_refuses_the_end_of_a_snapshot(server, client):
    """`0_inf` is beyond what it remembers."""
    feed = client.feed(server.create_run()).start()
    server.crash()
    assert (feed.offset, feed.ask().json()["errors"]) == ("0_inf", OUT_OF_BOUNDS)


@patient()
def test_a_lost_answer_is_still_in_the_log(server, client, in_background):
    """Electric keeps no working set: at the old offset it comes again."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.fail_next(lost=True)
    got = in_background(feed.live)
    server.wait_until_held()
    server.complete_run(run_id)
    with pytest.raises(ConnectionResetError):
        got.result(5)
    client.connection.close()
    assert feed.live().values[0]["status"] == "COMPLETED_SUCCESSFULLY"
