"""Tokens that expire: renewed once for all, and the feed goes on where it was."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.raw import reply
from tests.support.settings import TOKEN
from tests.support.shape import answer, done
from tests.support.shown import everything_shown
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    ApiConnectionError,
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    RetryPolicy,
    ServerError,
    State,
)
from trigger_realtime_sync.testing import RealtimeServer

VARIABLES = ("TRIGGER_SECRET_KEY", "TRIGGER_ACCESS_TOKEN")


class Provider:
    """Gives out tokens, and counts how often it is asked."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.calls = 0
        self.lock = threading.Lock()

    def __call__(self) -> str:
        with self.lock:
            self.calls += 1
            return self.tokens[0]


@pytest.mark.parametrize("status", [401, 403])
def test_goes_on_at_the_same_offset(server, connect, status):
    """The refused poll is sent again with the new token; no state is delivered twice."""
    run_id = server.create_run()
    recorder = Recorder()
    server.fail_next(status=status, live=True)

    def provide() -> str:
        return "tr_new" if any(request.live for request in server.requests) else "tr_old"

    client = connect(server, access_token=provide)
    subscription = client.subscribe_to_run(run_id, **recorder.options)
    server.wait_until_held(1)
    refused, again = [request for request in server.requests if request.live]
    assert refused.query == again.query
    assert refused.headers["authorization"] == "Bearer tr_old"
    assert again.headers["authorization"] == "Bearer tr_new"
    server.complete_run(run_id)
    subscription.wait_for_completion(5)
    assert recorder.statuses == ["QUEUED", "COMPLETED"]
    assert recorder.errors == []


def test_an_expired_token_is_renewed_again_and_again(connect):
    """Each time it expires, for as long as the subscription lasts."""
    with RealtimeServer(tokens=["tr_0"]) as server:
        provider = Provider("tr_0")
        run_id = server.create_run()
        recorder = Recorder()
        client = connect(server, access_token=provider)
        subscription = client.subscribe_to_run(run_id, **recorder.options)
        for step in range(1, 5):
            server.wait_until_held(1)
            server.accept(f"tr_{step}")
            server.revoke(f"tr_{step - 1}")
            provider.tokens = [f"tr_{step}"]
            server.update_run(run_id, metadata={"step": step})
            eventually(lambda s=step: recorder.updates[-1].metadata == {"step": s})  # type: ignore[misc]
        server.complete_run(run_id)
        assert subscription.wait_for_completion(5).is_success


@pytest.mark.parametrize("kind", [AuthenticationError, PermissionDeniedError])
def test_the_same_token_again_is_the_end(server, connect, kind):
    """A callable that has nothing better is asked once more, not for ever."""
    provider = Provider("tr_bad")
    server.fail_next(status=401 if kind is AuthenticationError else 403, times=50)
    with pytest.raises(kind):
        connect(server, access_token=provider).wait_for_completion(server.create_run(), timeout=5)
    assert len(server.requests) == 1
    assert provider.calls == 2


def test_a_new_token_that_is_refused_too_is_the_end(server, connect):
    """However many different tokens the callable makes up."""
    numbers = itertools.count()
    server.fail_next(status=401, times=50)
    client = connect(server, access_token=lambda: f"tr_{next(numbers)}")
    with pytest.raises(AuthenticationError):
        client.wait_for_completion(server.create_run(), timeout=5)
    assert len(server.requests) == 2


def test_an_outage_may_outlast_the_new_token(server, connect):
    """Refused, renewed, no answer for a while, refused: a new row of refusals."""
    numbers = itertools.count()
    run_id = server.create_run()
    server.complete_run(run_id)
    for status in (401, 503, 401, 503, 403):
        server.fail_next(status=status)
    client = connect(server, access_token=lambda: f"tr_{next(numbers)}")
    assert client.wait_for_completion(run_id, timeout=5).is_success


