"""Forks, the end of the process, and gevent: each in a process of its own."""

from __future__ import annotations

import os
import sys
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from tests.support import scripts
from trigger_realtime_sync import ConfigurationError, RealtimeClient

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

START = """
import os, sys, threading, time
from trigger_realtime_sync import *
from trigger_realtime_sync import State
url = sys.argv[1]
client = RealtimeClient("tr_x", base_url=url)

def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.002)

def in_child(work, patience=20):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            import traceback
            print("CHILD", traceback.format_exc(), flush=True)
        finally:
            os._exit(code)
    end = time.monotonic() + patience
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, "the child failed"
            return
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    raise SystemExit("the child hangs")
"""


def run(script: str, *arguments: str) -> scripts.Ran:
    return scripts.run(START + script, *arguments)


def start(script: str, *arguments: str) -> Future[scripts.Ran]:
    return scripts.start(START + script, *arguments)


def test_a_child_has_an_empty_client_that_works(server):
    """Inherited subscriptions are cancelled, new ones work, and the parent polls undisturbed."""
    script = """
runs = sys.argv[2:]
told = []
subscriptions = [client.subscribe_to_run(run, id=run, on_update=told.append) for run in runs[1:]]
until(lambda: all(subscription.run is not None for subscription in subscriptions))

def work():
    assert dict(client.subscriptions) == {}
    assert {subscription.state for subscription in subscriptions} == {State.CANCELLED}
    for subscription in subscriptions:
        subscription.cancel()
        try:
            subscription.wait_for_completion(5)
        except SubscriptionCancelled:
            pass
        else:
            raise AssertionError("not cancelled")
        assert subscription.run is not None
        repr(subscription)
    assert client.wait_for_completion(runs[0], timeout=10).is_success
    client.close()

for _ in range(25):
    in_child(work)
for subscription in subscriptions:
    subscription.wait_for_completion(10)
print("OK")
"""
    runs = [server.create_run() for _ in range(6)]
    server.complete_run(runs[0])

    def live(run_id: str) -> int:
        return sum(run_id in one.path and one.live for one in server.requests)

    started = start(script, server.url, *runs)
    server.wait_for_requests(
        25, match=lambda r: runs[0] in r.path and r.query["offset"] == "-1", timeout=50
    )
    assert [live(run_id) for run_id in runs[1:]] == [1] * 5
    for run_id in runs[1:]:
        server.complete_run(run_id)
    ran = started.result(60)
    assert (ran.code, ran.err) == (0, ""), ran.out
    assert ran.lines()[-1] == "OK"


def test_a_child_holds_no_connection_of_its_parent_s(server):
    """One that lives on does not keep open what the parent closes."""
    script = """
client.wait_for_completion(sys.argv[2])
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
client.close()
# While the child lives, the server's other client asks whether it has seen the end.
with RealtimeClient("tr_y", base_url=url) as other:
    other.wait_for_completion(sys.argv[3], timeout=20)
os.close(writing)
os.waitpid(pid, 0)
print("OK")
"""
    done, signal = server.create_run(), server.create_run()
    server.complete_run(done)
    started = start(script, server.url, done, signal)
    server.wait_until_held(1, timeout=20)
    try:
        server.wait_for_connections(1, timeout=3)
    finally:
        server.complete_run(signal)
        ran = started.result(30)
    assert ran.lines() == ["OK"], ran.err


def test_forking_while_other_threads_subscribe_and_cancel(server):
    """Whatever locks they held, the child's client works and its subscriptions are cancelled."""
    script = """
run, other = sys.argv[2:]
stop = threading.Event()
recent = [None] * 4

def hammer(index):
    while not stop.is_set():
        subscription = recent[index] = client.subscribe_to_run(other, on_update=lambda run: None)
        time.sleep(0.001 * index)
        subscription.cancel()
        subscription = recent[index] = client.subscribe_to_run(run)
        subscription.wait_for_completion(10)

threads = [threading.Thread(target=hammer, args=(index,)) for index in range(4)]
for thread in threads:
    thread.start()

def work():
    assert dict(client.subscriptions) == {}
    assert client.wait_for_completion(run, timeout=10).is_success
    client.close()

for _ in range(40):
    in_child(work)
stop.set()
for thread in threads:
    thread.join(10)
print("OK")
"""
    done, other = server.create_run(), server.create_run()
    server.complete_run(done)
    ran = run(script, server.url, done, other)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines() == ["OK"]


def test_an_inherited_iterator_ends(server):
    """As that of any cancelled subscription."""
    script = """
subscription = client.subscribe_to_run(sys.argv[2])
updates = subscription.updates()
next(updates)

def work():
    assert list(updates) == []

in_child(work, patience=2)
print("OK")
"""
    ran = run(script, server.url, server.create_run())
    assert ran.lines() == ["OK"], ran.err


