"""A forked child, and gevent: sessions are followed there as runs are."""

from __future__ import annotations

import os

import pytest

from tests.sessions.conftest import CHAT, KEY
from tests.support import scripts

FORK = """
import os, sys
from trigger_realtime_sync import RealtimeClient, State
url, key, chat = sys.argv[1:]
client = RealtimeClient(key, base_url=url)
told = []
handle = client.subscribe_to_session(chat, on_control=lambda name, headers: told.append(name))
assert list(handle.updates(20, turn_of=0)) == ["a"]
pid = os.fork()
if pid == 0:
    code = 1
    try:
        assert handle.state is State.CANCELLED
        assert dict(client.subscriptions) == {}
        assert handle.parts == ["a"]
        assert list(handle.updates(20, turn_of=0)) == []
        assert client.sessions.send(chat, "of the child") == 1
        mine = client.subscribe_to_session(chat, last_event_id=handle.last_event_id)
        assert list(mine.updates(20, turn_of=1)) == ["b"]
        client.close()
        code = 0
    finally:
        os._exit(code)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert list(handle.updates(20, turn_of=1)) == ["a", "b"]
assert handle.state is State.LIVE
client.close()
print("OK")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_goes_on_by_itself(server, chat, client):
    """What it inherits is cancelled; its own client sends and reads, and the parent's is not
    disturbed."""
    client.sessions.send(CHAT, "one")
    chat.write("a")
    chat.complete_turn(took_in=0)
    started = scripts.start(FORK, server.url, KEY, CHAT)
    server.wait_for_requests(2, match=lambda one: one.path.endswith("/in/append"), timeout=50)
    chat.write("b")
    chat.complete_turn(took_in=1)
    ran = started.result(60)
    assert (ran.code, ran.err) == (0, ""), ran.out
    assert ran.lines() == ["OK"]


GEVENT = """
from gevent import monkey
monkey.patch_all()
import sys
from trigger_realtime_sync import RealtimeClient
url, key, chat = sys.argv[1:]
with RealtimeClient(key, base_url=url) as client:
    handle = client.subscribe_to_session(chat)
    assert list(handle.updates(20, turn_of=0)) == ["a"]
    client.sessions.close(chat)
    assert handle.wait_for_completion(20) is None
print("OK")
"""


def test_under_gevent(server, chat, client):
    """With everything patched."""
    pytest.importorskip("gevent")
    client.sessions.send(CHAT, "one")
    chat.write("a")
    chat.complete_turn(took_in=0)
    ran = scripts.run(GEVENT, server.url, KEY, CHAT)
    assert (ran.code, ran.err) == (0, ""), ran.out
    assert ran.lines() == ["OK"]