def test_one_call_for_fifty_threads(connect):
    """When all are refused at once, one asks, and the others take what it got."""
    count = 50
    with RealtimeServer(tokens=["tr_old"]) as server:
        expired = threading.Event()
        lock = threading.Lock()
        threads: set[int] = set()
        asked_when_refused = 0

        def provide() -> str:
            """Give each thread the old token once more; its second call follows a refusal."""
            nonlocal asked_when_refused
            if not expired.is_set():
                return "tr_old"
            with lock:
                if threading.get_ident() not in threads:
                    threads.add(threading.get_ident())
                    return "tr_old"
                asked_when_refused += 1
            return "tr_new"

        client = connect(server, access_token=provide)
        runs = [server.create_run() for _ in range(count)]
        subscriptions = [client.subscribe_to_run(run_id) for run_id in runs]
        server.wait_until_held(count, timeout=20)
        before = len(server.requests)
        server.revoke("tr_old")
        server.accept("tr_new")
        expired.set()
        for run_id in runs:
            server.update_run(run_id, status="EXECUTING")
        server.wait_for_requests(before + 2 * count, timeout=20)
        assert asked_when_refused == 1
        for run_id in runs:
            server.complete_run(run_id)
        for subscription in subscriptions:
            assert subscription.wait_for_completion(20).is_success


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(1), RuntimeError("no")])
def test_a_callable_that_raises_ends_it(server, connect, error):
    """With a configuration error, whose cause is what it raised."""

    def provide() -> str:
        raise error

    subscription = connect(server, access_token=provide).subscribe_to_run("run_1")
    with pytest.raises(ConfigurationError, match="access_token") as caught:
        subscription.wait_for_completion(5)
    assert caught.value.__cause__ is error


def test_a_callable_that_can_not_reach_its_source_is_asked_again(server, connect):
    """An OSError is a matter of the network: it passes."""
    answers: list[Any] = [ConnectionError("down"), TimeoutError("slow"), "tr_good"]

    def provide() -> str:
        answer = answers[0] if len(answers) == 1 else answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    run_id = server.create_run()
    server.complete_run(run_id)
    client = connect(server, access_token=provide)
    assert client.wait_for_completion(run_id, timeout=5).is_success


class ConnectError(Exception):
    """As httpx, botocore and google-auth raise it: no OSError."""


class Answers:
    """A token function that gives these answers in turn: errors are raised. Afterwards it works."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        answer = self.answers.pop(0) if self.answers else TOKEN
        if isinstance(answer, BaseException):
            raise answer
        return answer  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "failure",
    [
        ConnectError("no route"),
        KeyError("x"),
        SystemExit(1),
        ServerError("no", status=500),
        None,
        "",
    ],
    ids=["another", "KeyError", "SystemExit", "ours", "nothing", "empty"],
)
def test_a_callable_that_has_worked_may_fail_for_a_while(failure, brisk, connect, caplog):
    """It is asked again, later and later, in `.state` and the log; nobody's subscription ends."""
    caplog.set_level("INFO", "trigger_realtime_sync")
    provide = Answers(TOKEN, TOKEN, TOKEN, *[failure] * 4)
    recorder = Recorder()
    run_id = brisk.create_run()
    client = connect(brisk, access_token=provide)
    subscription = client.subscribe_to_run(run_id, **recorder.options)
    eventually(lambda: subscription.state is State.RETRYING)
    eventually(lambda: provide.calls > 7 and subscription.state is State.LIVE)
    brisk.complete_run(run_id)
    assert subscription.wait_for_completion(5).is_success
    assert recorder.errors == []
    assert recorder.statuses == ["QUEUED", "COMPLETED"]
    assert len([one for one in caplog.messages if "access_token" in one]) == 4


