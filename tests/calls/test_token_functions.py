"""A token function that is slow, fails, or is interrupted holds up nobody beyond its own bounds."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.raw import Exchange, reply
from tests.support.waiting import eventually
from trigger_realtime_sync import (
    ApiConnectionError,
    CallTimeout,
    ClientClosed,
    ServerError,
)

RUN = reply(200, {}, {"id": "run_1", "isCached": False})


class Tokens:
    """A token function: all get a token that is refused by now, and one thread's next question
    takes until it is released."""

    def __init__(self) -> None:
        self.others = 0
        self.released = threading.Event()
        self.asked = threading.Event()
        self._first = True

    def __call__(self) -> str:
        if not threading.current_thread().name.startswith("slow"):
            self.others += 1
            return "tr_old"
        if self._first:
            self._first = False
            return "tr_old"
        self.asked.set()
        self.released.wait(30)
        return "tr_new"

    @contextmanager
    def renewed(self, client: Any) -> Iterator[Future[Any]]:
        """Let one thread be inside of the function, for a token in place of the refused one."""
        with ThreadPoolExecutor(1, thread_name_prefix="slow") as pool:
            call = pool.submit(client.trigger, "t", idempotency_key="k")
            assert self.asked.wait(10)
            try:
                yield call
            finally:
                self.released.set()


@pytest.fixture
def tokens():
    return Tokens()


def refusing_old(exchange: Exchange) -> None:
    (reply(401) if exchange.token == "tr_old" else RUN)(exchange)


def feeds() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if "run-feed" in one.name]


def test_a_slow_function_holds_up_no_other_call_beyond_its_time(connect, raw, tokens):
    """A thread that waits for another one's token gives up at its own deadline."""
    client = connect(raw(refusing_old), access_token=tokens)
    with tokens.renewed(client) as call:
        began = time.monotonic()
        with pytest.raises(CallTimeout):
            client.trigger("t", idempotency_key="l", call_timeout=0.5)
        assert 0.3 < time.monotonic() - began < 3
        tokens.released.set()
        assert call.result(10).id == "run_1"


def test_one_call_of_the_function_serves_all_that_were_refused(connect, raw, tokens):
    """Those that wait are sent on with its token, at once."""
    client = connect(raw(refusing_old), access_token=tokens)
    with tokens.renewed(client) as call, ThreadPoolExecutor(8) as pool:
        others = [pool.submit(client.trigger, "t", idempotency_key=str(n)) for n in range(8)]
        eventually(lambda: tokens.others >= 8)
        time.sleep(0.1)
        tokens.released.set()
        assert {one.result(10).id for one in [call, *others]} == {"run_1"}
    assert tokens.others == 8


def test_closing_ends_the_wait_for_a_token(connect, raw, tokens):
    """Of a call, and of a feed, whose thread is gone by then."""
    client = connect(raw(refusing_old), access_token=tokens)
    with tokens.renewed(client) as slow, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.trigger, "t", idempotency_key="l")
        subscription = client.subscribe_to_run("run_1")
        eventually(lambda: tokens.others >= 2)
        time.sleep(0.1)
        client.close()
        assert isinstance(waiting.exception(2), ClientClosed)
        eventually(lambda: not feeds(), 2)
        assert subscription.state.value == "CANCELLED"
        tokens.released.set()
        assert isinstance(slow.exception(5), ClientClosed)


def test_cancelling_ends_the_wait_of_a_feed_for_a_token(connect, raw, tokens):
    """Its thread does not stay for as long as the function takes."""
    client = connect(raw(refusing_old), access_token=tokens)
    with tokens.renewed(client):
        subscription = client.subscribe_to_run("run_1")
        eventually(lambda: tokens.others >= 1)
        time.sleep(0.1)
        subscription.cancel()
        eventually(lambda: not feeds(), 2)


def test_a_signal_handler_may_call_while_its_thread_gets_a_token(connect, raw):
    """It asks the function itself, since it can't wait for the thread that it interrupted."""
    server = raw(refusing_old)
    ids: list[str] = []
    asked: list[int] = []

    def function() -> str:
        asked.append(1)
        if len(asked) == 2:
            signal.raise_signal(signal.SIGUSR1)
        return "tr_old" if len(asked) == 1 or len(asked) == 3 else "tr_new"

    client = connect(server, access_token=function)

    def handler(*_: object) -> None:
        ids.append(client.trigger("t", idempotency_key="l", call_timeout=5).id)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert client.trigger("t", idempotency_key="k", call_timeout=5).id == "run_1"
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ids == ["run_1"]


def test_a_function_that_was_interrupted_is_asked_by_the_next_call(connect, raw):
    """An exception out of a signal handler leaves nobody waiting for its thread."""
    asked: list[int] = []

    def function() -> str:
        asked.append(1)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return "tr_new" if len(asked) > 3 else "tr_old"

    client = connect(raw(refusing_old), access_token=function)
    with pytest.raises(KeyboardInterrupt):
        client.trigger("t", idempotency_key="k")
    assert client.trigger("t", idempotency_key="k", call_timeout=5).id == "run_1"


def test_a_function_that_fails_at_a_renewal_is_asked_again(connect, raw):
    """Within the deadline, as one that fails before anything was sent."""
    answers: list[Any] = ["tr_old", OSError("no vault"), OSError("no vault"), "tr_new"]

    def function() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    client = connect(raw(refusing_old), access_token=function)
    assert client.trigger("t", idempotency_key="k").id == "run_1"
    assert answers == []


def test_a_function_that_fails_at_a_renewal_does_not_hide_what_may_have_happened(connect, raw):
    """The answer to the first attempt was lost; the second one was refused."""
    answers: list[Any] = ["tr_old", "tr_old"]

    def function() -> str:
        if not answers:
            raise OSError("no vault")
        return str(answers.pop(0))

    server = raw(reply(500), reply(401))
    with pytest.raises((ApiConnectionError, ServerError)) as caught:
        connect(server, access_token=function).trigger("t", idempotency_key="k")
    assert caught.value.may_have_happened


def test_a_signal_handler_may_call_at_any_moment(connect, raw):
    """Whatever of a call it interrupts: a look into the pool, the choice of a token."""
    client = connect(raw(RUN), access_token=lambda: "tr_1")
    inside = threading.local()
    made: list[str] = []

    def handler(*_: object) -> None:
        if not getattr(inside, "now", False):
            inside.now = True
            try:
                made.append(client.trigger("t", idempotency_key="l").id)
            finally:
                inside.now = False

    # Python can't import a module inside of its own import.
    client.trigger("t")
    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    try:
        while len(made) < 50:
            assert client.trigger("t", idempotency_key="k").id == "run_1"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(made) == {"run_1"}
