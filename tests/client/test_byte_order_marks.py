"""A body may begin with a byte order mark: .NET and its proxies write one."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any

import pytest

from tests.support.raw import reply
from tests.support.shape import UP_TO_DATE, done, headers, message, stored_output
from trigger_realtime_sync import AuthenticationError
from trigger_realtime_sync._wire.message_reader import BLOCK_BYTES, MessageReader


def marked(value: Any) -> bytes:
    return BOM_UTF8 + json.dumps(value).encode()


def test_rows(raw, connect):
    """Of a feed."""
    server = raw(reply(200, headers(), marked([message(done()), UP_TO_DATE])))
    assert connect(server).wait_for_completion("run_1", timeout=5).is_success


def test_rows_of_many_blocks():
    """Wherever the body is cut, and however large it is."""
    rows = [message(done(f"run_{n}")) for n in range(3 * BLOCK_BYTES // 300)]
    body = marked([*rows, UP_TO_DATE]).replace(b'}, {"key": ', b'},{"key":')
    for first in (1, 2, 3, 4):
        reader = MessageReader()
        reader.feed(body[:first])
        for start in range(first, len(body), 65536):
            reader.feed(body[start : start + 65536])
        assert len(reader.close().rows) == len(rows)


def test_a_stored_packet_and_where_it_is(raw, connect):
    """Of the REST API, and of the storage."""

    def locate(exchange: Any) -> None:
        url = f"http://{exchange.headers['host']}/store"
        exchange.answer(200, {}, marked({"presignedUrl": url}))

    stored = reply(200, {"content-type": "application/json"}, marked([1]))
    server = raw(stored_output(stored, locate))
    assert connect(server).wait_for_completion("run_1", timeout=5).output == [1]


def test_an_error(raw, connect):
    """Its reason is found."""
    server = raw(reply(401, {}, marked({"error": "Expired", "code": "expired"})))
    with pytest.raises(AuthenticationError, match="Expired") as caught:
        connect(server).wait_for_completion("run_1", timeout=5)
    assert caught.value.code == "expired"
