"""Calls end by their deadline, and are sent again only where that does no harm."""

from __future__ import annotations

import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.calls.conftest import KEY
from tests.support.raw import Exchange, by_path, hangup, hold, in_turn, reply
from tests.support.waiting import eventually
from trigger_realtime_sync import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    BatchItem,
    CallTimeout,
    ClientClosed,
    ConfigurationError,
    NotFoundError,
    ProtocolError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    UnprocessableEntityError,
    metadata,
)

RUN = reply(200, {}, {"id": "run_1", "isCached": False})
OK = reply(200, {}, {"ok": True, "id": "run_1", "metadata": {}})
LOST = [hangup(), hangup(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{"), reply(500), reply(502)]
LOST_NAMES = ["no answer", "half an answer", "500", "502"]


def trigger(client: Any, **options: Any) -> Any:
    return client.trigger("t", {"a": 1}, idempotency_key="k", **options)


def request_ids(server: Any) -> list[str]:
    return [one.headers["x-trigger-request-idempotency-key"] for one in server.exchanges]


@pytest.mark.parametrize("first", LOST, ids=LOST_NAMES)
def test_a_trigger_with_a_key_is_asked_again(connect, raw, first):
    """With the same bytes, under the same id of the request."""
    server = raw(first, RUN)
    assert trigger(connect(server)).id == "run_1"
    one, other = server.exchanges
    assert one.body == other.body
    assert len(set(request_ids(server))) == 1


def test_each_call_has_an_id_of_its_own(connect, raw):
    """Two triggers are two."""
    server = raw(RUN)
    client = connect(server)
    trigger(client)
    trigger(client)
    assert len(set(request_ids(server))) == 2


@pytest.mark.parametrize("first", LOST, ids=LOST_NAMES)
def test_a_trigger_without_a_key_is_asked_again_later(connect, raw, first, soon):
    """Once the server has surely done what it may be doing, and remembers the id."""
    server = raw(first, RUN)
    began = time.monotonic()
    assert connect(server).trigger("t").id == "run_1"
    assert time.monotonic() - began >= soon
    assert len(set(request_ids(server))) == 1


@pytest.mark.parametrize("first", LOST, ids=LOST_NAMES)
def test_a_trigger_without_a_key_is_not_asked_again_where_the_deadline_comes_first(
    connect, raw, first
):
    """It fails at once, and says what may have happened."""
    server = raw(first, RUN)
    began = time.monotonic()
    with pytest.raises((ApiConnectionError, ServerError)) as caught:
        connect(server).trigger("t", call_timeout=5)
    assert time.monotonic() - began < 3
    assert caught.value.may_have_happened
    assert not isinstance(caught.value, CallTimeout)
    assert len(server.exchanges) == 1


def test_a_trigger_that_was_turned_away_does_not_wait_long(connect, raw):
    """A 429 says that nothing was begun."""
    server = raw(reply(429, {"retry-after": "0"}), RUN)
    began = time.monotonic()
    assert connect(server).trigger("t").id == "run_1"
    assert time.monotonic() - began < 5


NEVER_TWICE = [
    lambda client: client.send("run_1", "s", 1),
    lambda client: client.runs.replay("run_1"),
    lambda client: client.runs.change_metadata("run_1", metadata.increment("n")),
    lambda client: client.runs.change_metadata(
        "run_1", metadata.set_("a", 1), metadata.append("l", 1)
    ),
]
NEVER_TWICE_NAMES = ["send", "replay", "increment", "append"]


@pytest.mark.parametrize("call", NEVER_TWICE, ids=NEVER_TWICE_NAMES)
@pytest.mark.parametrize("first", [*LOST, reply(503)], ids=[*LOST_NAMES, "503"])
def test_what_may_not_be_done_twice_is_not_sent_twice(connect, raw, call, first):
    """The error says that it may have happened."""
    server = raw(first, OK)
    with pytest.raises((ApiConnectionError, ServerError)) as caught:
        call(connect(server))
    assert caught.value.may_have_happened
    assert len(server.exchanges) == 1


@pytest.mark.parametrize("call", NEVER_TWICE, ids=NEVER_TWICE_NAMES)
@pytest.mark.parametrize(
    "first",
    [reply(429, {"retry-after": "0"}), reply(503, {"retry-after": "0"}), reply(429)],
    ids=["429 with a time", "503 with a time", "429"],
)
def test_what_was_turned_away_is_sent_again(connect, raw, call, first):
    """Nothing was begun."""
    server = raw(first, OK)
    call(connect(server))
    assert len(server.exchanges) == 2


def test_a_refused_connection_is_tried_again(connect, raw):
    """Nothing was sent, whatever it was."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = connect(f"http://127.0.0.1:{port}")
    with pytest.raises(ApiConnectionError) as caught:
        client.send("run_1", "s", 1)
    assert not caught.value.may_have_happened


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.send("run_1", "s", 1, retry=True),
        lambda client: client.runs.cancel("run_1"),
        lambda client: client.runs.add_tags("run_1", "a"),
        lambda client: client.runs.set_metadata("run_1", {"a": 1}),
        lambda client: client.runs.change_metadata(
            "run_1", metadata.set_("a", 1), metadata.delete("b")
        ),
        lambda client: client.runs.reschedule("run_1", "1h"),
        lambda client: client.runs.retrieve("run_1"),
        lambda client: client.runs.reset_idempotency_key("t", "k"),
    ],
    ids=["send", "cancel", "tags", "metadata", "set", "reschedule", "retrieve", "reset"],
)
def test_what_may_be_done_twice_is_sent_again(connect, raw, call):
    """After whatever failure."""
    server = raw(hangup(), reply(500), reply(503), reply(409), OK)
    call(connect(server))
    assert len(server.exchanges) == 5
    assert len(set(request_ids(server))) == 1


def test_attempts_are_counted(connect, raw):
    """As many as the policy allows; the last error is raised."""
    server = raw(reply(500, {}, {"error": "broken"}))
    policy = RetryPolicy(initial_delay=0.01, max_delay=0.02, max_retries=2)
    with pytest.raises(ServerError, match="broken"):
        trigger(connect(server, call_retry=policy))
    assert len(server.exchanges) == 3


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_a_refusal_is_not_asked_again(connect, raw, status):
    """It would be refused again."""
    server = raw(reply(status, {}, {"error": "no"}))
    with pytest.raises(ApiError, match="no"):
        trigger(connect(server))
    assert len(server.exchanges) == 1


def test_the_server_may_say_whether_to_try_again(connect, raw):
    """`x-should-retry` counts more than the status."""
    no = raw(reply(500, {"x-should-retry": "false"}), RUN)
    with pytest.raises(ServerError):
        trigger(connect(no))
    assert len(no.exchanges) == 1
    yes = raw(reply(422, {"x-should-retry": "true"}), RUN)
    assert trigger(connect(yes)).id == "run_1"


# Deadlines.


@pytest.mark.parametrize(
    "step",
    [
        hold(),
        in_turn(lambda exchange: exchange.send(b"HTTP/1.1 200 OK\r\n") or exchange.hold()),
        in_turn(
            lambda exchange: (
                exchange.send(b'HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\n{"id":')
                or exchange.hold()
            )
        ),
    ],
    ids=["nothing", "half a head", "half a body"],
)
def test_a_silent_server_is_left_at_the_deadline(connect, raw, step):
    """Whatever it has sent by then."""
    client = connect(raw(step))
    began = time.monotonic()
    with pytest.raises(CallTimeout) as caught:
        trigger(client, call_timeout=0.4)
    assert 0.3 < time.monotonic() - began < 3
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.may_have_happened


@pytest.mark.parametrize("status", [200, 500])
def test_a_dribbling_server_is_left_at_the_deadline(connect, raw, status):
    """A body has no longer than the rest of the call, an error's neither."""

    def step(exchange: Exchange) -> None:
        exchange.send(f"HTTP/1.1 {status} OK\r\ncontent-length: 100000\r\n\r\n".encode())
        while True:
            exchange.send(b" ")
            time.sleep(0.05)

    client = connect(raw(step))
    began = time.monotonic()
    with pytest.raises((CallTimeout, ServerError)):
        trigger(client, call_timeout=0.4)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nx: ", b"HTTP/1.1 102 Wait\r\n\r\n"])
def test_a_dribbling_head_is_left_at_the_deadline(connect, raw, head):
    """Whether one line or one interim head after the other."""

    def step(exchange: Exchange) -> None:
        exchange.send(head)
        while True:
            exchange.send(b"x" if b"x: " in head else head)
            time.sleep(0.05)

    client = connect(raw(step))
    began = time.monotonic()
    with pytest.raises(ApiConnectionError):
        trigger(client, call_timeout=0.4)
    assert time.monotonic() - began < 3


def test_a_server_that_asks_for_too_much_patience_is_not_waited_for(connect, raw):
    """The error says when to come again."""
    client = connect(raw(reply(429, {"retry-after": "90"}, {"error": "slow down"})))
    began = time.monotonic()
    with pytest.raises(RateLimitError) as caught:
        trigger(client)
    assert time.monotonic() - began < 3
    assert caught.value.retry_after == 90


def test_the_reset_of_a_rate_limit_is_waited_for(connect, raw):
    """It is a moment, in milliseconds or in seconds."""
    resets = [str(int((time.time() + 0.3) * 1000)), str(int(time.time()))]
    server = raw(*(reply(429, {"x-ratelimit-reset": reset}) for reset in resets), RUN)
    began = time.monotonic()
    assert trigger(connect(server)).id == "run_1"
    assert time.monotonic() - began > 0.2


def test_an_error_of_a_feed_says_when_to_come_again_too(connect, raw):
    """As every ApiError."""
    server = raw(reply(403, {"retry-after": "7"}))
    subscription = connect(server).subscribe_to_run("run_1")
    with pytest.raises(ApiError) as caught:
        subscription.wait_for_completion(5)
    assert caught.value.retry_after == 7


@pytest.mark.parametrize(
    "step", [hold(), reply(429, {"retry-after": "30"})], ids=["answer", "turn"]
)
def test_closing_ends_a_call(connect, raw, step):
    """Whether it waits for an answer or for its next attempt."""
    server = raw(step)
    client = connect(server)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(trigger, client)
        eventually(lambda: server.exchanges)
        time.sleep(0.05)
        client.close()
        assert isinstance(call.exception(5), ClientClosed)
    with pytest.raises(ClientClosed):
        trigger(client)


def test_a_call_that_closing_ended_may_have_happened(connect, raw):
    """It was sent."""
    server = raw(hold())
    client = connect(server)
    threading.Timer(0.2, client.close).start()
    with pytest.raises(ClientClosed) as caught:
        client.send("run_1", "s", 1)
    assert caught.value.may_have_happened


def close_inside(client: Any) -> None:
    """Close the client in a signal handler, on the thread of a call."""
    before = signal.signal(signal.SIGALRM, lambda *_: client.close())
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(ClientClosed):
            client.send("run_1", "s", 1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_last_call_of_a_closed_client_closes_its_connections(connect, raw):
    """Nobody else would: a signal handler must not wait for their locks."""
    both = threading.Barrier(2)

    def step(exchange: Exchange) -> None:
        both.wait(10)
        OK(exchange)

    server = raw(step, step, hold())
    client = connect(server)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda n: client.send("run_1", "s", n), range(2)))
    assert server.open_connections == 2
    close_inside(client)
    eventually(lambda: server.open_connections == 0, seconds=5)


def test_a_call_that_outlives_its_client_leaves_no_connection(connect, raw):
    """It was in its token function when the client was closed, or its answer came right then."""
    asked, go = threading.Event(), threading.Event()

    def function() -> str:
        if threading.current_thread().name.startswith("late"):
            asked.set()
            go.wait(10)
        return KEY

    server = raw(OK)
    client = connect(server, access_token=function)
    client.send("run_1", "s", 1)
    with ThreadPoolExecutor(1, thread_name_prefix="late") as pool:
        call = pool.submit(client.send, "run_1", "s", 2)
        assert asked.wait(10)
        client.close()
        go.set()
        assert isinstance(call.exception(10), ClientClosed)
    eventually(lambda: server.open_connections == 0, seconds=5)


# Connections.


def test_an_old_connection_is_not_used_again(connect, raw, monkeypatch):
    """The server may be closing it, which would look like a lost answer."""
    monkeypatch.setattr("trigger_realtime_sync._http.session.MOST_IDLE_SECONDS", 0.2)
    server = raw(OK)
    client = connect(server)
    client.send("run_1", "s", 1)
    client.send("run_1", "s", 2)
    assert server.open_connections == 1
    first = server.exchanges[0].sock
    assert server.exchanges[1].sock is first
    time.sleep(0.3)
    client.send("run_1", "s", 3)
    assert server.exchanges[2].sock is not first


# Redirects.


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_on_the_same_host_is_followed(connect, raw, status):
    """With the same method, body and token."""
    server = raw(reply(status, {"location": "/moved?x=1"}), RUN)
    assert trigger(connect(server)).id == "run_1"
    one, other = server.exchanges
    assert (other.method, other.target, other.body) == ("POST", "/moved?x=1", one.body)
    assert other.token == KEY


@pytest.mark.parametrize(
    ("status", "location"),
    [
        (301, "/moved"),
        (302, "/moved"),
        (303, "/moved"),
        (307, "https://elsewhere.example/moved?secret=1"),
        (308, "//elsewhere.example/moved"),
        (307, "http://127.0.0.1:1/moved"),
        (307, "ftp://127.0.0.1/moved"),
        (307, "http://[::bad"),
    ],
)
def test_any_other_redirect_is_an_error_that_names_its_target(connect, raw, status, location):
    """A POST must not become a GET, nor go elsewhere."""
    server = raw(reply(status, {"location": location}), RUN)
    with pytest.raises((ApiError, ProtocolError)) as caught:
        trigger(connect(server))
    assert len(server.exchanges) == 1
    assert "secret" not in str(caught.value)
    if "bad" not in location:
        assert "moved" in str(caught.value)
        assert "base_url" in str(caught.value)
        assert caught.value.status == status


def test_a_circle_of_redirects_ends(connect, raw):
    """After a few."""
    server = raw(reply(307, {"location": "/again"}))
    with pytest.raises(ApiError, match="again"):
        trigger(connect(server))
    assert len(server.exchanges) == 6


# Tokens.


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_replaced_once(connect, raw, status):
    """If it came from a callable."""
    tokens = iter(["tr_1", "tr_2", "tr_3"])
    server = raw(reply(status), RUN)
    assert trigger(connect(server, access_token=lambda: next(tokens))).id == "run_1"
    assert [one.token for one in server.exchanges] == ["tr_1", "tr_2"]
    refusing = raw(reply(status))
    count = iter(range(9))
    with pytest.raises(ApiError):
        trigger(connect(refusing, access_token=lambda: f"tr_{next(count)}"))
    assert len(refusing.exchanges) == 2


def test_a_fixed_token_is_not_sent_again(connect, raw):
    """It would be refused again."""
    server = raw(reply(401))
    with pytest.raises(AuthenticationError):
        trigger(connect(server))
    assert len(server.exchanges) == 1


def test_a_callable_that_fails_is_asked_again(connect, raw):
    """Within the deadline: nothing was sent."""
    server = raw(RUN)
    answers: list[Any] = [OSError("no vault"), OSError("no vault"), "tr_1"]

    def token() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    assert connect(server, access_token=token).trigger("t").id == "run_1"
    assert answers == []


def test_a_call_without_a_token_is_an_error(connect, raw):
    """Before anything is sent."""
    server = raw(RUN)
    with pytest.raises(ConfigurationError, match="access_token"):
        connect(server, access_token=None).trigger("t")
    assert server.exchanges == []


# Answers.


@pytest.mark.parametrize(
    "body", [b"<html>", b"[]", b"{}", b'{"id": 5}', b'{"id": ""}', b"\xff"], ids=repr
)
def test_an_unreadable_success_is_asked_again(connect, raw, body):
    """A proxy may have answered; the same one again and again is an error."""
    server = raw(reply(200, {}, body), RUN)
    assert trigger(connect(server)).id == "run_1"
    assert len(server.exchanges) == 2
    with pytest.raises(ProtocolError):
        trigger(connect(raw(reply(200, {}, body))))


def test_no_token_is_shown(connect, raw, caplog):
    """Neither by errors, nor by logs, though the server echoes it."""
    echo = reply(500, {"x-echo": KEY, "x-trigger-jwt": "eyJ.secret.x"}, {"error": f"bad {KEY}"})
    server = raw(echo, reply(422, {"x-trigger-jwt": "eyJ.secret.x"}, {"error": f"bad {KEY}"}))
    with caplog.at_level("DEBUG"), pytest.raises(UnprocessableEntityError) as caught:
        trigger(connect(server))
    shown = f"{caught.value} {caught.value!r} {vars(caught.value)} {caplog.text}"
    assert KEY not in shown
    assert "eyJ.secret" not in shown


def test_a_new_run_may_be_unknown_for_a_while(connect, raw):
    """A handle's calls wait for it; the client's own do not."""
    missing = reply(404, {"x-should-retry": "false"}, {"error": "Run not found"})
    server = raw(by_path({"trigger": RUN}, in_turn(missing, missing, OK)))
    client = connect(server)
    client.trigger("t").cancel()
    assert [one.path for one in server.exchanges][1:] == ["/api/v2/runs/run_1/cancel"] * 3
    gone = raw(missing)
    with pytest.raises(NotFoundError):
        connect(gone).runs.cancel("run_1")
    assert len(gone.exchanges) == 1
    with pytest.raises(NotFoundError):
        connect(gone).handle("run_1").cancel(call_timeout=0.2)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_deadline_that_can_not_work_is_refused(connect, raw, seconds):
    """Of the client, and of a call."""
    server = raw(RUN)
    with pytest.raises(ValueError, match="call_timeout"):
        trigger(connect(server), call_timeout=seconds)
    with pytest.raises(ConfigurationError, match="call_timeout"):
        connect(server, call_timeout=seconds)
    assert server.exchanges == []


@pytest.mark.parametrize("flag", ["no", 0, 1])
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda client, flag: client.trigger("t", is_test=flag), "is_test"),
        (lambda client, flag: client.batch_trigger([BatchItem("t", is_test=flag)]), "is_test"),
        (lambda client, flag: client.runs.list(is_test=flag), "is_test"),
        (lambda client, flag: client.send("run_1", "s", 1, retry=flag), "retry"),
        (
            lambda client, flag: client.create_public_token(trigger="t", one_time_use=flag),
            "one_time_use",
        ),
    ],
)
def test_a_flag_is_true_or_false(connect, raw, call, name, flag):
    """Of every method: a text such as "no" would count as True."""
    server = raw(RUN)
    with pytest.raises(ValueError, match=f"{name} must be True or False"):
        call(connect(server), flag)
    assert server.exchanges == []