STUCK = """
entered = threading.Event()
stuck = client.subscribe_to_run(runs[0], on_update=lambda run: entered.set() or time.sleep(100))
entered.wait(5)
"""


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("", id="held"),
        pytest.param("for run in runs * 50: client.subscribe_to_run(run)\n", id="fifty"),
        pytest.param(
            "client.subscribe_to_runs_with_tag('t', on_update=print, throttle_in_ms=50)\n",
            id="throttled",
        ),
        pytest.param("RealtimeClient('tr_x', base_url=url)\n", id="unused"),
        pytest.param(
            "client.wait_for_completion\nprint('END', flush=True)\nsys.exit(0)\n", id="exit"
        ),
        pytest.param(STUCK, id="stuck"),
    ],
)
def test_a_script_that_ends_ends(server, work):
    """At once and silently, whatever is open."""
    script = f"""
runs = sys.argv[2:]
subscription = client.subscribe_to_run(runs[0])
until(lambda: subscription.state is State.LIVE)
{work}
print("END", flush=True)
"""
    ran = run(script, server.url, server.create_run())
    assert ran.code == 0
    assert ran.err == ""
    assert ran.seconds < 5


def test_nothing_starts_at_import():
    """No thread, no socket, no server of the tests."""
    script = """
import sys, threading
import trigger_realtime_sync
assert threading.active_count() == 1
assert "http.server" not in sys.modules
print("OK")
"""
    assert scripts.run(script).lines() == ["OK"]


def test_under_gevent(server):
    """Monkey-patched: subscribe, update, wait, and cancel while the poll is held."""
    pytest.importorskip("gevent")
    # gevent and its hub warn of themselves in newer Pythons: what counts is what it does.
    patched = """
import warnings
warnings.simplefilter("ignore")
from gevent import monkey
monkey.patch_all()
"""
    script = """
run, other = sys.argv[2:]
told = []
subscription = client.subscribe_to_run(run, on_update=lambda run: told.append(run.status.value))
until(lambda: subscription.state is State.LIVE)
held = client.subscribe_to_run(other)
until(lambda: held.state is State.LIVE)
assert subscription.wait_for_completion(10).output == 5
assert told == ["QUEUED", "EXECUTING", "COMPLETED"] or told == ["QUEUED", "COMPLETED"], told
started = time.monotonic()
held.cancel()
assert time.monotonic() - started < 0.5
until(lambda: not [t for t in threading.enumerate() if "trigger-realtime run-feed" in t.name])
client.close()
print("END", flush=True)
"""
    first, second = server.create_run(), server.create_run()
    started = scripts.start(patched + START + script, server.url, first, second)
    server.wait_until_held(2, timeout=20)
    server.update_run(first, status="EXECUTING")
    server.complete_run(first, output=5)
    ran = started.result(30)
    assert ran.code == 0, ran.err
    assert ran.lines()[-1] == "END"
    server.wait_for_connections(0, timeout=2)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_an_interrupted_wait_leaves_nothing(server):
    """Ctrl-C in `wait_for_completion` raises at once, and the script ends at once."""
    script = """
import signal
# A shell that starts tests in the background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    client.wait_for_completion(sys.argv[2])
except KeyboardInterrupt:
    assert dict(client.subscriptions) == {}
    print("END", flush=True)
"""
    ran = run(script, server.url, server.create_run())
    assert (ran.code, ran.out, ran.err) == (0, "END\n", "")
    assert ran.seconds < 5


def test_a_callback_may_fork(server):
    """The child's client works inside the callback, and the callback's return ends the child."""
    script = """
run, done = sys.argv[2:]
children = []

def fork_once(_):
    if children:
        return
    pid = os.fork()
    if pid:
        children.append(pid)
        return
    assert handle.state is State.CANCELLED
    assert client.wait_for_completion(done, timeout=10).is_success
    print("CHILD", flush=True)

ready = threading.Event()
handle = client.subscribe_to_run(run, on_update=lambda run: ready.wait(5) and fork_once(run))
ready.set()
until(lambda: children and os.waitpid(children[0], os.WNOHANG)[0])
print("PARENT", handle.state.value, flush=True)
"""
    run_id, done = server.create_run(), server.create_run()
    server.complete_run(done)
    ran = run(script, server.url, run_id, done)
    assert (ran.code, ran.err) == (0, "")
    assert ran.lines() == ["CHILD", "PARENT LIVE"]


# Each kind of lock that a thread of the parent can hold at a fork is held by one.
HOLDING = """
import gc
from trigger_realtime_sync import _channel, _receivers
from trigger_realtime_sync._channel.stream_readers import StreamReaders
from trigger_realtime_sync._receivers.receiver import Receiver

def hold(lock):
    held, let_go = threading.Event(), threading.Event()

    def work():
        with lock:
            held.set()
            let_go.wait(20)

    threading.Thread(target=work, daemon=True).start()
    assert held.wait(5)
    return let_go

def all_of(kind):
    return [one for one in gc.get_objects() if isinstance(one, kind)]
"""