@pytest.mark.parametrize("failure", [ConnectError("no route"), OSError("no route"), None])
def test_a_renewal_may_fail_for_a_while(failure, server, connect):
    """The refused token is renewed once the function works again."""
    run_id = server.create_run()
    server.complete_run(run_id)
    server.fail_next(status=401)
    client = connect(server, access_token=Answers("tr_old", failure, failure, "tr_new"))
    assert client.wait_for_completion(run_id, timeout=5).is_success


def test_one_that_is_refused_after_a_renewal_failed_is_renewed(server, connect):
    """The failure was no renewal: the old token may come once more."""
    run_id = server.create_run()
    server.complete_run(run_id)
    server.fail_next(status=401, times=2)
    provide = Answers("tr_old", ConnectError("no route"), "tr_old", "tr_new")
    assert connect(server, access_token=provide).wait_for_completion(run_id, timeout=5).is_success
    told = [request.headers["authorization"] for request in server.requests]
    assert told[:3] == ["Bearer tr_old", "Bearer tr_old", "Bearer tr_new"]


def test_that_it_has_worked_is_known_to_later_subscriptions(server, connect):
    """Of the same client, though the ones before have ended."""
    run_id = server.create_run()
    server.complete_run(run_id)
    provide = Answers()
    client = connect(server, access_token=provide)
    client.wait_for_completion(run_id, timeout=5)
    client.clear_cache()
    eventually(lambda: gc.collect() and not client._engine._tokens)
    provide.answers = [ConnectError("no route")] * 2
    assert client.wait_for_completion(run_id, timeout=5).is_success


def test_a_run_that_is_followed_singly_outlasts_a_failed_renewal(server, connect):
    """It is not given up for a token that could not be had for a moment."""
    runs = [server.create_run() for _ in range(4)]
    for run_id in runs:
        server.complete_run(run_id)
    batch_id = server.batch(runs[0], reused=runs[1:])
    calls: Counter[int] = Counter()
    numbers = itertools.count()

    def provide() -> str:
        thread = threading.current_thread()
        calls[id(thread)] += 1
        if "stray" in thread.name and calls[id(thread)] == 2:
            raise ConnectError("no route")
        return f"tr_{next(numbers)}"

    for run_id in runs[1:]:
        # One for each: a run that is refused twice running is refused for good.
        server.fail_next(
            status=401, match=lambda one, run_id=run_id: one.kind == "run" and run_id in one.path
        )
    subscription = connect(server, access_token=provide).subscribe_to_batch(batch_id)
    assert len(subscription.wait_for_completion(10)) == 4


@pytest.mark.parametrize("calls", [0, 3])
def test_a_callable_may_say_that_it_will_never_work(calls, brisk, connect):
    """By a ConfigurationError of its own, whenever it raises that."""
    error = ConfigurationError("no such account")
    provide = Answers(*[TOKEN] * calls, error)
    with pytest.raises(ConfigurationError, match="no such account") as caught:
        connect(brisk, access_token=provide).wait_for_completion(brisk.create_run(), timeout=5)
    assert caught.value is error
    assert provide.calls == calls + 1


def test_failures_of_a_callable_are_counted(brisk, connect):
    """`max_retries` is the end of them too."""
    retry = RetryPolicy(initial_delay=0.01, max_delay=0.02, max_retries=2)
    failure = ConnectError("no route")
    client = connect(brisk, access_token=Answers(TOKEN, *[failure] * 9), retry=retry)
    with pytest.raises(ApiConnectionError, match="access_token") as caught:
        client.wait_for_completion(brisk.create_run(), timeout=5)
    assert caught.value.__cause__ is failure


@pytest.mark.parametrize("bad", [None, 7, "", "tr bad", b"tr_bytes"])
def test_a_callable_that_returns_no_token_ends_it(server, connect, bad):
    """With an error that names it, and not the value."""
    with pytest.raises(ConfigurationError, match="access_token returned"):
        connect(server, access_token=lambda: bad).wait_for_completion("run_1", timeout=5)


