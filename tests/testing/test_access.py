"""Public tokens, their scopes and their use (docs/protocol.md, section R4)."""

from __future__ import annotations

import base64
import json
import time

import pytest

from tests.testing.conftest import serving
from trigger_realtime_sync.testing._jwt import sign

SK = "tr_dev_sk_aaaaaaaaaaaaaaaaaaaaaaaa"


def claims_of(token):
    middle = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))


def mint(client, key, scopes, **more):
    """A token as a client makes it, from the claims that the server names."""
    claims = client.post("/api/v1/auth/jwt/claims", token=key).json()
    now = int(time.time())
    names = {"iss": "https://id.trigger.dev", "aud": "https://api.trigger.dev"}
    return sign({**claims, "scopes": scopes, **names, "exp": now + 60, "iat": now, **more}, key)


def test_a_token_that_a_client_signs(server, client):
    """With its root key, for this environment."""
    run_id = server.create_run()
    token = mint(client, "tr_dev_mine", [f"read:runs:{run_id}"])
    assert client.run(run_id, {"Authorization": f"Bearer {token}"}).status == 200


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"exp": 1}, "expired"),
        ({"sub": "another"}, "Invalid"),
        ({"iss": "https://elsewhere"}, "Invalid"),
        ({"aud": "https://elsewhere"}, "Invalid"),
        ({"pub": False}, "Invalid"),
    ],
    ids=str,
)
def test_a_token_that_is_not_good(server, client, change, text):
    """Each claim is looked at."""
    token = mint(client, "tr_dev_mine", ["read:runs"], **change)
    got = client.run(server.create_run(), {"Authorization": f"Bearer {token}"})
    assert got.status == 401
    assert text in got.json()["error"]


@pytest.mark.parametrize("key", [SK, "unknown"])
@serving(tokens=["tr_dev_root", SK])
def test_a_signature_that_is_not_good(server, client, key):
    """An additional key's signature verifies nowhere, and a stranger's neither."""
    claims = claims_of(server.public_token("read:runs"))
    got = client.run(server.create_run(), {"Authorization": f"Bearer {sign(claims, key)}"})
    assert got.status == 401
    good = sign(claims, "tr_dev_root")
    assert client.run(server.create_run(), {"Authorization": f"Bearer {good}"}).status == 200


def test_a_branch_has_an_id_of_its_own(client):
    """Which never changes."""

    def sub(**headers):
        return client.post("/api/v1/auth/jwt/claims", headers=headers).json()["sub"]

    assert sub() == sub()
    assert sub() != sub(**{"x-trigger-branch": "feature/x"})


READS = ("run", "run by REST", "tag", "stream", "batch")


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ("read:runs:{run}", {"run", "run by REST", "stream"}),
        ("read:runs:run_other", set()),
        ("read:runs", {"run", "run by REST", "stream", "tag"}),
        # No id and an empty one are all of them.
        ("read:runs:", {"run", "run by REST", "stream", "tag"}),
        ("read:tasks:my-task", {"run", "run by REST", "stream"}),
        ("read:tags:a:b", {"run", "run by REST", "stream", "tag"}),
        ("read:tags:a", set()),
        ("read:batch:{batch}", {"run", "run by REST", "stream", "batch"}),
        ("write:runs:{run}", set()),
        ("*:runs:{run}", {"run", "run by REST", "stream"}),
        ("read:all", set(READS)),
        ("admin", set(READS)),
    ],
)
def test_what_a_scope_reads(server, client, scope, allowed):
    """`action:type:id`, split at the first two colons."""
    run_id = server.create_run(tags=["a:b"])
    batch_id = server.batch(run_id)
    server.complete_run(run_id, 1)
    server.append(run_id, "s", 1)
    token = server.public_token(scope.format(run=run_id, batch=batch_id))
    paths = {
        "run": f"/realtime/v1/runs/{run_id}?offset=-1",
        "run by REST": f"/api/v3/runs/{run_id}",
        "tag": "/realtime/v1/runs?offset=-1&tags=a:b",
        "stream": f"/realtime/v1/streams/{run_id}/s",
        "batch": f"/realtime/v1/batches/{batch_id}?offset=-1",
    }
    headers = {"Authorization": f"Bearer {token}", "Timeout-Seconds": "0"}
    statuses = {name: client.get(path, headers).status for name, path in paths.items()}
    assert statuses == {name: 200 if name in allowed else 403 for name in READS}


