"""The server itself: access, REST, packets, observation, its life."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from urllib.parse import quote, urlsplit

import pytest
import trustme

from trigger_realtime_sync.testing import RealtimeServer
from trigger_realtime_sync.testing._store import Store


def test_tokens(client_of):
    """Missing, unknown and revoked: 401. Forbidden: 403, but only once the run is known."""
    with RealtimeServer(tokens={"good"}) as server:
        run_id = server.create_run()
        server.forbidden.add("narrow")
        client = client_of(server)

        def status(token: str | None, name: str = run_id) -> int:
            header = None if token is None else f"Bearer {token}"
            path = f"/realtime/v1/runs/{name}"
            return client.get(path, {"Authorization": header}, offset="-1").status

        assert [status(None), status("bad"), status("good")] == [401, 401, 200]
        assert [status("narrow"), status("narrow", "run_missing")] == [403, 404]
        server.revoke("good")
        assert status("good") == 401
        server.accept("good")
        assert status("good") == 200


def test_revoking_leaves_a_held_poll_alone(native, client_of, in_background):
    """A token is looked at when a request starts: what is held goes on."""
    run_id = native.create_run()
    feed = client_of(native).follow(f"/realtime/v1/runs/{run_id}").start()
    got = in_background(feed.live)
    native.wait_until_held()
    native.revoke("tr_test")
    native.update_run(run_id, status="EXECUTING")
    assert got.result(5).status == 200
    assert feed.live().status == 401


def test_unknown_things_say_whether_to_try_again(native, client_of):
    """404 with `x-should-retry`: batches and REST runs may still come, realtime runs not."""
    client = client_of(native)
    for path, retry in [
        ("/realtime/v1/runs/run_x", "false"),
        ("/realtime/v1/batches/batch_x", "true"),
        ("/api/v2/batches/batch_x", "true"),
        ("/api/v3/runs/run_x", "true"),
    ]:
        got = client.get(path, offset="-1")
        assert (got.status, got.headers["x-should-retry"]) == (404, retry), path


@pytest.mark.parametrize("tags", ["", "a,", "a\nb", 'a"b', "a\\b"])
def test_tags_that_cannot_be_asked_for(native, client_of, tags):
    """Empty tags, control characters, quotes and backslashes: 400."""
    assert client_of(native).get("/realtime/v1/runs", tags=tags, offset="-1").status == 400


def test_claimed_columns_replace_the_query(native, client_of):
    """A public token may say itself which columns are left out."""
    claims = {"realtime": {"skipColumns": ["metadata"]}}
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    run_id = native.create_run()
    got = client_of(native).get(
        f"/realtime/v1/runs/{run_id}",
        {"Authorization": f"Bearer x.{middle}.y"},
        offset="-1",
        skipColumns="payload",
    )
    assert "metadata" not in got.rows[0]["value"]
    assert "payload" in got.rows[0]["value"]


def test_gzip_when_asked_for(native, client_of):
    """Bodies are compressed for those who accept it, and whole either way."""
    run_id = native.create_run()
    client = client_of(native)
    for accepted, encoding in (("gzip, deflate", "gzip"), ("identity", None)):
        got = client.get(f"/realtime/v1/runs/{run_id}", {"Accept-Encoding": accepted}, offset="-1")
        assert got.headers.get("content-encoding") == encoding
        assert got.rows[0]["value"]["friendlyId"] == run_id


def test_204_on_demand(client_of):
    """Servers of old: a live poll held in vain is a 204."""
    with RealtimeServer(hold=0.01, use_204=True) as server:
        feed = client_of(server).follow(f"/realtime/v1/runs/{server.create_run()}").start()
        got = feed.live()
    assert (got.status, got.body) == (204, b"")
    assert got.headers["electric-offset"] == feed.offset


def test_hold_ends_with_up_to_date_at_the_same_offset(client_of):
    """Nothing new: the offset stays, the cursor moves."""
    with RealtimeServer(hold=0.01) as server:
        feed = client_of(server).follow(f"/realtime/v1/runs/{server.create_run()}").start()
        offset = feed.offset
        first, second = feed.live(), feed.live()
    assert first.controls == ["up-to-date"]
    assert first.headers["electric-offset"] == offset
    assert first.headers["electric-cursor"] != second.headers["electric-cursor"]


@pytest.mark.parametrize("field", ["payload", "output"])
def test_stored_packets(native, client_of, field):
    """Both presign endpoints lead to the packet, which refuses the token."""
    path = native.store_packet('{"big":true}', "application/json; charset=utf-8")
    run_id = native.create_run(**{field: (path, "application/store")})
    client = client_of(native)
    for endpoint in (
        f"/api/v1/runs/{run_id}/packets/{field}",
        f"/api/v1/packets/{quote(path, safe='')}",
    ):
        target = urlsplit(client.get(endpoint).json()["presignedUrl"]).path
        assert client.get(target).status == 400
        got = client.get(target, {"Authorization": None})
        assert (got.status, got.body) == (200, b'{"big":true}')
        assert got.headers["content-type"] == "application/json; charset=utf-8"
    other = {"payload": "output", "output": "payload"}[field]
    assert client.get(f"/api/v1/runs/{run_id}/packets/{other}").status == 404


def test_rest_run(native, client_of):
    """The plain API shows public names and decoded packets."""
    run_id = native.create_run(status="EXECUTING", payload={"a": 1}, tags=["t"], is_test=True)
    native.complete_run(run_id, ("{", "application/json"), cost_in_cents=0.25)
    run = client_of(native).get(f"/api/v3/runs/{run_id}").json()
    assert (run["status"], run["isTest"], run["tags"]) == ("COMPLETED", True, ["t"])
    assert (run["payload"], run["output"], run["costInCents"]) == ({"a": 1}, "{", 0.25)
    assert run["finishedAt"].endswith("Z")


def test_one_connection_serves_many_requests(native, client_of):
    """HTTP/1.1 keep-alive."""
    client = client_of(native)
    for _ in range(3):
        client.get(f"/realtime/v1/runs/{native.create_run()}", offset="-1")
    assert native.open_connections == 1
    client.connection.close()
    native.wait_for_connections(0)


@pytest.mark.parametrize("kind", ["run", "stream"])
def test_a_client_that_hangs_up_is_noticed_while_held(native, held_socket, kind):
    """Neither a held poll nor an open stream outlives its client."""
    run_id = native.create_run()
    targets = {
        "run": f"/realtime/v1/runs/{run_id}?offset=1_99999999&handle=h&live=true",
        "stream": f"/realtime/v1/streams/{run_id}/s",
    }
    sock = held_socket(native, targets[kind])
    native.wait_until_held(match=kind)
    sock.close()
    native.wait_for_connections(0)
    assert (native.held_polls, native.open_streams) == (0, 0)


def test_requests_are_recorded(native, client_of):
    """What came is there to be asked about, and to be waited for."""
    run_id = native.create_run()
    client_of(native).get(f"/realtime/v1/runs/{run_id}", {"X-Extra": "1"}, offset="-1", a="ä")
    (seen,) = native.wait_for_requests(1, match="run", live=False)
    assert (seen.method, seen.path, seen.kind) == ("GET", f"/realtime/v1/runs/{run_id}", "run")
    assert (seen.query["a"], seen.headers["x-extra"], seen.live) == ("ä", "1", False)
    assert "tr_test" not in repr(seen)
    with pytest.raises(TimeoutError, match="0 of 1 requests"):
        native.wait_for_requests(1, match="batch", timeout=0.01)
    native.clear_requests()
    assert native.requests == []


def test_stop_releases_everything(held_socket):
    """Held polls, open streams and idle connections end, and no thread is left."""
    before = set(threading.enumerate())
    with RealtimeServer() as server:
        run_id = server.create_run()
        sockets = [
            held_socket(server, f"/realtime/v1/runs/{run_id}?offset=1_99999999&live=true"),
            held_socket(server, f"/realtime/v1/streams/{run_id}/s"),
        ]
        server.wait_until_held(match="run")
        server.wait_until_held(match="stream")
    assert server.open_connections == 0
    assert set(threading.enumerate()) <= before
    for sock in sockets:
        while sock.recv(65536):
            pass
    server.stop()


def test_a_wait_that_begins_after_the_stop_ends_at_once(in_background):
    """A request may be on its way to waiting while the server stops."""
    store = Store()
    store.close()
    with store.waiting(("run", "run_1")) as waiter:
        in_background(waiter.wait, 10).result(5)


def test_a_taken_port_is_an_os_error(native):
    """No exit of the process, no message on stderr."""
    with pytest.raises(OSError, match=r"[Aa]ddress"):
        RealtimeServer(port=urlsplit(native.url).port or 0).start()


def test_https():
    """With an SSL context it speaks TLS, and still notices who hangs up."""
    authority = trustme.CA()
    inner, outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(inner)
    authority.configure_trust(outer)
    with RealtimeServer(ssl_context=inner) as server:
        run_id = server.create_run()
        request = urllib.request.Request(
            f"{server.url}/realtime/v1/runs/{run_id}?offset=-1",
            headers={"Authorization": "Bearer x"},
        )
        with urllib.request.urlopen(request, context=outer, timeout=10) as answer:
            assert run_id.encode() in answer.read()
        request.full_url = f"{server.url}/realtime/v1/streams/{run_id}/s"
        with urllib.request.urlopen(request, context=outer, timeout=10):
            server.wait_until_held(match="stream")
        server.wait_for_connections(0)


def test_https_notices_a_closing_alert():
    """A client that says goodbye over TLS, and leaves its socket open, is gone all the same."""
    authority = trustme.CA()
    inner, outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(inner)
    authority.configure_trust(outer)
    with RealtimeServer(ssl_context=inner) as server:
        url = urlsplit(server.url)
        raw = socket.create_connection((url.hostname, url.port), timeout=10)
        with outer.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
            path = f"/realtime/v1/streams/{server.create_run()}/s"
            sock.sendall(f"GET {path} HTTP/1.1\r\nAuthorization: Bearer x\r\n\r\n".encode())
            server.wait_until_held(match="stream")
            sock.recv(65536)
            with suppress(OSError):
                while True:
                    sock.unwrap()
            server.wait_for_connections(0)


def test_unknown_runs_are_key_errors(native):
    """A mistake in a test is told to the test."""
    for call in (native.update_run, native.complete_run, native.cancel_run, native.delete_run):
        with pytest.raises(KeyError, match="no run 'run_x'"):
            call("run_x")
    native.create_run(id="run_1")
    with pytest.raises(ValueError, match="already has a run"):
        native.create_run(id="run_1")


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


def test_fixture_is_a_running_server(realtime_server):
    """The plugin's fixture."""
    assert realtime_server.url.startswith("http://127.0.0.1:")
    assert realtime_server.create_run().startswith("run_")


