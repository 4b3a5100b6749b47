"""Triggers, as the server of the round trip takes them (docs/protocol.md, sections R1 and R2)."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timezone

import pytest

from tests.support.waiting import eventually
from tests.testing.conftest import serving

STREAMS = "x-trigger-realtime-streams-version"


def finished(client, run_id):
    """The run, once it is finished."""

    def there():
        return client.row(run_id)["completedAt"] is not None

    eventually(there, "the run is not finished")
    return client.row(run_id)


@pytest.fixture
def status(client):
    """The status of a run on its feed."""
    return lambda run_id: client.row(run_id)["status"]


# --- the answer


def test_a_trigger_makes_a_run(server, client):
    """It waits in its queue, and the answer brings a token for it."""
    got = client.trigger("text", payloadType="text/plain", tags=["a", "b"])
    run_id = got.json()["id"]
    assert got.status == 200
    assert got.json() == {"id": run_id, "isCached": False}
    row = client.row(run_id)
    assert (row["status"], row["payload"], row["runTags"]) == ("PENDING", "text", '{"a","b"}')
    claims = json.loads(got.headers["x-trigger-jwt-claims"])
    assert claims["scopes"] == [f"read:runs:{run_id}", f"write:inputStreams:{run_id}"]
    token = {"Authorization": f"Bearer {got.headers['x-trigger-jwt']}"}
    assert client.run(run_id, token).status == 200
    assert client.run(server.create_run(), token).status == 403


def test_what_was_asked_is_listed(server, client):
    """The payload as a task gets it, the options as they were sent, and no token in the repr."""
    superjson = '{"json":{"at":"1970-01-01T00:00:00.000Z"},"meta":{"values":{"at":["Date"]}}}'
    client.trigger(superjson, payloadType="application/super+json", ttl="5m")
    client.trigger(task="other")
    (one,) = server.triggered("my-task")
    assert one.payload == {"at": datetime(1970, 1, 1, tzinfo=timezone.utc)}
    assert one.options == {"payloadType": "application/super+json", "ttl": "5m"}
    assert one.token == "tr_test"
    assert "tr_test" not in repr(one)
    assert [one.task for one in server.triggered()] == ["my-task", "other"]


def test_a_name_is_one_segment(server, client):
    """With its slashes and blanks."""
    client.trigger(task="a%2Fb%20c")
    assert [one.task for one in server.triggered()] == ["a/b c"]


# --- bodies


def test_a_body_in_chunks_is_refused(server, client):
    """The server wants to know the size first."""
    got = client.post("/api/v1/tasks/my-task/trigger", data=iter([b'{"payload":1}']))
    assert (got.status, got.json()) == (413, {"error": "Request body too large"})
    assert server.triggered() == []


def test_a_body_has_a_limit(server, client):
    """Three MiB, the framing of JSON included."""
    room = 3 * 1024 * 1024 - len('{"payload": "", "options": {}}')
    assert client.trigger("x" * room).status == 200
    assert client.trigger("x" * (room + 1)).status == 413


@pytest.mark.parametrize(
    ("data", "error"), [(b"", "Request body is empty"), (b"{", "Invalid JSON")], ids=str
)
def test_a_body_is_json(client, data, error):
    """Nothing is no body: no options are `{}`."""
    got = client.post("/api/v1/tasks/my-task/trigger", data=data)
    assert (got.status, got.json()) == (400, {"error": error})


def test_a_body_that_is_cut_does_nothing(server, held_socket):
    """A client that leaves in the middle has triggered nothing."""
    sock = held_socket("/", {"Content-Length": "0"})
    sock.recv(65536)
    head = "POST /api/v1/tasks/t/trigger HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer tr_test\r\n"
    sock.sendall(f"{head}Content-Length: 20\r\n\r\n{{}}".encode())
    sock.close()
    server.wait_for_connections(0)
    assert server.triggered() == []


# --- payloads


@pytest.mark.parametrize(
    ("payload", "payload_type", "gets"),
    [
        ("", "text/plain", None),
        ('{"json":""}', "application/super+json", ""),
        ('{"json":null}', "application/super+json", None),
        ("[1]", "application/json", "[1]"),
        ({"a": 1}, "application/json", {"a": 1}),
        # What says that it is encoded, and is no text, is dropped.
        ({"json": 1}, "application/super+json", None),
    ],
)
def test_what_a_task_gets(server, client, payload, payload_type, gets):
    """By the type of the payload."""
    client.trigger(payload, payloadType=payload_type)
    assert server.triggered()[0].payload == gets


def test_superjson_comes_with_its_types(server, client):
    """Each as Python's nearest."""
    plain = {"n": "12345678901234567890", "s": [1, 2], "f": "NaN", "b": [1, 255]}
    types = {"n": ["bigint"], "s": ["set"], "f": ["number"]}
    meta = {"values": {**types, "b": [["typed-array", "Uint8Array"]]}}
    text = json.dumps({"json": plain, "meta": meta})
    client.trigger(text, payloadType="application/super+json")
    gets = server.triggered()[0].payload
    assert gets.pop("f") != gets.get("f")
    assert gets == {"n": 12345678901234567890, "s": {1, 2}, "b": b"\x01\xff"}