def test_a_child_takes_no_lock_that_a_thread_of_its_parent_held(server):
    """Everything that it inherited can be asked, though the readers' and receivers' are taken."""
    script = (
        HOLDING
        + """
run = sys.argv[2]
subscription = client.subscribe_to_run_with_streams(run, on_stream=lambda key, parts: None)
until(lambda: subscription.streams)
locks = [one._lock for one in all_of(StreamReaders)] + [one._lock for one in all_of(Receiver)]
holders = [hold(lock) for lock in locks]

def work():
    assert subscription.last_contact is not None
    assert subscription.state is State.CANCELLED
    assert subscription.streams == {"s": [1]}
    assert subscription.run is not None
    subscription.cancel()
    # A grandchild is no worse off.
    in_child(lambda: subscription.run, patience=5)

in_child(work)
for holder in holders:
    holder.set()
print("OK")
"""
    )
    run_id = server.create_run(status="EXECUTING", realtime_streams=["s"])
    server.append(run_id, "s", 1)
    ran = run(script, server.url, run_id)
    assert (ran.lines(), ran.err) == (["OK"], "")


def test_an_on_complete_may_fork(server):
    """The child's callback returns into nothing that a thread of the parent may have locked."""
    script = (
        HOLDING
        + """
children = []

def fork(run):
    holder = hold(subscription._seat.receiver._lock)
    pid = os.fork()
    holder.set()
    if pid:
        children.append(pid)

begun = threading.Event()
on_complete = lambda run: begun.wait(5) and fork(run)
subscription = client.subscribe_to_run(sys.argv[2], on_complete=on_complete)
begun.set()
until(lambda: children and os.waitpid(children[0], os.WNOHANG)[0])
subscription.wait_for_completion(10)
print("OK")
"""
    )
    run_id = server.create_run()
    server.complete_run(run_id)
    ran = run(script, server.url, run_id)
    assert (ran.lines(), ran.err) == (["OK"], "")


def test_a_token_function_that_forks_reads_on_in_the_parent_alone(server):
    """A reading thread that exists in the child, because it forked there, ends there."""
    script = """
forked = []

def token():
    if threading.current_thread() is not threading.main_thread() and not forked:
        forked.append(True)
        pid = os.fork()
        if pid:
            until(lambda: os.waitpid(pid, os.WNOHANG)[0])
            print("ENDED", flush=True)
    return "tr_x"

client = RealtimeClient(token, base_url=url)
assert client.wait_for_completion(sys.argv[2], timeout=20).is_success
print("OK")
"""
    run_id = server.create_run()
    server.complete_run(run_id)
    ran = run(script, server.url, run_id)
    assert (ran.lines(), ran.err) == (["ENDED", "OK"], "")


def test_eventlet_is_refused(monkeypatch):
    """Its sockets can't be ended while a read blocks on them: no subscription would end."""
    patched: list[str] = []
    patcher = SimpleNamespace(is_monkey_patched=patched.__contains__)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    RealtimeClient("tr_x").close()
    patched.append("socket")
    with pytest.raises(ConfigurationError, match="gevent"):
        RealtimeClient("tr_x")


def test_a_fork_that_skips_the_hooks_of_python(server):
    """As uwsgi forks, unless it is told otherwise: the next public call does what they would."""
    script = """
import ctypes
handle = client.subscribe_to_run(sys.argv[2])
handle.updates().__next__()

# CPython itself can't be forked so while another thread is about to run.
def others_rest():
    mine = threading.get_ident()
    frames = [one for ident, one in sys._current_frames().items() if ident != mine]
    return {one.f_code.co_name for one in frames} <= {"readinto", "wait", "_next"}

until(others_rest)
time.sleep(0.1)
until(others_rest)
# The lock that every thread of the parent's needs is held when it forks.
client._engine.registry.lock.acquire()
pid = ctypes.PyDLL(None).fork()
if pid == 0:
    try:
        assert handle.state is State.CANCELLED, handle
        assert not client.subscriptions
        assert client.wait_for_completion(sys.argv[3], timeout=20).is_success
        client.close()
        code = 0
    finally:
        os._exit(locals().get("code", 1))
client._engine.registry.lock.release()
status = os.waitpid(pid, 0)[1]
print("child", status, handle.state)
"""
    done, running = server.create_run(), server.create_run()
    server.complete_run(done)
    ran = start(script, server.url, running, done).result(60)
    assert ran.lines() == ["child 0 LIVE"], ran.err


def test_the_end_waits_once_for_all_clients(server):
    """However many of them have a callback that does not return."""
    script = """
import atexit, time
clients = [RealtimeClient("tr_x", base_url=url) for _ in range(10)]
begun = []
def block(run):
    begun.append(run)
    time.sleep(60)
for one in clients:
    one.subscribe_to_run(sys.argv[2], on_update=block)
while len(begun) < 10:
    time.sleep(0.01)
ended = time.monotonic()
atexit._run_exitfuncs()
print("waited", time.monotonic() - ended < 1.0, time.monotonic() - ended)
"""
    ran = start(script, server.url, server.create_run()).result(60)
    assert ran.lines()[0].startswith("waited True"), ran.out + ran.err
