"""Leaders in one place: `lead=False`, and the gateway that leads for all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from tests.support.settings import TOKEN
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import State
from trigger_realtime_sync.testing import RealtimeServer

ROOT = Path(__file__).parents[2]


def test_nobody_leads_without_a_gateway(server, share):
    """It is RETRYING after two leases, sends nothing, and says why."""
    run = server.create_run("task")
    subscription = share(lead=False, lease=0.3).subscribe_to_run(run)
    eventually(lambda: subscription.state is State.RETRYING)
    assert server.held_polls == 0
    assert not [one for one in server.requests if "runs" in one.path]


def test_a_gateway_leads_what_others_follow(server, share):
    """Runs and streams; it follows nothing itself, and ends when it is closed."""
    run = server.create_run("task", status="EXECUTING")
    server.append(run, "s", 1, 2)
    recorder = Recorder()
    web = share(lead=False, lease=0.6)
    subscription = web.subscribe_to_run_with_streams(run, **recorder.options)
    gateway = share(lease=0.6)
    gateway.sharing.lead_for_others()
    eventually(lambda: subscription.streams.get("s") == [1, 2])
    eventually(lambda: len(gateway.sharing.led) == 2)
    assert gateway.sharing.followed == ()
    assert web.sharing.led == ()
    leaders = {gateway.sharing.led[0].leader}
    eventually(lambda: {one.leader for one in web.sharing.followed} == leaders)
    eventually(lambda: subscription.state is State.LIVE)
    server.complete_run(run, output=3)
    assert subscription.result(timeout=10) == 3
    recorder.wait("complete")


def test_the_gateway_of_another_token_leads_nothing(server, share):
    """An audience never reads what another one's token was needed for."""
    run = server.create_run("task")
    web = share(lead=False, lease=0.3)
    subscription = web.subscribe_to_run(run)
    gateway = share(lease=0.3, access_token="tr_dev_another")
    gateway.sharing.lead_for_others()
    eventually(lambda: subscription.state is State.RETRYING)
    assert gateway.sharing.led == ()


def test_a_gateway_sends_its_token_nowhere_else(server, share, redis):
    """Not even if somebody describes another server in Redis."""
    run = server.create_run("task")
    web = share(lead=False, lease=0.6)
    web.subscribe_to_run(run)
    client = redis.client()
    eventually(lambda: client.zrange("trs:wanted", 0, -1))
    key = client.zrange("trs:wanted", 0, -1)[0].decode()
    told = json.loads(client.get(f"trs:{{{key}}}:target"))
    with RealtimeServer() as other:
        for change in ({"base_url": other.url}, {"path": "/api/v1/runs"}):
            forged = {**told, **change}
            parts = [forged["base_url"], None, forged["path"], [], forged["audience"]]
            forged_key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
            client.set(f"trs:{{{forged_key}}}:target", json.dumps(forged))
            client.zadd("trs:wanted", {forged_key: time.time() * 1000 + 60_000})
        client.close()
        gateway = share(lease=0.6)
        gateway.sharing.lead_for_others()
        eventually(lambda: gateway.sharing.led)
        assert [one.target for one in gateway.sharing.led] == [f"run {run}"]
        assert not other.requests


def test_the_command(server, share, redis):
    """`trigger-realtime gateway --json` tells what it leads, and SIGTERM ends it well."""
    run = server.create_run("task")
    web = share(lead=False, lease=0.6)
    subscription = web.subscribe_to_run(run)
    command = [sys.executable, "-m", "trigger_realtime_sync", "gateway", "--shared", redis.url]
    process = subprocess.Popen(
        [*command, "--lease", "0.6", "--json", "--base-url", server.url],
        env={**os.environ, "TRIGGER_SECRET_KEY": TOKEN, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")))
    reader.start()
    try:
        eventually(lambda: subscription.run, seconds=30)
        eventually(lambda: lines and json.loads(lines[-1])["led"], seconds=30)
        (led,) = json.loads(lines[-1])["led"]
        assert led["target"] == f"run {run}"
        assert led["leader"]
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        reader.join()
        assert process.stderr.read() == ""
        process.stderr.close()
        process.stdout.close()
    assert code == 0
    assert TOKEN not in "".join(lines)
