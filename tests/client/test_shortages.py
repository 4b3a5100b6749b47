"""A process without a file descriptor left, for a moment: whatever needs one is tried again."""

from __future__ import annotations

import errno
import ssl
from typing import Any

import pytest

from tests.support import scripts
from tests.support.shape import answer, done
from trigger_realtime_sync import State
from trigger_realtime_sync.testing import RealtimeServer

pytest.importorskip("resource")

SCRIPT = """
import os, resource, sys, time
from trigger_realtime_sync import RealtimeClient, RetryPolicy, State

url, bundle, kind = sys.argv[1:]
quick = RetryPolicy(initial_delay=0.01, max_delay=0.05)
client = RealtimeClient("tr_x", base_url=url, verify=bundle, retry=quick)
errors = []

def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, ("not in time", subscription.state, errors)
        time.sleep(0.002)

held = []
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
if kind == "stream":
    subscription = client.subscribe_to_run_with_streams("run_1", on_error=errors.append)
elif kind == "tag":
    subscription = client.subscribe_to_runs_with_tag("t", on_error=errors.append)
else:
    subscription = client.subscribe_to_run("run_1", on_error=errors.append)
until(lambda: subscription.state in (State.RETRYING, State.FAILED))
time.sleep(0.2)
during = subscription.state
for one in held:
    os.close(one)
until(lambda: subscription.state is not State.RETRYING)
more = {"expected": 1} if kind == "tag" else {}
print(during.value, errors)
print(subscription.wait_for_completion(10, **more) is not None, errors)
"""


@pytest.mark.parametrize("kind", ["run", "tag", "stream"])
def test_no_descriptor_is_left(kind, tls, bundle):
    """Not for the certificates, nor for a connection: RETRYING until there are some again."""
    with RealtimeServer(ssl_context=tls) as server:
        server.create_run(id="run_1", tags=["t"], realtime_streams=["s"])
        server.append("run_1", "s", "a")
        server.complete_run("run_1")
        ran = scripts.run(SCRIPT, server.url, bundle, kind)
    assert ran.lines() == [f"{State.RETRYING.value} []", "True []"], ran.err


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_the_certificates_are_read_later(code, raw, connect, tls, bundle, monkeypatch):
    """A shortage is no mistake in `verify=`, neither at the call nor when they are needed."""
    original, missing = ssl.SSLContext.load_verify_locations, [True, True, True]

    def load(context: ssl.SSLContext, *arguments: Any, **options: Any) -> None:
        if missing:
            missing.pop()
            raise OSError(code, "none left")
        original(context, *arguments, **options)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", load)
    client = connect(raw(answer(done()), tls=tls), verify=bundle)
    assert client.wait_for_completion("run_1", timeout=10).is_success
    assert missing == []
