"""The server itself: access, REST, packets, observation, its life."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest

from trigger_realtime_sync.testing import RealtimeServer
from trigger_realtime_sync.testing._http_server import HttpServer
from trigger_realtime_sync.testing._observer import Observer
from trigger_realtime_sync.testing._store import Waiter

from .conftest import serving


@serving(tokens={"good"})
def test_tokens(server, client):
    """Missing, unknown and revoked: 401. Forbidden: 403, once the run is known."""
    run_id = server.create_run()
    server.forbidden.add("narrow")

    def status(header: str | None, name: str = run_id) -> int:
        return client.run(name, {"Authorization": header}).status

    assert [status(None), status("Bearer bad"), status("Bearer good")] == [401, 401, 200]
    assert [status("Bearer narrow"), status("Bearer narrow", "run_missing")] == [403, 404]
    assert client.get("/api/v3/runs/run_missing", {"Authorization": "Bearer narrow"}).status == 404
    server.revoke("good")
    assert status("Bearer good") == 401
    server.accept("good")
    assert status("Bearer good") == 200


def test_revoking_leaves_a_held_poll_alone(server, client, in_background):
    """A token is checked when a request starts: what is held goes on."""
    run_id = server.create_run()
    feed = client.feed(run_id).start()
    got = in_background(feed.live)
    server.wait_until_held()
    server.revoke("tr_test")
    server.update_run(run_id, status="EXECUTING")
    assert got.result(5).status == 200
    assert feed.live().status == 401


@pytest.mark.parametrize(
    ("path", "retry"),
    [
        ("/realtime/v1/runs/run_x", "false"),
        ("/realtime/v1/batches/batch_x", "true"),
        ("/api/v2/batches/batch_x", "true"),
        ("/api/v3/runs/run_x", "true"),
    ],
)
def test_unknown_things_say_whether_to_try_again(client, path, retry):
    """404 with `x-should-retry`: batches and REST runs may still come, realtime runs not."""
    got = client.get(path, offset="-1")
    assert (got.status, got.headers["x-should-retry"]) == (404, retry)


@pytest.mark.parametrize("tags", ["a,", ",", "a\nb", 'a"b', "a\\b"])
def test_tags_that_cannot_be_asked_for(client, tags):
    """Empty tags, control characters, quotes and backslashes: 400."""
    assert client.runs(tags=tags).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_only_reading_is_allowed(server, client, method):
    """Other methods get a 405, and their body is not taken for the next request."""
    run_id = server.create_run()
    headers = {"Authorization": "Bearer t"}
    client.connection.request(method, f"/realtime/v1/runs/{run_id}", b"GET / HTTP/1.1", headers)
    with client.connection.getresponse() as answer:
        assert (answer.status, json.load(answer)) == (405, {"error": "Method not allowed"})
    assert client.run(run_id).status == 200
    assert server.open_connections == 1


def test_claimed_columns_replace_the_query(server, client):
    """A public token may say itself which columns are left out."""
    claims = {"realtime": {"skipColumns": ["metadata"]}}
    token = {"Authorization": f"Bearer {server.public_token('read:runs', **claims)}"}
    (value,) = client.run(server.create_run(), token, skipColumns="payload").values
    assert "metadata" not in value
    assert "payload" in value


@pytest.mark.parametrize(
    ("accepted", "encoding"), [("gzip, deflate", "gzip"), ("identity", None)], ids=str
)
def test_gzip_when_asked_for(server, client, accepted, encoding):
    """Bodies are compressed for those who accept it, and whole either way."""
    run_id = server.create_run()
    got = client.run(run_id, {"Accept-Encoding": accepted})
    assert got.headers.get("content-encoding") == encoding
    assert got.run_ids == [run_id]


@serving(hold=0.01, use_204=True)
def test_204_on_demand(server, client):
    """On old servers, a live poll held in vain is a 204."""
    feed = client.feed(server.create_run()).start()
    got = feed.live()
    assert (got.status, got.body) == (204, b"")
    assert got.headers["electric-offset"] == feed.offset


@serving(hold=0.01)
def test_hold_ends_with_up_to_date_at_the_same_offset(server, client):
    """Nothing new: the offset stays, the cursor moves."""
    feed = client.feed(server.create_run()).start()
    offset = feed.offset
    first, second = feed.live(), feed.live()
    assert first.controls == ["up-to-date"]
    assert first.headers["electric-offset"] == offset
    assert first.headers["electric-cursor"] != second.headers["electric-cursor"]


@pytest.mark.parametrize(("field", "other"), [("payload", "output"), ("output", "payload")])
def test_stored_packets(server, client, field, other):
    """Both presign endpoints lead to the packet, which refuses the token."""
    path = server.store_packet('{"big":true}', "application/json; charset=utf-8")
    run_id = server.create_run(**{field: (path, "application/store")})
    for endpoint in (
        f"/api/v1/runs/{run_id}/packets/{field}",
        f"/api/v1/packets/{quote(path, safe='')}",
    ):
        target = urlsplit(client.get(endpoint).json()["presignedUrl"]).path
        assert client.get(target).status == 400
        got = client.get(target, {"Authorization": None})
        assert (got.status, got.body) == (200, b'{"big":true}')
        assert got.headers["content-type"] == "application/json; charset=utf-8"
    assert client.get(f"/api/v1/runs/{run_id}/packets/{other}").status == 404


def test_rest_run(server, client):
    """The plain API shows public names and decoded packets."""
    run_id = server.create_run(status="EXECUTING", payload={"a": 1}, tags=["t"], is_test=True)
    server.complete_run(run_id, ("{", "application/json"), cost_in_cents=0.25)
    run = client.get(f"/api/v3/runs/{run_id}").json()
    assert (run["status"], run["isTest"], run["tags"]) == ("COMPLETED", True, ["t"])
    assert (run["payload"], run["output"], run["costInCents"]) == ({"a": 1}, "{", 0.25)
    assert run["finishedAt"].endswith("Z")


def test_requests_are_recorded(server, client):
    """Every request is kept, and can be waited for."""
    run_id = server.create_run()
    client.run(run_id, {"X-Extra": "1"}, a="ä")
    (seen,) = server.wait_for_requests(1, match="run", live=False)
    assert (seen.method, seen.path, seen.kind) == ("GET", f"/realtime/v1/runs/{run_id}", "run")
    assert (seen.query["a"], seen.headers["x-extra"], seen.live) == ("ä", "1", False)
    assert "tr_test" not in repr(seen)
    with pytest.raises(TimeoutError, match="0 of 1 requests"):
        server.wait_for_requests(1, match="batch", timeout=0.01)
    server.clear_requests()
    assert server.requests == []


def test_stop_releases_everything(server, held_socket):
    """Held polls, open streams and idle connections end, and no thread is left."""
    run_id = server.create_run()
    # Tasks of an earlier test may still run; this server has none.
    ours = re.compile("realtime-server-(?!task-)")
    others = {one for one in threading.enumerate() if not ours.match(one.name)}
    sockets = [
        held_socket(f"/realtime/v1/runs/{run_id}?offset=9999999999999_1&handle=h&live=true"),
        held_socket(f"/realtime/v1/streams/{run_id}/s"),
    ]
    server.wait_until_held(match="run")
    server.wait_until_held(match="stream")
    server.stop()
    assert server.open_connections == 0
    assert set(threading.enumerate()) <= others
    for sock in sockets:
        while sock.recv(65536):
            pass
    server.stop()


def test_a_wait_that_begins_after_the_stop_ends_at_once(in_background):
    """A request may be on its way to waiting while the server stops."""
    server = HttpServer("127.0.0.1", 0, print, Observer(), None)
    server.start()
    server.halt()
    waiter = Waiter()
    with socket.socket() as sock, server.watched(sock, waiter):
        in_background(waiter.wait, 10).result(5)


def test_a_taken_port_is_an_os_error(server):
    """No exit of the process, no message on stderr."""
    with pytest.raises(OSError, match=r"[Aa]ddress"):
        RealtimeServer(port=urlsplit(server.url).port or 0).start()


def test_https(tls, bundle):
    """With an SSL context it speaks TLS, and still notices who hangs up."""
    trusting = ssl.create_default_context(cafile=bundle)
    with RealtimeServer(ssl_context=tls) as server:
        run_id = server.create_run()
        request = urllib.request.Request(
            f"{server.url}/realtime/v1/runs/{run_id}?offset=-1",
            headers={"Authorization": "Bearer x"},
        )
        with urllib.request.urlopen(request, context=trusting, timeout=10) as answer:
            assert run_id.encode() in answer.read()
        request.full_url = f"{server.url}/realtime/v1/streams/{run_id}/s"
        with urllib.request.urlopen(request, context=trusting, timeout=10):
            server.wait_until_held(match="stream")
        server.wait_for_connections(0)


def test_https_notices_a_closing_alert(tls, bundle):
    """A client that says goodbye over TLS, and leaves its socket open, is gone all the same."""
    trusting = ssl.create_default_context(cafile=bundle)
    with RealtimeServer(ssl_context=tls) as server:
        url = urlsplit(server.url)
        raw = socket.create_connection((url.hostname, url.port), timeout=10)
        with trusting.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
            path = f"/realtime/v1/streams/{server.create_run()}/s"
            sock.sendall(f"GET {path} HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n".encode())
            server.wait_until_held(match="stream")
            sock.recv(65536)
            with suppress(OSError):
                while True:
                    sock.unwrap()
            server.wait_for_connections(0)


def test_unknown_runs_are_key_errors(server):
    """A mistake in a test is an error in the test, not an answer."""
    for call in (server.update_run, server.complete_run, server.cancel_run, server.delete_run):
        with pytest.raises(KeyError, match="no run 'run_x'"):
            call("run_x")
    server.create_run(id="run_1")
    with pytest.raises(ValueError, match="already has a run"):
        server.create_run(id="run_1")


def test_plugin_imports_nothing_heavy():
    """The entry point costs a pytest run that does not use it next to nothing."""
    code = (
        "import sys, trigger_realtime_sync; before = set(sys.modules)\n"
        "import trigger_realtime_sync.testing.pytest_plugin\n"
        "new = set(sys.modules) - before\n"
        "assert 'http.server' not in sys.modules\n"
        "assert not [n for n in new if n.startswith('trigger_realtime_sync.testing._')], new\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_hang_ups_and_releases_at_once(server, client, held_socket):
    """Polls that end while their clients leave do not disturb the server."""
    run_id = server.create_run()
    for _ in range(10):
        offset = client.feed(run_id).start().offset
        target = f"/realtime/v1/runs/{run_id}?offset={offset}&handle=h&live=true"
        sockets = [held_socket(target) for _ in range(30)]
        server.wait_until_held(30, timeout=30)
        for sock in sockets[:15]:
            sock.close()
        server.update_run(run_id, status="EXECUTING")
        for sock in sockets[15:]:
            sock.close()
    assert client.run(run_id).status == 200


def test_1000_held_polls(server, client, held_socket):
    """A thousand polls are held at once, and one update answers one of them."""
    runs = [server.create_run() for _ in range(1000)]
    offset = client.feed(runs[-1]).start().offset
    sockets = [
        held_socket(f"/realtime/v1/runs/{run_id}?offset={offset}&handle=h&live=true")
        for run_id in runs
    ]
    server.wait_until_held(1000, timeout=30)
    server.update_run(runs[7], status="EXECUTING")
    assert b"200 OK" in sockets[7].recv(1000)
    assert server.held_polls == 999
