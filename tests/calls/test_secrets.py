"""A token that a server echoes to a call is shown to nobody, by no way of showing an error."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from tests.calls.conftest import KEY
from tests.support.raw import Step, hangup, reply
from tests.support.shown import everything_shown, locals_shown
from trigger_realtime_sync import BatchItem, RealtimeClient, RetryPolicy, TriggerRealtimeError

GIVE_UP = RetryPolicy(initial_delay=0.01, max_delay=0.02, max_retries=1)

CALLS: dict[str, Callable[[RealtimeClient], Any]] = {
    "trigger": lambda client: client.trigger("t", 1, idempotency_key="k"),
    "batch": lambda client: client.batch_trigger([BatchItem("t", 1)], idempotency_key="k"),
    "upload": lambda client: client.trigger("t", "x" * 600_000, idempotency_key="k"),
    "send": lambda client: client.send("run_1", "s", 1),
    "retrieve": lambda client: client.runs.retrieve("run_1"),
    "list": lambda client: list(client.runs.list()),
    "wait token": lambda client: client.wait_tokens.create(),
    "public token": lambda client: client.create_public_token(trigger=["t"]),
}

ECHOES: dict[str, Step] = {
    "a header's name": reply(401, {f"x-{KEY}": "1"}, f"no access with {KEY}"),
    "a field": reply(400, {"x-echo": KEY}, {"error": f"bad {KEY[9:]}", "code": KEY}),
    "a success": reply(200, {}, {"id": {"x": KEY}, "runCount": KEY, "data": KEY}),
    "a list": reply(200, {}, [KEY]),
    "a redirect": reply(302, {"location": f"ftp://{KEY}/"}),
    "another host": reply(307, {"location": f"http://127.0.0.1:9/{KEY}"}),
    "bytes": reply(200, {"content-encoding": "gzip"}, KEY),
    "an encoding": reply(200, {"content-encoding": KEY}, "x"),
    "a status line": hangup(f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
    "a length": hangup(f"HTTP/1.1 200 OK\r\ncontent-length: {KEY}\r\n\r\n".encode()),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_echo_is_shown_by_nothing(name, raw, connect, caplog):
    """Neither by the error and what lies below it, nor by the variables of the frames that read
    the answer, a pickle or a log."""
    caplog.set_level(logging.DEBUG)
    for echo in ECHOES.values():
        client = connect(raw(echo), call_retry=GIVE_UP, call_timeout=5)
        try:
            CALLS[name](client)
        except TriggerRealtimeError as error:
            assert_unseen(everything_shown(error))
            assert_unseen(locals_shown(error))
            assert_unseen(pickle.dumps(error).decode("latin-1"))
    assert_unseen(caplog.text)
    assert_unseen(repr([vars(record) for record in caplog.records]))


def assert_unseen(text: str) -> None:
    """Nothing of the key that is long enough to be of use is in the text."""
    pieces = [KEY[at : at + 10].lower() for at in range(len(KEY) - 9)]
    assert [piece for piece in pieces if piece in text.lower()] == []
