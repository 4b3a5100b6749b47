"""Input streams (docs/protocol.md, section R7)."""

from __future__ import annotations

import pytest


def send(client, run_id, body, **how):
    return client.post(f"/realtime/v1/streams/{run_id}/input/a%2Fb", body, **how)


def test_what_is_sent_is_kept(server, client):
    """In the order of the answers; without data it is no value at all."""
    run_id = server.create_run()
    for body in ({"data": {"a": 1}}, {"data": None}, {}):
        got = send(client, run_id, body)
        assert (got.status, got.json()) == (200, {"ok": True})
    assert server.inputs(run_id, "a/b") == [{"a": 1}, None, None]
    assert server.wait_for_inputs(run_id, "a/b", 3) == server.inputs(run_id, "a/b")


def test_nothing_is_recognised_again(server, client):
    """A second attempt of the same request is a second input."""
    run_id = server.create_run()
    headers = {"x-trigger-request-idempotency-key": "request-1"}
    for _ in range(2):
        send(client, run_id, {"data": 1}, headers=headers)
    assert server.inputs(run_id, "a/b") == [1, 1]


def test_a_run_that_takes_nothing(server, client):
    """There is none, or it is completed."""
    got = send(client, "run_missing", {"data": 1})
    assert (got.status, got.json()) == (404, {"ok": False, "error": "Run not found"})
    run_id = server.create_run()
    server.complete_run(run_id, 1)
    got = send(client, run_id, {"data": 1})
    text = "Cannot send to input stream on a completed run"
    assert (got.status, got.json()) == (400, {"ok": False, "error": text})


@pytest.mark.parametrize(("text", "status"), [("x" * 1_040_000, 200), ('"' * 400_000, 413)])
def test_the_record_has_a_limit(server, client, text, status):
    """1 MiB when it is wrapped and escaped."""
    assert send(client, server.create_run(), {"data": text}).status == status


def test_the_body_has_a_limit_and_no_chunks(server, client):
    """1 MiB as well."""
    run_id = server.create_run()
    assert send(client, run_id, {"data": "x" * (1 << 20)}).status == 413
    path = f"/realtime/v1/streams/{run_id}/input/s"
    assert client.post(path, data=iter([b'{"data":1}'])).status == 413
    assert server.inputs(run_id, "s") == []


def test_the_scope_of_inputs(server, client):
    """It is in every trigger's token."""
    got = client.trigger(1)
    run_id, token = got.json()["id"], got.headers["x-trigger-jwt"]
    assert send(client, run_id, {"data": 1}, token=token).status == 200
    assert send(client, server.create_run(), {"data": 1}, token=token).status == 403
