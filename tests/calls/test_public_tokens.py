"""Public access tokens: made here or by the server, and good for what they say."""

from __future__ import annotations

import base64
import json
import signal
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.calls.conftest import KEY
from tests.support.raw import by_path, hold, reply
from trigger_realtime_sync import (
    AuthenticationError,
    ClientClosed,
    ConfigurationError,
    PermissionDeniedError,
    Task,
)
from trigger_realtime_sync._calls.memory import CallMemory

ADDITIONAL = "tr_dev_sk_" + "a" * 24


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def asked(server: Any) -> list[str]:
    return [one.path for one in server.requests if one.path.startswith("/api/v1/auth")]


@pytest.fixture
def client(server, connect):
    return connect(server)


def test_a_token_reads_what_it_may_and_nothing_else(server, client, connect):
    """The server takes it for its own."""
    run_id, other = server.create_run(), server.create_run()
    server.complete_run(run_id, 5)
    server.complete_run(other, 6)
    token = client.create_public_token(read={"runs": [run_id]})
    holder = connect(server, access_token=token)
    assert holder.wait_for_completion(run_id, timeout=10).output == 5
    with pytest.raises(PermissionDeniedError):
        holder.wait_for_completion(other, timeout=10)


def test_the_server_is_asked_once(server, client, connect):
    """For each key; and again by another client."""
    for _ in range(3):
        client.create_public_token(read={"tags": "user:7"})
    assert len(asked(server)) == 1
    connect(server).create_public_token(read={"tags": "user:7"})
    assert len(asked(server)) == 2
    began = time.perf_counter()
    for _ in range(100):
        client.create_public_token(read={"tags": "user:7"})
    assert time.perf_counter() - began < 1


def test_a_token_for_each_branch(server, connect):
    """Its environment is the branch's."""
    token = connect(server, preview_branch="feature/x").create_public_token(read={"runs": True})
    (request,) = [one for one in server.requests if one.kind == "claims"]
    assert request.headers["x-trigger-branch"] == "feature/x"
    assert claims_of(token)["sub"]


def test_claims_are_those_of_the_official_client(client):
    """In their order, which the signature covers."""
    before = int(time.time())
    claims = claims_of(
        client.create_public_token(read={"runs": "run_1"}, skip_columns=["payload", "is_test"])
    )
    assert list(claims) == ["sub", "pub", "scopes", "realtime", "iss", "aud", "exp", "iat"]
    assert claims["realtime"] == {"skipColumns": ["payload", "isTest"]}
    assert claims["exp"] - claims["iat"] == 900
    assert before <= claims["iat"] <= time.time()
    once = claims_of(client.create_public_token(trigger=["signup"], skip_columns="payload"))
    assert list(once) == ["sub", "pub", "otu", "realtime", "scopes", "iss", "aud", "exp", "iat"]
    assert once["otu"] is True


def test_a_token_that_only_triggers_is_good_for_one_use(server, client, connect):
    """Unless it says otherwise."""
    bill = Task("bill")
    connect(server, access_token=client.create_public_token(trigger=bill)).trigger("bill")
    assert claims_of(client.create_public_token(trigger="a", one_time_use=False))["otu"] is False
    assert claims_of(client.create_public_token(batch_trigger="a"))["otu"] is True
    mixed = client.create_public_token(trigger="a", read={"runs": True})
    assert "otu" not in claims_of(mixed)
    assert claims_of(client.create_public_token(read={"runs": True}, one_time_use=True))["otu"]


def test_a_token_lives_as_long_as_it_says(client):
    """From now on, or until a moment."""
    for expires_in, seconds in ((timedelta(hours=1), 3600), ("1h30m", 5400), (60, 60)):
        claims = claims_of(client.create_public_token(read={"runs": True}, expires_in=expires_in))
        assert claims["exp"] - claims["iat"] == seconds
    end = datetime(2999, 1, 1, tzinfo=timezone.utc)
    token = client.create_public_token(read={"runs": True}, expires_at=end)
    assert claims_of(token)["exp"] == end.timestamp()


def test_an_additional_key_lets_the_server_make_it(server, connect):
    """It can't sign itself."""
    server.restrict(ADDITIONAL, "read:runs", "trigger:tasks")
    client = connect(server, access_token=ADDITIONAL)
    token = client.create_public_token(
        read={"runs": ["run_1"]}, expires_in=timedelta(hours=1), skip_columns=["payload"]
    )
    claims = claims_of(token)
    assert claims["scopes"] == ["read:runs:run_1"]
    assert abs(claims["exp"] - time.time() - 3600) < 10
    assert claims["realtime"] == {"skipColumns": ["payload"]}
    assert claims_of(client.create_public_token(trigger="signup"))["otu"] is True
    end = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(hours=2)
    claims = claims_of(client.create_public_token(read={"runs": "run_1"}, expires_at=end))
    assert abs(claims["exp"] - end.timestamp()) <= 1
    with pytest.raises(PermissionDeniedError):
        client.create_public_token(write={"runs": ["run_1"]})
    assert asked(server) == ["/api/v1/auth/public-tokens"] * 4


