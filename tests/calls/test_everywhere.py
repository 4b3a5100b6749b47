"""Calls under gevent, and beside and after forks: each in a process of its own."""

from __future__ import annotations

import os

import pytest

from tests.calls.conftest import KEY
from tests.support import scripts

START = """
import os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from trigger_realtime_sync import *
client = RealtimeClient(sys.argv[2], base_url=sys.argv[1])
"""
# gevent and its hub warn of themselves in newer Pythons: what counts is what it does.
PATCHED = """
import warnings
warnings.simplefilter("ignore")
from gevent import monkey
monkey.patch_all()
"""


def test_calls_under_gevent(server):
    """Monkey-patched: many at once, uploads on threads, a token that is slow, and a close."""
    pytest.importorskip("gevent")
    script = """
with ThreadPoolExecutor(20) as pool:
    handles = list(pool.map(lambda n: client.trigger("t", n, idempotency_key=str(n)), range(200)))
assert len({handle.id for handle in handles}) == 200
large = [BatchItem("b", [n, "x" * 150_000]) for n in range(12)]
assert client.batch_trigger(large).run_count == 12
assert client.create_public_token(read={"runs": handles[0].id})
assert client.trigger("double", 21).result(20) == 42

asked = []
def token():
    name = threading.current_thread().name
    asked.append(name)
    if name == "slow" and asked.count(name) == 2:
        time.sleep(30)
    return "tr_dev_refused"

slow = RealtimeClient(token, base_url=sys.argv[1])
ended = []
def call():
    try:
        slow.trigger("t", call_timeout=20)
    except ClientClosed:
        ended.append(threading.current_thread().name)
def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.01)

threading.Thread(target=call, name="slow", daemon=True).start()
until(lambda: len(asked) == 2)
waiting = threading.Thread(target=call, name="waiting", daemon=True)
waiting.start()
until(lambda: len(asked) == 3)
time.sleep(0.2)
slow.close()
waiting.join(5)
assert ended == ["waiting"], ended
client.close()
print("END", flush=True)
"""
    refused = "Bearer tr_dev_refused"
    server.fail_next(
        match=lambda request: request.headers.get("authorization") == refused, times=9, status=401
    )
    server.task("double")(lambda n: 2 * n)
    ran = scripts.run(PATCHED + START + script, server.url, KEY)
    assert ran.code == 0, ran.err
    assert ran.lines()[-1] == "END"
    assert len({one.run_id for one in server.triggered("b")}) == 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forks_while_other_threads_trigger(server):
    """Whatever lock a thread of the parent holds, the child's calls work; nothing is sent twice."""
    script = """
ended = threading.Event()
counts = []

def work(ident):
    count = 0
    while not ended.is_set():
        client.trigger("t", f"{ident}-{count}", idempotency_key=f"{ident}-{count}")
        count += 1
    counts.append(count)

threads = [threading.Thread(target=work, args=(ident,)) for ident in range(6)]
for thread in threads:
    thread.start()
for n in range(15):
    child = os.fork()
    if not child:
        code = 1
        try:
            client.trigger("child", n, idempotency_key=f"child-{n}", call_timeout=20)
            client.create_public_token(read={"runs": "run_1"}, call_timeout=20)
            code = 0
        finally:
            os._exit(code)
    end = time.monotonic() + 30
    while time.monotonic() < end and not (done := os.waitpid(child, os.WNOHANG))[0]:
        time.sleep(0.005)
    if not done[0]:
        os.kill(child, 9)
    assert done[0] and done[1] == 0, f"child {n}: {done}"
ended.set()
for thread in threads:
    thread.join(30)
client.close()
print(sum(counts))
print("END", flush=True)
"""
    ran = scripts.run(START + script, server.url, KEY)
    assert ran.code == 0, ran.err
    assert ran.lines()[-1] == "END"
    made = server.triggered("t")
    assert len({one.run_id for one in made}) == len({one.payload for one in made})
    assert len({one.payload for one in made}) == int(ran.lines()[0])
    assert sorted(one.payload for one in server.triggered("child")) == list(range(15))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("handles", "client.trigger('t', 1)"),
        ("_calls.calls", "client.send('run_1', 'stream', 1)"),
        ("_calls.batch", "client.batch_trigger([package.BatchItem('t', 1)])"),
        ("_calls.public_tokens", "client.create_public_token(read={'runs': True})"),
        ("resources", "client.runs.list()"),
        ("wait_tokens", "client.wait_tokens.create()"),
        ("sessions", "client.sessions.list()"),
        ("batches", "package.BatchItem('t', 1)"),
    ],
)
def test_a_child_that_is_forked_in_the_middle_of_a_first_call(server, module, call):
    """What a thread of the parent is importing just then, the child can import as well."""
    server.create_run(id="run_1")
    script = f"""
import importlib.abc, os, signal, sys, threading
import trigger_realtime_sync as package
client = package.RealtimeClient(sys.argv[2], base_url=sys.argv[1])
begun, ended = threading.Event(), threading.Event()

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "trigger_realtime_sync.{module}" and not begun.is_set():
            begun.set()
            # The fork comes meanwhile, unless it waits for us.
            ended.wait(0.3)

def call():
    {call}

sys.meta_path.insert(0, Slow())
thread = threading.Thread(target=call)
thread.start()
assert begun.wait(30)
child = os.fork()
if not child:
    signal.alarm(30)
    call()
    os._exit(0)
ended.set()
print(os.waitpid(child, 0)[1])
thread.join(30)
client.close()
print("END", flush=True)
"""
    ran = scripts.run(script, server.url, KEY)
    assert ran.code == 0, ran.err
    assert ran.lines() == ["0", "END"]
