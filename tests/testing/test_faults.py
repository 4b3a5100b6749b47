"""Faults on order: each of them as it looks on the wire."""

from __future__ import annotations

import gzip
import http.client
import socket
import time

import pytest

TAGS = "/realtime/v1/runs?tags=a&offset=-1"


def test_match_by_kind_and_by_liveness(server, client):
    """A fault waits for the requests it was meant for."""
    run_id = server.create_run()
    feed = client.feed(run_id)
    server.fail_next(status=500, match="batch")
    server.fail_next(status=502, match="run", live=True)
    server.fail_next(status=504, match=lambda request: request.path.startswith("/api/v3/"))
    assert feed.ask().status == 200
    assert feed.live().status == 502
    assert client.get(f"/api/v3/runs/{run_id}").status == 504
    with pytest.raises(ValueError, match="match must be"):
        server.fail_next(status=500, match="nonsense")


@pytest.mark.parametrize("count", [0, 5, 100, 400])
def test_cut_at_counts_every_byte_on_the_wire(server, raw_request, count):
    """Status line and headers count; then the connection ends."""
    server.fail_next(cut_at=count)
    assert len(raw_request(f"/realtime/v1/runs/{server.create_run()}?offset=-1")) == count


def test_a_cut_beyond_the_end_still_ends_the_connection(server, raw_request):
    """The answer is whole, and nothing can follow it."""
    server.fail_next(cut_at=100_000)
    assert raw_request(TAGS).endswith(b'"up-to-date"}}]')


def test_cut_at_counts_on_over_the_parts_of_a_stream(server, raw_request):
    """A stream that is sent in many pieces ends at the byte that was asked for."""
    run_id = server.create_run()
    server.append(run_id, "s", *range(3000))
    server.fail_next(cut_at=100_000)
    assert len(raw_request(f"/realtime/v1/streams/{run_id}/s")) == 100_000


def test_cut_body_at_counts_the_body(server, raw_request):
    """The head is whole, and promises more than comes."""
    server.fail_next(cut_body_at=7)
    got = raw_request(f"/realtime/v1/runs/{server.create_run()}?offset=-1")
    head, _, body = got.partition(b"\r\n\r\n")
    assert body == b'[{"key"'
    assert b"content-length" in head


def test_a_cut_body_that_is_framed_as_a_whole(server, client):
    """Only its encoding tells that the rest is missing; the connection is kept."""
    run_id = server.create_run()
    path, headers = (
        f"/api/v3/runs/{run_id}",
        {"Authorization": "Bearer t", "Accept-Encoding": "gzip"},
    )
    got = []
    server.fail_next(cut_body_at=30, reframed=True)
    for _ in range(2):
        client.connection.request("GET", path, headers=headers)
        with client.connection.getresponse() as answer:
            got.append(answer.read())
    assert len(got[0]) == 30
    assert got[1].startswith(got[0])
    with pytest.raises(EOFError):
        gzip.decompress(got[0])
    assert server.open_connections == 1


def test_cut_on_a_live_poll_strikes_at_once_or_after_the_hold(server, client, in_background):
    """By default a live poll fails without being held; `after_hold` waits for the news."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    server.fail_next(cut_body_at=3)
    with pytest.raises(http.client.IncompleteRead):
        feed.live()
    client.connection.close()
    server.fail_next(cut_body_at=3, after_hold=True)
    got = in_background(feed.live)
    server.wait_until_held()
    server.update_run(run_id, status="EXECUTING")
    with pytest.raises(http.client.IncompleteRead):
        got.result(5)


def test_stream_cut_in_the_middle_of_a_part(server, client):
    """Streams can be cut after a number of bytes of their events."""
    run_id = server.create_run()
    server.append(run_id, "s", "part")
    server.fail_next(cut_body_at=20, match="stream")
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.stream(run_id)
    assert len(caught.value.partial) == 20


@pytest.mark.parametrize("fault", [{"reset": True}, {"stall": 0.01}], ids=str)
def test_reset_and_stall_end_in_a_reset(server, raw_request, fault):
    """No answer, and an end that is not orderly."""
    server.fail_next(**fault)
    with pytest.raises(ConnectionResetError):
        raw_request(TAGS)


def test_stop_interrupts_a_stall(server, held_socket):
    """A stalled request does not keep the server from stopping."""
    server.fail_next(stall=600)
    sock = held_socket(TAGS)
    server.wait_for_requests(1)
    server.stop()
    assert server.open_connections == 0
    assert _end_of(sock) in ("end", "reset")


def test_a_client_that_leaves_a_stall_is_noticed(server, held_socket):
    """The connection of a stalled request ends with its client."""
    server.fail_next(stall=600)
    sock = held_socket(TAGS)
    server.wait_for_requests(1)
    sock.close()
    server.wait_for_connections(0)


def test_delay_comes_before_the_real_answer(server, client):
    """The answer is the true one, only later."""
    run_id = server.create_run()
    server.fail_next(delay=0.05)
    start = time.monotonic()
    assert client.run(run_id).rows
    assert time.monotonic() - start >= 0.05


def test_dropped_headers(server, client):
    """Proxies strip headers, of whole answers and of streams."""
    run_id = server.create_run()
    server.append(run_id, "s", 1)
    server.fail_next(drop_headers=["Electric-Handle"])
    server.fail_next(drop_headers=["x-stream-version"], cut_body_at=0, match="stream")
    got = client.run(run_id)
    assert "electric-handle" not in got.headers
    assert "electric-offset" in got.headers
    path, token = f"/realtime/v1/streams/{run_id}/s", {"Authorization": "Bearer t"}
    client.connection.request("GET", path, headers=token)
    with client.connection.getresponse() as answer:
        assert answer.headers.get("x-stream-version") is None


def test_error_pages(server, client):
    """Proxies answer with a page of HTML and status 200."""
    server.fail_next(html=True)
    got = client.runs(tags="a")
    assert (got.status, got.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize(("reset", "end"), [(False, "end"), (True, "reset")])
def test_dropped_connections(server, held_socket, reset, end):
    """Every connection ends now, what is held included."""
    run_id = server.create_run()
    sock = held_socket(f"/realtime/v1/runs/{run_id}?offset=9999999999999_1&handle=h&live=true")
    server.wait_until_held()
    server.drop_connections(reset=reset)
    assert _end_of(sock) == end
    server.wait_for_connections(0)


def _end_of(sock: socket.socket) -> str:
    try:
        return "end" if sock.recv(1) == b"" else "data"
    except ConnectionResetError:
        return "reset"