def test_the_server_gets_what_the_official_client_sends(raw, connect):
    """A number would be an instant."""
    server = raw(reply(200, {}, {"token": "a.b.c"}))
    client = connect(server, access_token=ADDITIONAL)
    assert client.create_public_token(trigger="task-a") == "a.b.c"
    assert server.exchanges[0].json() == {"scopes": ["trigger:tasks:task-a"], "oneTimeUse": True}
    client.create_public_token(read={"runs": True}, expires_in=3600)
    assert server.exchanges[1].json() == {"scopes": ["read:runs"], "expirationTime": "3600s"}


def test_a_server_that_makes_none_is_told(server, connect):
    """By an error that says what helps."""
    server.settings.mints = False
    with pytest.raises(ConfigurationError, match="root key"):
        connect(server, access_token=ADDITIONAL).create_public_token(read={"runs": True})


def test_a_public_token_makes_none(server, client, connect):
    """Without asking the server."""
    token = client.create_public_token(read={"runs": True})
    before = len(server.requests)
    with pytest.raises(ConfigurationError, match="secret key"):
        connect(server, access_token=token).create_public_token(read={"runs": True})
    assert len(server.requests) == before


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"read": {"runs": ""}},
        {"read": {"run": "run_1"}},
        {"read": {"runs": True}, "expires_in": 0},
        {"read": {"runs": True}, "expires_in": "soon"},
        {"read": {"runs": True}, "expires_in": timedelta(-1)},
        {"read": {"runs": True}, "expires_at": datetime(2999, 1, 1)},
        {"read": {"runs": True}, "expires_at": datetime(2020, 1, 1, tzinfo=timezone.utc)},
        {
            "read": {"runs": True},
            "expires_in": 60,
            "expires_at": datetime(2999, 1, 1, tzinfo=timezone.utc),
        },
        {"read": {"runs": True}, "skip_columns": ["id"]},
    ],
    ids=str,
)
def test_what_can_not_work_is_refused(server, client, options):
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r"scope|id|read|expires|skip"):
        client.create_public_token(**options)
    assert server.requests == []


def test_a_key_that_was_replaced_signs(raw, connect):
    """The one that the server took, not the one that it refused."""
    tokens = iter(["tr_dev_1", "tr_dev_1", "tr_dev_2", "tr_dev_2"])
    claims = reply(200, {}, {"sub": "env", "pub": True})
    server = raw(reply(401), claims)
    client = connect(server, access_token=lambda: next(tokens))
    token = client.create_public_token(read={"runs": True})
    again = client.create_public_token(read={"runs": True})
    assert claims_of(token)["sub"] == claims_of(again)["sub"] == "env"
    assert len(server.exchanges) == 2
    refused = raw(by_path({}, reply(401)))
    with pytest.raises(AuthenticationError):
        connect(refused).create_public_token(read={"runs": True})


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def alarm():
    """Let SIGALRM raise an exception out of its handler, as Ctrl-C does."""
    before = signal.signal(signal.SIGALRM, interrupted)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_an_interrupted_token_function_is_no_error_of_ours(connect, raw):
    """Ctrl-C goes on to whoever pressed it, and the next call works."""
    asked: list[int] = []

    def function() -> str:
        asked.append(1)
        if len(asked) == 1:
            raise KeyboardInterrupt
        return KEY

    client = connect(raw(reply(200, {}, {"sub": "env_1", "pub": True})), access_token=function)
    with pytest.raises(KeyboardInterrupt):
        client.create_public_token(read={"runs": "run_1"})
    assert client.create_public_token(read={"runs": "run_1"})


def test_a_token_can_be_made_after_one_that_was_interrupted(connect, raw, alarm):
    """Nothing stays locked, wherever the exception came."""
    client = connect(raw(hold(), reply(200, {}, {"sub": "env_1", "pub": True})))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    with pytest.raises(KeyboardInterrupt):
        client.create_public_token(read={"runs": "run_1"})
    assert client.create_public_token(read={"runs": "run_1"})


# A socket that was just opened, and is nobody's yet, is closed by the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupts_at_any_moment_leave_nothing_locked(connect, server, alarm, monkeypatch):
    """A token is made whenever it is asked for again."""
    # So that the server is asked each time.
    monkeypatch.setattr(CallMemory, "claims", lambda memory, key: None)
    client = connect(server)
    client.create_public_token(read={"runs": "run_1"})
    for n in range(100):
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + 0.00003 * n)
        try:
            while True:
                client.create_public_token(read={"runs": "run_1"})
        except KeyboardInterrupt:
            pass
        assert client.create_public_token(read={"runs": "run_1"}, call_timeout=10)


def test_a_token_function_that_fails_is_asked_again_for_a_public_token(connect, server):
    """Within the deadline, as for any call."""
    answers: list[Any] = [OSError("no vault"), KEY, KEY]

    def function() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    client = connect(server, access_token=function)
    assert client.create_public_token(read={"runs": "run_1"})


def test_a_closed_client_makes_no_token(connect, server):
    """Not even one that it could sign without asking."""
    client = connect(server)
    client.create_public_token(read={"runs": "run_1"})
    client.close()
    with pytest.raises(ClientClosed):
        client.create_public_token(read={"runs": "run_1"})