def test_hang_ups_and_releases_at_once(native, client_of, held_socket):
    """Polls that end while their clients leave do not disturb the server."""
    run_id = native.create_run()
    for _ in range(10):
        offset = client_of(native).follow(f"/realtime/v1/runs/{run_id}").start().offset
        target = f"/realtime/v1/runs/{run_id}?offset={offset}&live=true"
        sockets = [held_socket(native, target) for _ in range(30)]
        native.wait_until_held(30)
        for sock in sockets[:15]:
            sock.close()
        native.update_run(run_id, status="EXECUTING")
        for sock in sockets[15:]:
            sock.close()
    assert client_of(native).get(f"/realtime/v1/runs/{run_id}", offset="-1").status == 200


def test_1000_held_polls(native, client_of, held_socket):
    """A thousand polls are held at once, and one update answers one of them."""
    runs = [native.create_run() for _ in range(1000)]
    offset = client_of(native).follow(f"/realtime/v1/runs/{runs[7]}").start().offset
    sockets = [
        held_socket(native, f"/realtime/v1/runs/{run_id}?offset={offset}&live=true")
        for run_id in runs
    ]
    native.wait_until_held(1000, timeout=30)
    native.update_run(runs[7], status="EXECUTING")
    assert b"200 OK" in sockets[7].recv(1000)
    assert native.held_polls == 999
