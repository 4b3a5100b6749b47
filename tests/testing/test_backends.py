"""What both backends of the feeds share: replication, limits, a switch from one to the other."""

from __future__ import annotations

import http.client
import time

import pytest

from .conftest import HEADERS, serving

BOTH = ({"backend": "native"}, {"backend": "electric"})


@serving(*BOTH, hold=0.01)
def test_replication_that_lags_behind_rest(server, client):
    """REST knows at once; the feeds are told at the end of the block, in order."""
    run_id = server.create_run(tags=["a"])
    feed, tagged = client.feed(run_id).start(), client.tag_feed("a").start()
    with server.hold_replication():
        server.complete_run(run_id)
        other = server.create_run(tags=["a"])
        assert client.get(f"/api/v3/runs/{run_id}").json()["status"] == "COMPLETED"
        assert client.get(f"/api/v3/runs/{other}").status == 200
        assert feed.live().rows == []
        assert feed.ask().controls == ["up-to-date"]
        assert client.run(other).rows == []
        assert client.row(run_id)["status"] == "PENDING"
    assert feed.live().values[0]["status"] == "COMPLETED_SUCCESSFULLY"
    assert set(tagged.live().run_ids[-2:]) == {run_id, other}


@serving(*BOTH)
def test_the_end_of_the_lag_answers_a_held_poll(server, client, in_background):
    """Held before, and released without a block."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.hold_replication()
    got = in_background(feed.live)
    server.wait_until_held()
    server.update_run(run_id, metadata=1)
    server.delete_run(server.create_run())
    assert not got.done()
    server.release_replication()
    assert got.result(5).values[0]["metadata"] == "1"


@serving(hold=0.01)
def test_a_switch_to_electric_refuses_the_handle(server, client):
    """409: the handle means nothing there. Back on native any handle is taken, at any offset."""
    run_id = server.create_run(tags=["a"])
    feeds = [client.feed(run_id).start(), client.tag_feed("a").start()]
    server.switch_backend("electric")
    assert [feed.live().status for feed in feeds] == [409, 409]
    for feed in feeds:
        feed.offset, feed.handle = "-1", None
        feed.start()
    server.switch_backend("native")
    for feed in feeds:
        got = feed.live()
        assert (got.operations, got.controls) == (["update"], ["up-to-date"])
    with pytest.raises(ValueError, match="backend must be"):
        server.switch_backend("shadow")


@serving(*BOTH)
def test_live_polls_have_a_limit(server, client, held_socket, in_background):
    """All places taken: 429 without `Retry-After`. A request that is not live needs none, and a
    place is free again when its poll is answered, or cut."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    target = f"{feed.path}?offset={feed.offset}&handle={feed.handle}&live=true"
    server.live_polls = 2
    sockets = [held_socket(target) for _ in range(2)]
    server.wait_until_held(2)

    got = feed.live()

    assert (got.status, got.json()) == (429, {"error": "Too many concurrent requests"})
    assert "retry-after" not in got.headers
    assert feed.ask().status == client.run(run_id).status == 200
    sockets[0].close()
    server.wait_for_connections(2)
    again = in_background(feed.live)
    server.wait_until_held(2)
    server.update_run(run_id, status="EXECUTING")
    assert again.result(5).status == 200
    assert server.live_polls == 2