# --- options


@pytest.mark.parametrize(
    ("options", "status", "error"),
    [
        ({"tags": [f"t{n}" for n in range(11)]}, 422, "Runs can only have 10 tags"),
        ({"tags": ["x" * 129]}, 400, 'Tags must be less than 128 characters at "options.tags[0]"'),
        ({"tags": None}, 400, 'Expected string, received null at "options.tags", or Expected arr'),
        ({"machine": "huge"}, 400, "Invalid enum value. Expected 'micro' | 'small-1x'"),
        ({"idempotencyKey": "k" * 2049}, 400, "at most 2048 character(s)"),
        ({"test": "yes"}, 400, 'Expected boolean, received string at "options.test"'),
        ({"ttl": -1}, 400, "options.ttl"),
        ({"region": "the-moon"}, 422, "the-moon"),
        ({"lockToVersion": "1"}, 422, "version 1"),
        ({"metadata": {"m": "x" * 262144}}, 413, "Metadata exceeds maximum size of 262144 bytes"),
        ({"debounce": {"key": "k", "delay": "soon"}}, 422, "Invalid debounce delay: soon"),
        ({"debounce": {"key": "k", "delay": "5s", "maxDelay": "5s"}}, 422, "maxDelay"),
        ({"debounce": {"key": "k" * 513, "delay": "5s"}}, 400, "at most 512"),
    ],
    ids=str,
)
def test_a_bad_option_is_refused(server, client, options, status, error):
    """With a sentence, and nothing is made."""
    got = client.trigger(1, **options)
    assert got.status == status
    assert error in got.json()["error"]
    assert server.triggered() == []


@pytest.mark.parametrize(
    "delay", ["1 hour", "1.5h", "500ms", "tomorrow", "90", "1", "2020-01-01", None, 600, "1h" * 51]
)
def test_a_bad_delay_is_none(client, delay):
    """In silence: the run is queued at once. null and numbers are moments of 1970."""
    row = client.row(client.trigger(1, delay=delay).json()["id"])
    assert (row["status"], row["delayUntil"]) == ("PENDING", None)


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [("30s", 30), ("1h30m", 5400), ("2hr", 7200), ("1d12h", 129600), ("1w", 604800), ("5m9m", 300)],
)
def test_a_delay(client, delay, seconds):
    """Units in any order, the first of a kind counts."""
    row = client.row(client.trigger(1, delay=delay).json()["id"])
    assert row["status"] == "DELAYED"
    until = datetime.fromisoformat(row["delayUntil"]).replace(tzinfo=timezone.utc).timestamp()
    assert until == pytest.approx(time.time() + seconds, abs=5)


def test_a_delay_ends(server, client, status):
    """Then the run is queued."""
    run_id = client.trigger(1, delay=moment(0.2)).json()["id"]
    assert status(run_id) == "DELAYED"
    eventually(lambda: status(run_id) == "PENDING", "the run is still delayed")


def moment(seconds):
    """So many seconds from now, in ISO form."""
    then = datetime.fromtimestamp(time.time() + seconds, timezone.utc)
    return then.isoformat().replace("+00:00", "Z")


def test_a_ttl_expires_what_is_queued(server, client, status):
    """A text that can't be read never does."""
    first = client.trigger(1, ttl=1).json()["id"]
    second = client.trigger(1, ttl="soon").json()["id"]
    eventually(lambda: status(first) == "EXPIRED", "the run has not expired")
    assert status(second) == "PENDING"


def test_tags_are_dropped_in_silence(client):
    """Blank ones; and one may be a text alone. Unknown options are nothing at all."""
    assert client.row(client.trigger(tags=[" ", "a"], nope=1).json()["id"])["runTags"] == '{"a"}'
    assert client.row(client.trigger(tags="b").json()["id"])["runTags"] == '{"b"}'


# --- idempotency


