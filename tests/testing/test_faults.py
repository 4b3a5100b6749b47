"""Faults on order: each of them as it looks on the wire."""

from __future__ import annotations

import http.client
import socket
import time

import pytest


def test_status_body_and_headers(native, client_of):
    """An answer made up by the test, as often as it asked for."""
    run_id = native.create_run()
    client = client_of(native)
    native.fail_next(status=503, headers={"retry-after": "7"}, body={"error": "busy"}, times=2)
    for _ in range(2):
        got = client.get(f"/realtime/v1/runs/{run_id}", offset="-1")
        assert (got.status, got.headers["retry-after"]) == (503, "7")
        assert got.json() == {"error": "busy"}
    assert client.get(f"/realtime/v1/runs/{run_id}", offset="-1").status == 200


def test_match_by_kind_and_by_liveness(native, client_of):
    """A fault waits for the requests it was meant for."""
    run_id = native.create_run()
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}")
    native.fail_next(status=500, match="batch")
    native.fail_next(status=502, match="run", live=True)
    native.fail_next(status=504, match=lambda request: request.path.startswith("/api/v3/"))
    assert feed.ask().status == 200
    assert feed.live().status == 502
    assert feed.client.get(f"/api/v3/runs/{run_id}").status == 504
    with pytest.raises(ValueError, match="match must be"):
        native.fail_next(status=500, match="nonsense")


def test_cut_at_counts_every_byte_on_the_wire(native, raw_request):
    """Status line and headers count; then the connection ends."""
    run_id = native.create_run()
    target = f"/realtime/v1/runs/{run_id}?offset=-1"
    for count in (0, 5, 100, 400):
        native.fail_next(cut_at=count)
        assert len(raw_request(native, target)) == count


def test_cut_at_counts_on_over_the_parts_of_a_stream(native, raw_request):
    """A stream that is sent in many pieces ends at the byte that was asked for."""
    run_id = native.create_run()
    native.append(run_id, "s", *range(3000))
    native.fail_next(cut_at=100_000)
    assert len(raw_request(native, f"/realtime/v1/streams/{run_id}/s")) == 100_000


def test_cut_body_at_counts_the_body(native, raw_request):
    """The head is whole, and promises more than comes."""
    run_id = native.create_run()
    native.fail_next(cut_body_at=7)
    head, _, body = raw_request(native, f"/realtime/v1/runs/{run_id}?offset=-1").partition(
        b"\r\n\r\n"
    )
    assert body == b'[{"key"'
    assert b"content-length" in head


def test_cut_on_a_live_poll_strikes_at_once_or_after_the_hold(native, client_of, in_background):
    """By default a live poll fails without being held; `after_hold` waits for the news."""
    run_id = native.create_run()
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}").start()
    native.fail_next(cut_body_at=3)
    with pytest.raises(http.client.IncompleteRead):
        feed.live()
    feed.client.connection.close()
    native.fail_next(cut_body_at=3, after_hold=True)
    got = in_background(feed.live)
    native.wait_until_held()
    native.update_run(run_id, status="EXECUTING")
    with pytest.raises(http.client.IncompleteRead):
        got.result(5)


def test_stream_cut_in_the_middle_of_a_part(native, client_of):
    """Streams can be cut after a number of bytes of their events."""
    run_id = native.create_run()
    native.append(run_id, "s", "part")
    native.fail_next(cut_body_at=20, match="stream")
    with pytest.raises(http.client.IncompleteRead) as caught:
        client_of(native).get(f"/realtime/v1/streams/{run_id}/s")
    assert len(caught.value.partial) == 20


def test_reset_and_stall_end_in_a_reset(native, raw_request):
    """No answer, and an end that is not orderly."""
    target = f"/realtime/v1/runs/{native.create_run()}?offset=-1"
    native.fail_next(reset=True)
    native.fail_next(stall=0.01)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            raw_request(native, target)


def test_stop_interrupts_a_stall(native, held_socket):
    """A stalled request does not keep the server from stopping."""
    native.fail_next(stall=600)
    sock = held_socket(native, "/realtime/v1/runs?tags=a&offset=-1")
    native.wait_for_requests(1)
    native.stop()
    assert native.open_connections == 0
    assert _end_of(sock) in ("end", "reset")


def test_a_client_that_leaves_a_stall_is_noticed(native, held_socket):
    """The connection of a stalled request ends with its client."""
    native.fail_next(stall=600)
    sock = held_socket(native, "/realtime/v1/runs?tags=a&offset=-1")
    native.wait_for_requests(1)
    sock.close()
    native.wait_for_connections(0)


def test_delay_comes_before_the_real_answer(native, client_of):
    """The answer is the true one, only later."""
    run_id = native.create_run()
    native.fail_next(delay=0.05)
    start = time.monotonic()
    assert client_of(native).get(f"/realtime/v1/runs/{run_id}", offset="-1").rows
    assert time.monotonic() - start >= 0.05


def test_dropped_headers_and_error_pages(native, client_of):
    """What proxies do: headers stripped, a page of HTML with status 200."""
    run_id = native.create_run()
    client = client_of(native)
    native.fail_next(drop_headers=["Electric-Handle"])
    native.fail_next(html=True)
    native.fail_next(drop_headers=["x-stream-version"], cut_body_at=0, match="stream")
    got = client.get(f"/realtime/v1/runs/{run_id}", offset="-1")
    assert "electric-handle" not in got.headers
    assert "electric-offset" in got.headers
    got = client.get(f"/realtime/v1/runs/{run_id}", offset="-1")
    assert (got.status, got.headers["content-type"]) == (200, "text/html; charset=utf-8")
    native.append(run_id, "s", 1)
    client.connection.request(
        "GET", f"/realtime/v1/streams/{run_id}/s", headers={"Authorization": "Bearer t"}
    )
    with client.connection.getresponse() as answer:
        assert answer.headers.get("x-stream-version") is None


def test_faults_can_be_forgotten(native, client_of):
    """`clear_faults` leaves nothing to happen."""
    native.fail_next(status=500, times=100)
    native.clear_faults()
    assert client_of(native).get("/realtime/v1/runs", tags="a", offset="-1").status == 200


@pytest.mark.parametrize("reset", [False, True])
def test_dropped_connections(native, held_socket, reset):
    """Every connection ends now, what is held included."""
    run_id = native.create_run()
    target = f"/realtime/v1/runs/{run_id}?offset=1_99999999&handle=h&live=true"
    sock = held_socket(native, target)
    native.wait_until_held()
    native.drop_connections(reset=reset)
    assert _end_of(sock) == ("reset" if reset else "end")
    native.wait_for_connections(0)


def _end_of(sock: socket.socket) -> str:
    try:
        return "end" if sock.recv(1) == b"" else "data"
    except ConnectionResetError:
        return "reset"
