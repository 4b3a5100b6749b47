"""What a page is given: a token for exactly one run."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from trigger_realtime_sync import ConfigurationError, PermissionDeniedError, RealtimeClient
from trigger_realtime_sync.contrib.page import run_props, run_token

KEY = "tr_dev_of_the_page"


@pytest.fixture
def client(connect, server):
    return connect(server, access_token=KEY)


def claims_of(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))))


def test_a_token_reads_one_run_and_nothing_else(server, client, connect):
    """Neither another run nor a list, and it changes nothing, that run included."""
    handle = client.trigger("t", {"a": 1})
    other = client.trigger("t")
    token = run_token(client, handle)
    assert claims_of(token)["scopes"] == [f"read:runs:{handle.id}"]
    browser = connect(server, access_token=token)
    server.complete_run(handle.id, output=5)
    assert browser.wait_for_completion(handle.id, timeout=10).output == 5
    for forbidden in (
        lambda: browser.runs.retrieve(other.id),
        browser.runs.list,
        lambda: browser.runs.cancel(handle.id),
        lambda: browser.send(handle.id, "s", 1),
        lambda: browser.trigger("t"),
    ):
        with pytest.raises(PermissionDeniedError):
            forbidden()


def test_a_token_is_good_for_a_while(client):
    """15 minutes, or as long as the page says."""
    soon = time.time()
    for options, seconds in (({}, 900), ({"expires_in": "1h"}, 3600)):
        assert claims_of(run_token(client, "run_1", **options))["exp"] - soon == pytest.approx(
            seconds, abs=5
        )
    skipped = claims_of(run_token(client, "run_1", skip_columns=["payload"]))
    assert skipped["realtime"] == {"skipColumns": ["payload"]}


def test_a_run_is_known_by_anything_that_names_it(server, client):
    """A handle, a run, an id; the server is asked once, for the first token of all."""
    handle = client.trigger("t")
    server.clear_requests()
    for run in (handle, handle.retrieve(), handle.id):
        assert claims_of(run_token(client, run))["scopes"] == [f"read:runs:{handle.id}"]
    assert len([one for one in server.requests if "claims" in one.path]) == 1


@pytest.mark.parametrize("nothing", [None, "", " ", [], ["run_1"], {"id": "run_1"}, 7, True])
def test_nothing_is_no_run(server, client, nothing):
    """A template turns what it does not find into an empty text: no token may come of it, since a
    scope without an id means all runs."""
    with pytest.raises(TypeError, match="needs a run"):
        run_token(client, nothing)
    assert not server.requests


def test_props_are_those_of_the_official_hooks(server, client):
    """By their names, and nothing of the secret key."""
    props = run_props(client, "run_1", base_url=server.url, expires_in="1h")
    assert props.keys() == {"runId", "accessToken", "baseURL"}
    assert (props["runId"], props["baseURL"]) == ("run_1", server.url)
    assert KEY not in json.dumps(props)
    props = run_props(client, "run_1", base_url="https://trigger.example.com/")
    assert props["baseURL"] == "https://trigger.example.com"


def test_a_client_without_a_secret_key_makes_none(server, connect, client):
    """A token can't make another one."""
    public = connect(server, access_token=run_token(client, "run_1"))
    with pytest.raises(ConfigurationError):
        run_token(public, "run_1")


def test_the_helpers_take_any_client(server):
    """That of a script too."""
    with RealtimeClient(KEY, base_url=server.url) as client:
        assert run_token(client, "run_1").count(".") == 2
