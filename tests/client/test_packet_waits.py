"""How long a value that is fetched when it is read may take, and what ends it sooner."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import scripts
from tests.support.raw import Exchange, Step, by_path, hold, in_turn, reply
from tests.support.shape import locate, stored_output
from tests.support.waiting import eventually
from trigger_realtime_sync import ClientClosed, PayloadError
from trigger_realtime_sync._feeds import packet_fetcher
from trigger_realtime_sync._http import answer as http

SECONDS = 0.4


def trickle(status: int) -> Step:
    """Answer with a body that comes a byte at a time, for much too long."""

    def step(exchange: Exchange) -> None:
        exchange.send(f"HTTP/1.1 {status} X\r\ncontent-length: 9000\r\n\r\n".encode())
        for _ in range(9000):
            exchange.send(b" ")
            time.sleep(0.02)

    return step


BUSY = reply(503, {"retry-after": "0.15"})
TOO_LONG = {
    "no answer": hold(),
    "no end": trickle(200),
    "no end of an error": trickle(500),
    "again and again": BUSY,
    "a wait": reply(429, {"retry-after": "3600"}),
}


@pytest.mark.parametrize("step", TOO_LONG.values(), ids=TOO_LONG)
@pytest.mark.parametrize("where", ["api", "storage"])
def test_one_read_is_bounded_in_all(where, step, raw, connect, monkeypatch):
    """Whatever takes so long, the API or the object store; the next read tries again."""
    monkeypatch.setattr(packet_fetcher, "LONGEST_READ", SECONDS)
    monkeypatch.setattr(http, "ERROR_PAGE_SECONDS", SECONDS / 4)
    works = threading.Event()
    slow, fast = step, locate if where == "api" else reply(200, {}, [1])
    stage = lambda exchange: (fast if works.is_set() else slow)(exchange)  # noqa: E731
    script = stored_output(reply(200, {}, [1]), stage) if where == "api" else stored_output(stage)
    run = connect(raw(script)).wait_for_completion("run_1", timeout=5)
    started = time.monotonic()
    with pytest.raises(PayloadError, match="could not be fetched"):
        _ = run.output
    assert time.monotonic() - started < 10 * SECONDS
    works.set()
    assert run.output == [1]


def test_a_wait_that_would_take_too_long_is_not_begun(raw, connect):
    """Nothing would come of it: the reader is told at once, and why."""
    server = raw(stored_output(hold(), reply(429, {"retry-after": "3600"}, {"error": "slow down"})))
    run = connect(server).wait_for_completion("run_1", timeout=5)
    before = len(server.exchanges)
    started = time.monotonic()
    with pytest.raises(PayloadError, match="slow down"):
        _ = run.output
    assert time.monotonic() - started < 5
    assert len(server.exchanges) == before + 1


def read_aside(run: Any) -> tuple[threading.Thread, list[Any]]:
    """Read the output on another thread; return what came of it."""
    came: list[Any] = []

    def read() -> None:
        try:
            came.append(run.output)
        except PayloadError as error:
            came.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, came


@pytest.mark.parametrize("blocked", ["api", "storage", "pause"])
def test_close_ends_it(blocked, raw, connect, caplog):
    """Whatever it is blocked on, and the error says so."""
    scripts_of = {
        "api": stored_output(reply(), hold()),
        "storage": stored_output(hold()),
        "pause": stored_output(reply(), reply(503, {"retry-after": "30"})),
    }
    server = raw(scripts_of[blocked])
    client = connect(server)
    run = client.wait_for_completion("run_1", timeout=5)
    thread, came = read_aside(run)
    part = "/store" if blocked == "storage" else "/packets/"
    eventually(lambda: [one for one in server.exchanges if part in one.path])
    if blocked == "pause":
        eventually(lambda: "trying again" in caplog.text)
    client.close()
    thread.join(5)
    (error,) = came
    assert isinstance(error, PayloadError)
    assert isinstance(error.__cause__, ClientClosed)


def test_a_value_can_be_read_after_close(raw, connect):
    """A run outlives its client; the connection that this takes does not."""
    server = raw(stored_output(reply(200, {}, [1])))
    client = connect(server)
    run = client.wait_for_completion("run_1", timeout=5)
    client.close()
    assert run.output == [1]
    eventually(lambda: server.open_connections == 0)


def test_the_end_of_the_process_ends_it(raw):
    """A thread that reads a value does not outlive it."""
    server = raw(stored_output(hold()))
    ran = scripts.run(
        """
        import atexit, sys, threading, time

        def last():
            thread.join(5)
            print("alive" if thread.is_alive() else "ended")

        atexit.register(last)
        from trigger_realtime_sync import RealtimeClient, PayloadError

        def read():
            begun.set()
            try:
                run.output
            except PayloadError as error:
                print(type(error.__cause__).__name__)

        begun = threading.Event()
        run = RealtimeClient("tr_x", base_url=sys.argv[1]).wait_for_completion("run_1", timeout=5)
        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        begun.wait()
        time.sleep(0.3)
        """,
        server.url,
    )
    assert ran.lines() == ["ClientClosed", "ended"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("when", ["asked", "renewed"])
def test_what_interrupts_a_token_function_goes_on(interrupt, when, raw, connect):
    """Ctrl-C inside `access_token`, on a thread of the user's, is no error of the value."""
    me = threading.get_ident()
    calls = itertools.count(1)

    def provide() -> str:
        if threading.get_ident() != me:
            return "tr_reader"
        call = next(calls)
        if call == (1 if when == "asked" else 2):
            raise interrupt
        return f"tr_{call}"

    packets = reply(401) if when == "renewed" else locate
    script = by_path({"/packets/": in_turn(packets, locate)}, stored_output(reply(200, {}, [1])))
    run = connect(raw(script), access_token=provide).wait_for_completion("run_1", timeout=5)
    with pytest.raises(interrupt):
        _ = run.output
    assert run.output == [1]


def test_what_interrupts_the_download_goes_on(raw, connect, monkeypatch):
    """As anything that is no error."""
    run = connect(raw(stored_output(reply(200, {}, [1])))).wait_for_completion("run_1", timeout=5)
    with monkeypatch.context() as patch:
        patch.setattr(http.Answer, "body_chunks", _raising(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            _ = run.output
    assert run.output == [1]


def _raising(error: BaseException) -> Callable[..., Any]:
    def fail(*arguments: Any) -> Any:
        raise error

    return fail