@serving(backend="electric", electric_requests=4)
def test_electric_refuses_by_number(server, client, held_socket):
    """503 with `Retry-After` beyond so many requests at once, live or not; a poll that was cut
    keeps its place. First requests are counted apart."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    target = f"{feed.path}?offset={feed.offset}&handle={feed.handle}&live=true"
    sockets = [held_socket(target) for _ in range(4)]
    server.wait_until_held(4)
    for got in (feed.ask(), feed.live()):
        assert got.json()["code"] == "concurrent_request_limit_exceeded"
        assert (got.status, got.headers["retry-after"]) == (503, "1")
    sockets[0].close()
    server.wait_for_connections(4)
    assert feed.ask().status == 503
    assert client.run(run_id).status == client.get(f"/api/v3/runs/{run_id}").status == 200


@serving(backend="electric", electric_requests=4)
def test_electric_takes_fewer_first_requests(server, client, held_socket):
    """Three tenths of the others."""
    run_id = server.create_run()
    with server._limits.electric_request(first=True, hold=0):
        got = client.run(run_id)
        assert (got.status, got.headers["retry-after"]) == (503, "1")
        assert client.get(f"/realtime/v1/runs/{run_id}", offset="0_inf").status == 400
    assert client.run(run_id).status == 200


@serving(api_requests=2)
def test_rest_has_a_limit_too(server, client):
    """429 as a problem, with the time of the reset in milliseconds; packets and feeds are free."""
    run_id = server.create_run()
    path = f"/api/v3/runs/{run_id}"
    assert [client.get(path).status for _ in range(3)] == [200, 200, 429]
    got = client.get(path)
    reset = int(got.headers["x-ratelimit-reset"])
    assert got.headers["content-type"] == "application/problem+json"
    assert 0 < reset - time.time() * 1000 <= 10_000
    assert (got.json()["status"], got.json()["reset"]) == (429, reset)
    assert client.get("/api/v1/packets/p").status == client.run(run_id).status == 200


def test_a_slash_at_the_end_is_redirected(server, client):
    """301, with the query."""
    got = client.get(f"/realtime/v1/runs/{server.create_run(id='run_1')}/", offset="-1")
    assert (got.status, got.headers["location"]) == (301, "/realtime/v1/runs/run_1?offset=-1")


@serving(hold=0.01)
def test_lost_with_another_answer(server, client):
    """The backend moves on, and a proxy answers for it."""
    run_id = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    server.update_run(run_id, status="EXECUTING")
    server.fail_next(lost=True, status=504)
    assert feed.live().status == 504
    assert feed.live().rows == []
    assert len(feed.ask().rows) == 1


def test_a_cut_answer_is_a_lost_one(server, client, in_background):
    """What was cut on its way is not sent again either."""
    run_id = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    server.fail_next(cut_body_at=5, after_hold=True)
    got = in_background(feed.live)
    server.wait_until_held()
    server.update_run(run_id, status="EXECUTING")
    with pytest.raises(http.client.IncompleteRead):
        got.result(5)
    client.connection.close()
    again = in_background(feed.live)
    server.wait_until_held()
    server.update_run(server.create_run(tags=["a"]), status="EXECUTING")
    assert run_id not in again.result(5).run_ids


def test_a_lost_answer_that_is_not_live(server, client):
    """The snapshot seeded its set: the next live poll holds what changed since."""
    run_id = server.create_run(tags=["a"])
    feed = client.tag_feed("a").start()
    server.update_run(run_id, status="EXECUTING")
    server.fail_next(lost=True, live=False)
    with pytest.raises(ConnectionResetError):
        feed.ask()
    client.connection.close()
    server.update_run(run_id, status="WAITING")
    assert [value["status"] for value in feed.live().values] == ["WAITING_TO_RESUME"]


# --- the second opinion


def rest(client, run_id):
    return client.get(f"/api/v3/runs/{run_id}", {**HEADERS}).json()


def test_rest_leaves_out_what_a_run_does_not_have(server, client):
    """No null for a time that has not come, nor for an output."""
    run = rest(client, server.create_run("t", tags=["a"]))
    assert {"startedAt", "finishedAt", "ttl", "output", "error"} & set(run) == set()
    assert run["createdAt"].endswith("Z")
    assert run["updatedAt"].endswith("Z")
    assert (run["status"], run["taskIdentifier"], run["tags"]) == ("QUEUED", "t", ["a"])
    assert (run["isCompleted"], run["isQueued"], run["attempts"]) == (False, True, [])


@pytest.mark.parametrize(
    ("status", "completed", "failed"),
    [
        ("COMPLETED", True, False),
        ("FAILED", True, True),
        ("CRASHED", True, True),
        ("SYSTEM_FAILURE", True, True),
        ("CANCELED", True, True),
        ("EXPIRED", False, False),
        ("TIMED_OUT", False, False),
        ("WAITING", False, False),
    ],
)
def test_what_rest_calls_completed(server, client, status, completed, failed):
    """By the status alone, and neither EXPIRED nor TIMED_OUT."""
    run = rest(client, server.create_run(status=status))
    assert (run["status"], run["isCompleted"], run["isFailed"]) == (status, completed, failed)
    assert run["isWaiting"] is (status == "WAITING")


@serving(*BOTH)
def test_a_deleted_run_is_gone(server, client):
    """404 by REST and by its own feed, one that was never replicated too."""
    for run_id in (server.create_run(), server.create_run(lag=True)):
        server.delete_run(run_id)
        assert client.get(f"/api/v3/runs/{run_id}").status == client.run(run_id).status == 404


def test_rest_outputs_have_lost_their_types(server, client):
    """The JSON of a super+json packet, and only of a run that was successful."""
    run_id = server.create_run(status="EXECUTING")
    output = ('{"json":{"at":"2026-01-01"},"meta":{"values":{"at":["Date"]}}}',)
    server.complete_run(run_id, (*output, "application/super+json"))
    assert rest(client, run_id)["output"] == {"at": "2026-01-01"}
    assert rest(client, run_id)["finishedAt"].endswith("Z")
    failed = server.create_run(status="EXECUTING")
    server.fail_run(failed, "boom", output=1)
    run = rest(client, failed)
    assert "output" not in run
    assert run["error"] == {"name": "Error", "message": "boom", "stackTrace": "Error: boom"}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ({"type": "STRING_ERROR", "raw": "no"}, {"message": "no"}),
        (
            {"type": "INTERNAL_ERROR", "code": "TASK_RUN_CANCELLED"},
            {"message": "trigger.dev internal error (TASK_RUN_CANCELLED)"},
        ),
    ],
    ids=str,
)
def test_rest_errors_are_rewritten(server, client, error, shown):
    """Each kind to what it says."""
    run_id = server.create_run(status="EXECUTING")
    server.fail_run(run_id, error=error)
    assert rest(client, run_id)["error"] == shown


@serving(*BOTH)
def test_a_reused_run_is_only_in_the_rest_list(server, client):
    """The feed of the batch never shows it, whatever happens to it; its own feed does."""
    reused = server.create_run()
    batch = server.batch(reused=[reused], count=1)
    feed = client.follow(f"/realtime/v1/batches/{batch}").start()
    got = client.get(f"/api/v2/batches/{batch}").json()
    (own,) = set(got["runs"]) - {reused}
    assert (got["runCount"], got["processingCompletedAt"]) == (
        2,
        got["processing"]["completedAt"],
    )
    server.complete_run(reused)
    server.complete_run(own)
    assert set(feed.live().run_ids) == {own}
    assert client.row(reused)["status"] == "COMPLETED_SUCCESSFULLY"
