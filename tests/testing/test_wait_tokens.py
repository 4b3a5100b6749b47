"""Wait tokens (docs/protocol.md, section R6)."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.waiting import eventually

TOKENS = "/api/v1/waitpoints/tokens"


def create(client, **body):
    return client.post(TOKENS, body)


def retrieve(client, token_id):
    return client.get(f"{TOKENS}/{token_id}").json()


def complete(client, token_id, body, **how):
    return client.post(f"{TOKENS}/{token_id}/complete", body, **how)


def test_a_token_is_made_and_completed(server, client):
    """By its id, and the token that came with it."""
    got = create(client, timeout="10m", tags=["approval"])
    token_id, url = got.json()["id"], got.json()["url"]
    assert got.json() == {"id": token_id, "isCached": False, "url": url}
    waiting = retrieve(client, token_id)
    assert (waiting["status"], waiting["tags"]) == ("WAITING", ["approval"])
    assert (waiting["outputType"], waiting["userProvidedIdempotencyKey"]) == (
        "application/json",
        False,
    )
    token = got.headers["x-trigger-jwt"]
    assert complete(client, token_id, {"data": {"ok": True}}, token=token).json() == {
        "success": True
    }
    done = retrieve(client, token_id)
    assert (done["status"], done["outputType"]) == ("COMPLETED", "application/super+json")
    assert json.loads(done["output"]) == {"json": {"ok": True}}
    (kept,) = server.wait_tokens
    assert (kept.id, kept.status, kept.output) == (token_id, "COMPLETED", {"ok": True})
    assert url not in repr(kept)


def test_the_first_completion_counts(server, client):
    """The others hear the same, and so do those who come after the time-out."""
    token_id = create(client).json()["id"]
    for data in (1, 2):
        assert complete(client, token_id, {"data": data}).json() == {"success": True}
    assert server.wait_tokens[0].output == 1


@pytest.mark.parametrize(
    ("body", "packet"),
    [({}, (None, "application/json")), ({"data": "text"}, ("text", "text/plain"))],
    ids=str,
)
def test_how_data_is_kept(server, client, body, packet):
    """Nothing is no output; text is text."""
    token_id = create(client).json()["id"]
    complete(client, token_id, body)
    assert server.wait_tokens[0].packet == packet


def test_a_token_times_out(client):
    """It holds an error then, and nobody can complete it any more."""
    token_id = create(client, timeout="1s").json()["id"]
    eventually(lambda: retrieve(client, token_id)["status"] == "TIMED_OUT", "it still waits")
    assert complete(client, token_id, {"data": 1}).json() == {"success": True}
    shown = retrieve(client, token_id)
    assert (shown["status"], shown["outputIsError"]) == ("TIMED_OUT", True)


@pytest.mark.parametrize("timeout", ["soon", "10 minutes", "2020-01-01"])
def test_a_bad_timeout_is_none(client, timeout):
    """In silence."""
    shown = retrieve(client, create(client, timeout=timeout).json()["id"])
    assert (shown["status"], "timeoutAt" in shown) == ("WAITING", False)


@pytest.mark.parametrize("timeout", [600, None])
def test_a_number_is_in_1970(client, timeout):
    """Milliseconds of the epoch: the token has timed out before it can be used."""
    token_id = create(client, timeout=timeout).json()["id"]
    eventually(lambda: retrieve(client, token_id)["status"] == "TIMED_OUT", "it still waits")


def test_a_key_finds_its_token(client):
    """With its first time-out, completed or not; a key that has ended finds nothing."""
    first = create(client, idempotencyKey="k", timeout="1h").json()
    complete(client, first["id"], {})
    again = create(client, idempotencyKey="k", timeout="2h").json()
    assert again == {**first, "isCached": True}
    shown = retrieve(client, first["id"])
    assert (shown["idempotencyKey"], shown["userProvidedIdempotencyKey"]) == ("k", True)
    create(client, idempotencyKey="short", idempotencyKeyTTL="0s")
    assert not create(client, idempotencyKey="short").json()["isCached"]


def callback(client, url, server, data=b"{}", **headers):
    """A POST as a stranger sends it, without a token."""
    client.connection.request("POST", url.removeprefix(server.url), data, headers)
    answer = client.connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(("data", "output"), [(b'{"paid":1}', {"paid": 1}), (b"no JSON", {})])
def test_a_callback_completes(server, client, data, output):
    """Who has the URL needs no token."""
    url = create(client).json()["url"]
    assert callback(client, url, server, data) == (200, {"success": True})
    assert server.wait_tokens[0].output == output


def test_a_callback_that_is_refused(server, client):
    """A wrong hash, a wrong id, no length."""
    url = create(client).json()["url"]
    head, _, _ = url.rpartition("/")
    wrong = callback(client, f"{head}/{'0' * 64}", server)
    assert wrong == (401, {"error": "Invalid URL, hash doesn't match"})
    missing = url.replace("waitpoint_", "waitpoint_x")
    assert callback(client, missing, server)[0] == 404
    status, _ = callback(client, url, server, iter([b"{}"]))
    assert status == 411
    assert server.wait_tokens[0].status == "WAITING"
    assert url.rpartition("/")[2] not in repr(server.requests)


def test_unknown_tokens(client):
    """To complete one is a 404; to retrieve one is beyond the server: 500."""
    got = complete(client, "waitpoint_unknown", {"data": 1})
    assert (got.status, got.json()) == (404, {"error": "Waitpoint not found"})
    got = client.get(f"{TOKENS}/waitpoint_unknown")
    assert (got.status, got.json()) == (500, {"error": "Internal Server Error"})


def test_bodies(client):
    """No options are `{}`, and 10 KiB of them are enough."""
    assert client.post(TOKENS).status == 400
    assert create(client, tags=[f"t{n}" for n in range(11)]).status == 422
    assert create(client, idempotencyKey="k" * 10_240).status == 413
    assert client.post(TOKENS, data=iter([b"{}"])).status == 413


def test_scopes_of_wait_tokens(server, client):
    """A public token completes its own, and does nothing else."""
    token_id = create(client).json()["id"]
    narrow = server.public_token("write:waitpoints:another")
    assert complete(client, token_id, {}, token=narrow).status == 403
    admin = server.public_token("admin")
    assert client.post(TOKENS, {}, token=admin).status == 401
    assert client.get(TOKENS, {"Authorization": f"Bearer {admin}"}).status == 401


def test_the_list(client):
    """Newest first, in pages, by status, tags and key."""
    ids = [create(client, tags=[f"t{n}"]).json()["id"] for n in range(3)]
    complete(client, ids[1], {})
    first = client.get(TOKENS, **{"page[size]": 2}).json()
    assert [one["id"] for one in first["data"]] == ids[:0:-1]
    after = {"page[size]": 2, "page[after]": first["pagination"]["next"]}
    second = client.get(TOKENS, **after).json()
    assert [one["id"] for one in second["data"]] == ids[:1]
    assert set(second["pagination"]) == {"previous"}

    def found(**query):
        return [one["id"] for one in client.get(TOKENS, **query).json()["data"]]

    assert found(**{"filter[status]": "COMPLETED"}) == [ids[1]]
    assert found(**{"filter[tags]": "t0,t2"}) == [ids[2], ids[0]]
    assert found(**{"filter[idempotencyKey]": "k"}) == []
    assert found(**{"filter[createdAt][to]": int(time.time() * 1000) - 60_000}) == []
    assert client.get(TOKENS, **{"page[size]": 101}).status == 400


def test_a_branch_shows_another_url(server, client):
    """Only the one from creation is good."""
    headers = {"x-trigger-branch": "feature/x"}
    made = client.post(TOKENS, {}, headers=headers).json()
    shown = client.get(f"{TOKENS}/{made['id']}", headers).json()["url"]
    assert callback(client, shown, server)[0] == 401
    assert callback(client, made["url"], server)[0] == 200