def test_a_key_finds_its_run(server, client):
    """In its task, whatever the payload."""
    first = client.trigger(1, idempotencyKey="k").json()
    assert client.trigger(2, idempotencyKey="k").json() == {"id": first["id"], "isCached": True}
    assert not client.trigger(2, idempotencyKey="k", task="other").json()["isCached"]
    assert [one.is_cached for one in server.triggered("my-task")] == [False, True]


def test_a_key_is_unique(server, client, another, in_background):
    """Also among triggers that are worked on at the same time."""
    server.settings.trigger_seconds = 0.2
    body = {"options": {"idempotencyKey": "k"}}
    asked = [in_background(another().post, "/api/v1/tasks/my-task/trigger", body) for _ in range(5)]
    answers = [one.result(5).json() for one in asked]
    assert len({answer["id"] for answer in answers}) == 1
    assert sorted(answer["isCached"] for answer in answers) == [False] + [True] * 4


@pytest.mark.parametrize(
    ("status", "free"),
    [
        ("COMPLETED_WITH_ERRORS", True),
        ("CRASHED", True),
        ("EXPIRED", True),
        ("TIMED_OUT", True),
        ("SYSTEM_FAILURE", True),
        ("COMPLETED_SUCCESSFULLY", False),
        ("CANCELED", False),
    ],
)
def test_a_failed_run_gives_its_key_free(server, client, status, free):
    """One that completed, or was cancelled, keeps it."""
    run_id = client.trigger(1, idempotencyKey="k").json()["id"]
    server.update_run(run_id, status=status)
    assert client.trigger(1, idempotencyKey="k").json()["isCached"] is not free


@pytest.mark.parametrize(("ttl", "lives"), [("0s", False), ("1h30m", True), ("1w", True)])
def test_a_key_lives_as_long_as_its_ttl(client, ttl, lives):
    """What can't be read is 30 days."""
    client.trigger(1, idempotencyKey="k", idempotencyKeyTTL=ttl)
    assert client.trigger(1, idempotencyKey="k").json()["isCached"] is lives


def test_a_key_is_forgotten_on_request(client):
    """As it was sent; an unknown one is a 404."""
    client.trigger(1, idempotencyKey="k")
    path = "/api/v1/idempotencyKeys/k/reset"
    assert client.post(path, {"taskIdentifier": "my-task"}).json() == {"id": "k"}
    assert client.post(path, {"taskIdentifier": "my-task"}).status == 404
    assert not client.trigger(1, idempotencyKey="k").json()["isCached"]


# --- attempts of one request


def attempt(client, request_id, **how):
    """One attempt of a trigger."""
    headers = {"x-trigger-request-idempotency-key": request_id}
    return client.post("/api/v1/tasks/my-task/trigger", {"payload": 1}, headers=headers, **how)


def test_a_second_attempt_gets_the_first_one_s_run(server, client):
    """Once that one is done; another request gets another run."""
    first = attempt(client, "request-1").json()
    assert attempt(client, "request-1").json() == first
    assert attempt(client, "request-2").json()["id"] != first["id"]
    assert len(server.triggered()) == 2


def test_an_attempt_that_overtakes_makes_a_second_run(server, client, in_background, another):
    """The server remembers a request only when it is done with it."""
    server.settings.trigger_seconds = 0.3
    first = in_background(attempt, another(), "request-1")
    server.wait_for_requests(1)
    second = attempt(client, "request-1")
    assert first.result(5).json()["id"] != second.json()["id"]


def test_a_buffered_run_s_request_is_forgotten(server, client):
    """So a second attempt makes a second run."""
    server.settings.buffering = 60
    assert attempt(client, "request-1").json() != attempt(client, "request-1").json()


def test_a_lost_answer_has_made_its_run(server, client):
    """The next attempt gets it."""
    server.fail_next(match="trigger", lost=True)
    with pytest.raises(ConnectionError):
        attempt(client, "request-1")
    client.connection.close()
    got = attempt(client, "request-1").json()
    assert [one.run_id for one in server.triggered()] == [got["id"]]


# --- the buffer


@serving({"backend": "native"}, {"backend": "electric"})
def test_a_buffered_run_is_not_on_the_feeds_yet(server, client):
    """REST finds it."""
    server.settings.buffering = 0.4
    run_id = client.trigger(1, tags=["t"]).json()["id"]
    got = client.run(run_id)
    assert (got.status, got.headers["x-should-retry"]) == (404, "false")
    assert client.get(f"/api/v3/runs/{run_id}").status == 200
    assert client.runs(tags="t").rows == []
    assert client.stream(run_id).status == 404
    eventually(lambda: client.run(run_id).status == 200, "the run is still buffered")
    assert client.runs(tags="t").run_ids == [run_id]