def test_the_subscription_s_own_token_goes_first(server, connect):
    """`access_token=` of the subscription stands in for the client's, for this one alone."""
    client = connect(server)
    client.subscribe_to_run(server.create_run(), access_token="tr_own")
    client.subscribe_to_run(server.create_run())
    server.wait_until_held(2)
    told = {request.headers["authorization"] for request in server.requests}
    assert told == {"Bearer tr_own", f"Bearer {TOKEN}"}


def test_the_environment(server, monkeypatch, connect):
    """`TRIGGER_SECRET_KEY`, then `TRIGGER_ACCESS_TOKEN`; without any, subscribing is refused."""
    run_id = server.create_run()
    server.complete_run(run_id)
    client = connect(server, access_token=None)
    with pytest.raises(ConfigurationError, match="access_token"):
        client.subscribe_to_run(run_id)
    monkeypatch.setenv("TRIGGER_ACCESS_TOKEN", "tr_second")
    client.wait_for_completion(run_id, timeout=5)
    monkeypatch.setenv("TRIGGER_SECRET_KEY", "tr_first")
    client.wait_for_completion(run_id, timeout=5)
    told = [request.headers["authorization"] for request in server.requests if not request.live]
    assert told[0] == "Bearer tr_second"
    assert told[-1] == "Bearer tr_first"


@pytest.mark.parametrize("how", ["client", "subscription", "callable", "renewed", *VARIABLES])
def test_a_personal_token_is_refused_unseen(how, raw, connect, monkeypatch):
    """Wherever it comes from, before it is sent: the server would only say that it is wrong."""
    personal = "tr_pat_0123456789abcdef"
    server = raw(reply(401))
    options: dict[str, Any] = {"access_token": None if how in VARIABLES else TOKEN}
    if how in VARIABLES:
        monkeypatch.setenv(how, f" {personal}")
    elif how == "client":
        options["access_token"] = personal
    elif how in ("callable", "renewed"):
        tokens = iter([TOKEN, personal] if how == "renewed" else [personal])
        options["access_token"] = lambda: next(tokens)
    own = {"access_token": personal} if how == "subscription" else {}
    with pytest.raises(ConfigurationError, match="personal access token") as caught:  # noqa: PT012
        subscription = connect(server, **options).subscribe_to_run("run_1", **own)
        subscription.wait_for_completion(5)
    assert personal not in everything_shown(caught.value)
    assert (how if how in VARIABLES else "access_token") in str(caught.value)
    assert [exchange.token for exchange in server.exchanges] == [TOKEN] * (how == "renewed")


def test_a_function_that_had_no_better_token_is_asked_again(raw, connect):
    """By the next request that is refused: it may have one by then."""
    server = raw(reply(401), reply(401), answer(done()))
    tokens = iter(["tr_old", "tr_old", "tr_old", "tr_new"])
    client = connect(server, access_token=lambda: next(tokens))
    with pytest.raises(AuthenticationError):
        client.wait_for_completion("run_1", timeout=10)
    assert client.wait_for_completion("run_1", timeout=10).is_success
    assert [exchange.token for exchange in server.exchanges] == ["tr_old", "tr_old", "tr_new"]


@pytest.mark.parametrize("options", [{}, {"frozen": True}])
def test_a_token_function_need_not_be_hashable(options, server, connect):
    """A dataclass is not, and is forgotten with its last subscription, like any function."""

    @dataclass(**options)
    class Provider:
        token: str = "tr_x"
        log: list[str] = field(default_factory=list)

        def __call__(self) -> str:
            return self.token

    run_id = server.create_run()
    server.complete_run(run_id, output=1)
    client = connect(server, access_token=Provider())
    assert client.subscribe_to_run(run_id).result(10) == 1
    provider = Provider()
    forgotten = weakref.ref(provider)
    client.subscribe_to_run(run_id, access_token=provider).result(10)
    del provider
    # What is cached may have large payloads, which are fetched with the token.
    client.clear_cache()
    eventually(lambda: gc.collect() and forgotten() is None)