def test_no_scopes_no_rights(server, client):
    """A token without any may do nothing."""
    token = {"Authorization": f"Bearer {server.public_token()}"}
    assert client.run(server.create_run(), token).status == 403


def test_scopes_of_triggers(server, client):
    """Of this task alone."""
    token = server.public_token("trigger:tasks:my-task")
    assert client.post("/api/v1/tasks/my-task/trigger", {}, token=token).status == 200
    got = client.post("/api/v1/tasks/other/trigger", {}, token=token)
    assert (got.status, got.json()["code"]) == (403, "unauthorized")


def test_scopes_of_cancelling(server, client):
    """The run, or its task."""
    run_id = server.create_run()
    path = f"/api/v2/runs/{run_id}/cancel"
    assert client.post(path, token=server.public_token(f"read:runs:{run_id}")).status == 403
    assert client.post(path, token=server.public_token("write:tasks:my-task")).status == 200
    assert client.post(path, token=server.public_token(f"write:runs:{run_id}")).status == 200


def test_a_one_time_token(server, client):
    """Spent by the first trigger; another attempt of the same request is not another use."""
    token = server.public_token("trigger:tasks:my-task", otu=True)
    how = {"token": token, "headers": {"x-trigger-request-idempotency-key": "request-1"}}
    path = "/api/v1/tasks/my-task/trigger"
    first = client.post(path, {}, **how)
    assert client.post(path, {}, **how).json() == first.json()
    got = client.post(path, {}, token=token)
    text = "Cannot trigger my-task with a one-time use token as it has already been used."
    assert (got.status, got.json()) == (422, {"error": text})


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/api/v2/packets/a"), ("POST", "/api/v1/auth/jwt/claims")],
)
def test_routes_that_take_no_public_token(server, client, method, path):
    """A good one is a 401 there, and a restricted key a 403."""
    token = server.public_token("admin")
    assert client.send(method, path, token=token).status == 401
    server.restrict(SK, "read:runs")
    assert client.send(method, path, token=SK).status == 403


def test_the_server_makes_tokens(server, client):
    """For keys that can't; a number is an instant, and 15 minutes are usual."""
    path = "/api/v1/auth/public-tokens"
    asked = {"scopes": ["trigger:tasks:t"], "oneTimeUse": True, "expirationTime": "1h"}
    claims = claims_of(client.post(path, asked, token=SK).json()["token"])
    assert (claims["otu"], claims["exp"] - claims["iat"]) == (True, 3600)
    usual = claims_of(client.post(path, {"scopes": ["read:runs"]}).json()["token"])
    assert (usual.get("otu"), usual["exp"] - usual["iat"]) == (None, 900)
    instant = int(time.time()) + 100
    asked = {"scopes": ["read:runs"], "expirationTime": instant}
    assert claims_of(client.post(path, asked).json()["token"])["exp"] == instant
    asked["expirationTime"] = 3600
    assert client.post(path, asked).status == 400


def test_a_restricted_key_makes_no_more_than_it_may(server, client):
    """It hears what was too much."""
    server.restrict(SK, "read:runs", "trigger:tasks:t")
    path, asked = "/api/v1/auth/public-tokens", {"scopes": ["read:runs:run_1", "trigger:tasks"]}
    got = client.post(path, asked, token=SK)
    assert (got.status, got.json()["deniedScopes"]) == (403, ["trigger:tasks"])
    assert got.json()["code"] == "scopes_exceed_key_access"


def test_who_makes_no_tokens(server, client):
    """A public token can't, no scope is no token, and old servers don't know the route."""
    path, asked = "/api/v1/auth/public-tokens", {"scopes": ["read:runs"]}
    assert client.post(path, asked, token=server.public_token("admin")).status == 401
    got = client.post(path, {"scopes": []})
    assert (got.status, got.json()["error"]) == (400, "Invalid request body")
    server.settings.mints = False
    assert client.post(path, asked).status == 404


def test_requests_hide_what_is_as_good_as_a_token(server, client):
    """Neither the header nor a presigned URL is in a repr."""
    path = client.send("PUT", "/api/v2/packets/a").json()["presignedUrl"]
    client.send("PUT", path.removeprefix(server.url), data=b"x")
    shown = repr(server.requests)
    assert "tr_test" not in shown
    assert path.rpartition("/")[2] not in shown