# --- tasks


def test_a_function_is_run_as_a_task(server, client):
    """It gets the payload, and what it returns is the output, with its types."""
    threads = []

    @server.task("double")
    def double(payload):
        threads.append(threading.current_thread().name)
        return {"twice": payload * 2, "at": datetime(1970, 1, 1, tzinfo=timezone.utc)}

    row = finished(client, client.trigger(21, task="double").json()["id"])
    assert row["status"] == "COMPLETED_SUCCESSFULLY"
    assert row["outputType"] == "application/super+json"
    assert json.loads(row["output"]) == {
        "json": {"twice": 42, "at": "1970-01-01T00:00:00.000Z"},
        "meta": {"values": {"at": ["Date"]}},
    }
    assert threads[0].startswith("realtime-server-task-")
    assert row["startedAt"] is not None


def test_a_function_that_raises_fails_its_run(server, client):
    """With the error's name and text."""

    @server.task("fails")
    def fails(payload):
        raise ValueError("no good")

    row = finished(client, client.trigger(1, task="fails").json()["id"])
    error = json.loads(row["error"])
    assert row["status"] == "COMPLETED_WITH_ERRORS"
    assert (error["name"], error["message"]) == ("ValueError", "no good")


def test_a_cancelled_run_is_done_when_its_function_is(server, client):
    """CANCELED at once, `completedAt` later, and no output."""
    begun, end = threading.Event(), threading.Event()

    @server.task("slow")
    def slow(payload):
        begun.set()
        end.wait(5)

    run_id = client.trigger(1, task="slow").json()["id"]
    assert begun.wait(5)
    assert client.post(f"/api/v2/runs/{run_id}/cancel").json() == {"id": run_id}
    row = client.row(run_id)
    assert (row["status"], row["completedAt"]) == ("CANCELED", None)
    end.set()
    assert finished(client, run_id)["status"] == "CANCELED"


def test_the_same_answer_to_each_cancel(server, client):
    """A finished run stays as it is; there is none: 404."""
    run_id = server.create_run()
    server.complete_run(run_id, 1)
    assert client.post(f"/api/v2/runs/{run_id}/cancel").json() == {"id": run_id}
    assert client.row(run_id)["status"] == "COMPLETED_SUCCESSFULLY"
    got = client.post("/api/v2/runs/run_missing/cancel")
    assert (got.status, got.json()) == (404, {"error": "Resource not found"})


# --- debouncing


@pytest.mark.parametrize(("mode", "payload"), [("leading", "1"), ("trailing", "2")])
def test_a_debounced_run_is_put_off(client, mode, payload):
    """The same run, later; `trailing` takes the newest payload."""
    debounce = {"key": "k", "delay": "30m", "mode": mode}
    run_id = client.trigger(1, debounce=debounce).json()["id"]
    before = client.row(run_id)["delayUntil"]
    assert client.trigger(2, debounce=debounce).json()["id"] == run_id
    row = client.row(run_id)
    assert row["payload"] == payload
    assert row["delayUntil"] > before
    assert client.trigger(1, debounce={**debounce, "key": "other"}).json()["id"] != run_id


# --- large payloads


def test_an_upload(server, client):
    """The store is another server: it takes no token, and keeps the type."""
    name = "trigger%2Fpacket_1%2Fpayload.json"
    asked = client.send("PUT", f"/api/v2/packets/{name}").json()
    assert asked["storagePath"] == "trigger/packet_1/payload.json"
    path = asked["presignedUrl"].removeprefix(server.url)
    assert client.send("PUT", path, data=b"x").status == 400
    kept = {"Content-Type": "application/super+json"}
    client.connection.request("PUT", path, b'{"json":[1]}', kept)
    answer = client.connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    run_id = client.trigger(asked["storagePath"], payloadType="application/store").json()["id"]
    assert server.triggered()[0].payload == [1]
    assert client.row(run_id)["payloadType"] == "application/store"


def test_no_store(server, client):
    """A 500 however often it is asked, and a large payload can't be moved there either."""
    server.settings.object_store = False
    got = client.send("PUT", "/api/v2/packets/a")
    assert got.status == 500
    assert "Object store is not configured" in got.json()["error"]
    assert client.trigger("x" * 500_000).status == 200
    assert client.trigger("x" * 600_000).status == 500


def test_an_old_server_knows_no_uploads(server, client):
    """A 404, as for any route that it does not know."""
    server.settings.uploads = False
    assert client.send("PUT", "/api/v2/packets/a").status == 404


def test_the_server_moves_a_large_payload(server, client):
    """From 512 KiB on it is in the store, and the task gets it all the same."""
    run_id = client.trigger("x" * 600_000, payloadType="text/plain").json()["id"]
    assert client.row(run_id)["payloadType"] == "application/store"
    assert len(server.triggered()[0].payload) == 600_000


@serving(api_requests=3)
def test_triggers_share_the_limit_of_the_api(client):
    """With its reset in milliseconds; uploads and claims are not counted."""
    for _ in range(3):
        client.send("PUT", "/api/v2/packets/a")
        client.post("/api/v1/auth/jwt/claims")
        assert client.trigger(1).status == 200
    got = client.trigger(1)
    assert got.status == 429
    assert got.headers["content-type"] == "application/problem+json"
    assert int(got.headers["x-ratelimit-reset"]) > time.time() * 1000


@pytest.mark.parametrize(("headers", "version"), [({}, "v1"), ({STREAMS: "v2"}, "v2")])
def test_streams_are_v1_unless_asked_otherwise(server, client, headers, version):
    """Whatever storage the server has."""
    run_id = client.post("/api/v1/tasks/my-task/trigger", {}, headers=headers).json()["id"]
    server.append(run_id, "s", {"n": 1})
    got = client.stream(run_id, {"Timeout-Seconds": "1"})
    assert got.headers.get("x-stream-version", "v1") == version
    assert '"n":1' in got.body.decode().replace("\\", "")


def test_a_function_writes_to_its_run(server, client):
    """It knows which one it is."""

    @server.task("writes")
    def writes(payload):
        server.append(server.current_run, "s", payload)

    run_id = client.trigger(1, task="writes").json()["id"]
    finished(client, run_id)
    assert client.row(run_id)["realtimeStreams"] == '{"s"}'


def test_functions_run_side_by_side(server, client):
    """One that waits holds up no other."""
    end = threading.Event()
    server.task("waits")(lambda payload: end.wait(5))
    server.task("ends")(lambda payload: None)
    waiting = client.trigger(1, task="waits").json()["id"]
    finished(client, client.trigger(1, task="ends").json()["id"])
    assert client.row(waiting)["status"] == "EXECUTING"
    end.set()


def test_a_kept_connection_is_closed(server, client):
    """After a while without a request, as Node does."""
    server.settings.keep_alive = 0.1
    client.trigger(1)
    server.wait_for_connections(0)
    client.connection.close()
    assert client.trigger(1).status == 200


def test_a_branch_is_an_environment(server, client):
    """Its runs and keys are its own: who forgets to name it finds nothing."""
    branch = {"x-trigger-branch": "feature/x"}
    body = {"options": {"idempotencyKey": "k"}}
    path = "/api/v1/tasks/my-task/trigger"
    run_id = client.post(path, body, headers=branch).json()["id"]
    assert client.post(path, body).json()["id"] != run_id
    assert (client.run(run_id, branch).status, client.run(run_id).status) == (200, 404)
    assert client.get(f"/api/v3/runs/{run_id}").status == 404
    assert client.post(f"/api/v2/runs/{run_id}/cancel").status == 404
    listed = client.get("/api/v1/runs", branch).json()["data"]
    assert [run["id"] for run in listed] == [run_id]


def test_what_is_malformed_is_kept(server, client):
    """The server does not look into a payload."""
    text = '{"json":{"a":{}},"meta":{"values":{"a":["number"]}}}'
    assert client.trigger(text, payloadType="application/super+json").status == 200
    assert server.triggered()[0].payload == text


def test_a_run_that_the_test_has_finished_stays_so(server, client):
    """Its function comes too late."""
    begun, end = threading.Event(), threading.Event()

    @server.task("late")
    def late(payload):
        begun.set()
        end.wait(5)
        return "late"

    run_id = client.trigger(1, task="late").json()["id"]
    assert begun.wait(5)
    server.fail_run(run_id)
    end.set()
    eventually(lambda: run_id not in server._life._executed, "the function does not end")
    assert client.row(run_id)["status"] == "COMPLETED_WITH_ERRORS"


def test_a_run_that_is_put_off_is_not_queued_before(client, status):
    """The end of its first delay is no end of the second."""
    debounce = {"key": "k", "delay": "1s", "maxDelay": "2h"}
    run_id = client.trigger(1, debounce=debounce).json()["id"]
    assert client.trigger(1, debounce={"key": "k", "delay": "1h"}).json()["id"] == run_id
    later = client.trigger(1, delay=moment(1.2)).json()["id"]
    eventually(lambda: status(later) == "PENDING", "the delay does not end")
    assert status(run_id) == "DELAYED"
