"""Clients that share follow a thing over one connection, and notice nothing else."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import threading
import time
import zlib

import pytest

from tests.support.redis import Redis
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    ConfigurationError,
    NotFoundError,
    RealtimeClient,
    State,
    WaitTimeout,
)
from trigger_realtime_sync.sharing import RedisSharing

pytest.importorskip("redis")
Fernet = pytest.importorskip("cryptography.fernet").Fernet


def test_runs_are_read_once(server, share):
    """Three clients, one held poll; each is told everything."""
    run = server.create_run("task")
    recorders = [Recorder() for _ in range(3)]
    subscriptions = [share().subscribe_to_run(run, **one.options) for one in recorders]
    for one in recorders:
        one.wait("update")
    assert server.held_polls <= 1
    server.update_run(run, status="EXECUTING")
    for one in recorders:
        eventually(lambda one=one: one.statuses[-1] == "EXECUTING")
    server.complete_run(run, output=7)
    assert [one.result(timeout=10) for one in subscriptions] == [7, 7, 7]
    for one in recorders:
        one.wait("complete")
        assert len(set(one.statuses)) == len(one.statuses)
    assert {one.state for one in subscriptions} == {State.COMPLETED}


def test_streams_are_read_once(server, share):
    """Two clients, one open body; each gets every part once and in order."""
    run = server.create_run("task", status="EXECUTING")
    server.append(run, "s", *range(10))
    subscriptions = [share().subscribe_to_stream(run, "s") for _ in range(2)]
    for one in subscriptions:
        eventually(lambda one=one: one.parts == list(range(10)))
    server.append(run, "s", *range(10, 30))
    for one in subscriptions:
        eventually(lambda one=one: one.parts == list(range(30)))
    server.complete_run(run)
    for one in subscriptions:
        assert list(one.updates(timeout=10)) == list(range(30))
        eventually(lambda one=one: one.state is State.COMPLETED)


def test_tags_and_batches_are_read_once(server, share):
    """Their runs come and finish, for each client."""
    runs = [server.create_run("task", tags=["t"]) for _ in range(2)]
    batch = server.batch(*runs)
    clients = [share() for _ in range(2)]
    tags = [one.subscribe_to_runs_with_tag("t") for one in clients]
    batches = [one.subscribe_to_batch(batch) for one in clients]
    for one in (*tags, *batches):
        eventually(lambda one=one: len(one.runs) == 2)
    assert server.held_polls <= 2
    for run in runs:
        server.complete_run(run, output=1)
    for one in batches:
        assert len(one.wait_for_completion(10)) == 2
    for one in tags:
        assert len(one.wait_for_completion(10, expected=2)) == 2


def test_runs_that_a_batch_reused_are_read_once(server, share):
    """Its feed never shows them: one process holds the poll for all."""
    own, reused = server.create_run("task"), server.create_run("task", status="EXECUTING")
    batch = server.batch(own, reused=[reused])
    subscriptions = [share().subscribe_to_batch(batch) for _ in range(2)]
    for one in subscriptions:
        with pytest.raises(WaitTimeout):
            one.wait_for_completion(0.1)
    server.complete_run(own, output=1)
    for one in subscriptions:
        eventually(lambda one=one: len(one.runs) == 2)
    eventually(lambda: server.held_polls == 2)
    server.complete_run(reused, output=2)
    for one in subscriptions:
        assert {run.output for run in one.wait_for_completion(10)} == {1, 2}


def test_a_leader_that_leaves_is_followed_by_another(server, share):
    """At once, with no state told twice and none lost, and never a third poll."""
    run = server.create_run("task", status="EXECUTING")
    recorders = [Recorder(), Recorder()]
    clients = [share(lease=20.0) for _ in range(2)]
    for client, one in zip(clients, recorders, strict=True):
        client.subscribe_to_run(run, **one.options)
        one.wait("update")
    first = next(one for one in clients if one.sharing.led)
    (second,) = [one for one in clients if one is not first]
    rest = recorders[clients.index(second)]
    server.update_run(run, metadata={"n": 1})
    rest.wait("update", 2)
    first.close()
    server.update_run(run, metadata={"n": 2})
    eventually(lambda: rest.updates[-1].metadata == {"n": 2})
    assert [one.metadata for one in rest.updates] == [None, {"n": 1}, {"n": 2}]
    assert second.sharing.led
    assert server.held_polls <= 2


def test_a_refusal_is_told_to_all(server, share):
    """Each subscription fails as it would alone, and a later one asks again."""
    clients = [share(), share()]
    subscriptions = [one.subscribe_to_run("run_none") for one in clients]
    for one in subscriptions:
        eventually(lambda one=one: one.state is State.FAILED)
        assert isinstance(one.error, NotFoundError)
        assert one.error.status == 404
    before = len(server.requests)
    again = clients[0].subscribe_to_run("run_none")
    eventually(lambda: again.state is State.FAILED)
    assert len(server.requests) > before


def test_another_token_is_another_audience(server, share):
    """It is read by its own token, however public the other one is."""
    run = server.create_run("task")
    clients = [share(), share(access_token="tr_dev_another")]
    for one in clients:
        subscription = one.subscribe_to_run(run)
        eventually(lambda subscription=subscription: subscription.run)
    assert [len(one.sharing.led) for one in clients] == [1, 1]


def test_a_named_audience_shares_what_functions_give_tokens_for(server, share):
    """A subscription with a token of its own is no part of it."""
    run = server.create_run("task")
    clients = [share(access_token=lambda n=n: f"tr_{n}", audience="web") for n in range(2)]
    for one in clients:
        subscription = one.subscribe_to_run(run)
        eventually(lambda subscription=subscription: subscription.run)
    assert sorted(len(one.sharing.led) for one in clients) == [0, 1]
    own = clients[0].subscribe_to_run(run, access_token="tr_own")
    eventually(lambda: own.run)
    assert sum(len(one.sharing.led) for one in clients) == 2
    alone = clients[0].subscribe_to_run(run, access_token=lambda: "tr_function")
    eventually(lambda: alone.run)
    assert sum(len(one.sharing.led) for one in clients) == 2


def everything_in(redis):
    """All keys and values, unpacked where they are compressed."""
    client = redis.client()
    found = []
    for key in client.scan_iter("*"):
        found.append(key)
        if client.type(key) == b"stream":
            for _, fields in client.xrange(key):
                head, _, data = fields[b"e"].partition(b"\n")
                found.append(zlib.decompress(data) if head.endswith(b"z") else data)
        elif client.type(key) == b"string":
            found.append(client.get(key))
        else:
            found += client.zrange(key, 0, -1)
    client.close()
    return b"\n".join(found)


def test_no_token_is_in_redis_or_in_the_log(server, share, redis, caplog):
    """Nor in what is shown of the options; payloads are, unless they are encrypted."""
    caplog.set_level(logging.DEBUG)
    run = server.create_run("task", payload={"secret": "pay" * 400}, status="EXECUTING")
    server.append(run, "s", "part")
    client = share(access_token="tr_dev_very_secret")
    subscription = client.subscribe_to_run_with_streams(run)
    eventually(lambda: subscription.streams.get("s"))
    failed = client.subscribe_to_run("run_none")
    eventually(lambda: failed.state is State.FAILED)
    stored = everything_in(redis)
    assert b"very_secret" not in stored
    assert b"paypay" in stored
    assert "very_secret" not in caplog.text
    assert "hidden" not in repr(RedisSharing("redis://:hidden@localhost"))


def test_what_is_encrypted_can_t_be_read_without_the_key(server, share, redis, caplog):
    """Those who have another key read for themselves, and say so."""
    run = server.create_run("task", payload={"secret": "pay" * 400}, status="EXECUTING")
    server.append(run, "s", "part")
    keys = [Fernet.generate_key() for _ in range(2)]
    first = share(encrypt=keys[0]).subscribe_to_run_with_streams(run)
    eventually(lambda: first.streams.get("s") == ["part"])
    stored = everything_in(redis)
    assert b"paypay" not in stored
    assert b"part" not in stored
    assert run.encode() not in stored
    second = share(encrypt=keys[1]).subscribe_to_run_with_streams(run)
    eventually(lambda: second.streams.get("s") == ["part"])
    assert "can't be read here" in caplog.text
    server.complete_run(run, output=5)
    assert [one.result(10) for one in (first, second)] == [5, 5]


def log_of(redis):
    """The one log there is, and its last id."""
    client = redis.client()
    (key,) = client.scan_iter("*:log")
    last = client.xrevrange(key, count=1)[0][0].decode()
    epoch, _, n = last.partition("-")
    return client, key, f"{epoch}-{int(n) + 1}"


def test_a_kind_that_is_not_known_is_skipped(server, share, redis):
    """A newer version may write one."""
    run = server.create_run("task")
    subscription = share(lease=0.6).subscribe_to_run(run)
    eventually(lambda: subscription.run)
    client, key, id_ = log_of(redis)
    client.xadd(key, {"e": b'1 Q \n{"whatever":1}'}, id=id_)
    client.close()
    server.update_run(run, status="EXECUTING")
    eventually(lambda: subscription.run.status == "EXECUTING")
    assert subscription.state is State.LIVE


def test_a_format_that_is_not_known_makes_each_read_for_itself(server, share, redis, caplog):
    """It goes on, and says so."""
    run = server.create_run("task")
    subscription = share(lease=0.6).subscribe_to_run(run)
    eventually(lambda: subscription.run)
    client, key, id_ = log_of(redis)
    client.xadd(key, {"e": b"9 A \n?"}, id=id_)
    client.close()
    server.update_run(run, status="EXECUTING")
    eventually(lambda: subscription.run.status == "EXECUTING")
    server.complete_run(run, output=1)
    assert subscription.result(10) == 1


def test_redis_away_is_retrying_and_loses_nothing(server, share, redis):
    """What happened meanwhile is told once it is back, though it lost everything."""
    run = server.create_run("task", status="EXECUTING")
    server.append(run, "s", 1)
    subscription = share().subscribe_to_run_with_streams(run)
    eventually(lambda: subscription.streams.get("s") == [1])
    redis.kill()
    redis.lose_data()
    eventually(lambda: subscription.state is State.RETRYING)
    server.append(run, "s", 2)
    server.update_run(run, metadata={"n": 1})
    redis.start()
    eventually(lambda: subscription.streams["s"] == [1, 2], seconds=20)
    eventually(lambda: subscription.run.metadata == {"n": 1}, seconds=20)
    eventually(lambda: subscription.state is State.LIVE)


def test_each_reads_for_itself_while_redis_is_away(server, share, redis, monkeypatch):
    """With `on_outage="direct"`; then they share again."""
    monkeypatch.setattr("trigger_realtime_sync._sharing.link.DIRECT_SECONDS", 0.2)
    run = server.create_run("task", status="EXECUTING")
    server.append(run, "s", 1)
    client = share(on_outage="direct")
    subscription = client.subscribe_to_run_with_streams(run)
    eventually(lambda: subscription.streams.get("s") == [1])
    redis.kill()
    eventually(lambda: subscription.state is State.RETRYING)
    server.append(run, "s", 2)
    server.update_run(run, metadata={"n": 1})
    eventually(lambda: subscription.streams["s"] == [1, 2])
    eventually(lambda: subscription.run.metadata == {"n": 1})
    redis.lose_data()
    redis.start()
    eventually(lambda: len(client.sharing.led) == 2)
    server.append(run, "s", 3)
    server.complete_run(run, output=1)
    assert subscription.result(20) == 1
    assert subscription.streams["s"] == [1, 2, 3]


def test_older_parts_than_redis_keeps_come_from_the_api(server, share, redis):
    """A late joiner has all of them, and what Redis keeps is bounded."""
    run = server.create_run("task", status="EXECUTING")
    first = share(history=64 << 10).subscribe_to_stream(run, "s")
    noise = random.Random(1)
    parts = [noise.randbytes(5000).hex() for _ in range(60)]
    for part in parts:
        server.append(run, "s", part)
        time.sleep(0.002)
    eventually(lambda: first.parts == parts)
    client = redis.client()
    logs = {one: client.memory_usage(one) for one in client.scan_iter("*:log")}
    client.close()
    assert max(logs.values()) < 3 * (64 << 10)
    late = share(history=64 << 10).subscribe_to_stream(run, "s")
    eventually(lambda: late.parts == parts)
    server.append(run, "s", "last")
    eventually(lambda: late.parts[-1] == "last")
    assert late.parts == [*parts, "last"]


def test_a_late_joiner_catches_up_while_parts_keep_coming(server, share):
    """What it reads from the API is not cut off by what is published meanwhile."""
    run = server.create_run("task", status="EXECUTING")
    first = share(history=64 << 10).subscribe_to_stream(run, "s")
    noise = random.Random(1)
    parts = [noise.randbytes(5000).hex() for _ in range(40)]
    for part in parts:
        server.append(run, "s", part)
        time.sleep(0.002)
    eventually(lambda: first.parts == parts)
    ends = threading.Event()

    def write() -> None:
        while not ends.wait(0.005):
            parts.append(f"part {len(parts)}")
            server.append(run, "s", parts[-1])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        late = share(history=64 << 10).subscribe_to_stream(run, "s")
        eventually(lambda: len(late.parts) > 60)
    finally:
        ends.set()
        writer.join()
    eventually(lambda: late.parts == parts)
    eventually(lambda: first.parts == parts)


def test_what_is_too_large_to_publish_is_read(server, share):
    """Only its id is published: the buffers of those who listen are bounded."""
    run = server.create_run("task", status="EXECUTING")
    clients = [share(), share()]
    subscriptions = [one.subscribe_to_run(run) for one in clients]
    for one in subscriptions:
        eventually(lambda one=one: one.run)
    large = random.Random(1).randbytes(400_000).hex()
    server.update_run(run, metadata={"large": large})
    for one in subscriptions:
        eventually(lambda one=one: (one.run.metadata or {}).get("large") == large)


def test_a_forked_child_follows_anew_and_disturbs_nobody(server, share):
    """It has connections of its own, and gives no lease of its parent's up."""
    run = server.create_run("task", status="EXECUTING")
    client = share(lease=5.0)
    subscription = client.subscribe_to_run(run)
    eventually(lambda: client.sharing.led)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            own = client.subscribe_to_run(run)
            eventually(lambda: own.run)
            os.write(writer, own.run.id.encode())
            client.close()
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    assert os.read(reader, 100).decode() == run
    os.close(reader)
    assert os.waitpid(child, 0)[1] == 0
    assert client.sharing.led
    server.update_run(run, metadata={"n": 1})
    eventually(lambda: subscription.run.metadata == {"n": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lease", 0.01),
        ("lease", "3"),
        ("lead", 1),
        ("prefix", "a{b}"),
        ("audience", ""),
        ("on_outage", "panic"),
        ("encrypt", "short"),
        ("history", 10),
        ("redis", 7),
        ("redis", "nonsense://:hidden@host"),
    ],
)
def test_a_bad_option_is_named(name, value):
    """At once, without what is secret in it."""
    options = {"redis": "redis://localhost", name: value}
    with pytest.raises(ConfigurationError, match=name) as raised:
        RedisSharing(options.pop("redis"), **options)
    assert "hidden" not in str(raised.value)


def test_what_can_t_be_shared_is_refused():
    """Another object than a RedisSharing, and tokens that change without an audience."""
    with pytest.raises(ConfigurationError, match="shared"):
        RealtimeClient("tr_x", shared="redis://localhost")
    with pytest.raises(ConfigurationError, match="audience"):
        RealtimeClient(lambda: "tr_x", shared=RedisSharing("redis://localhost"))
    with RealtimeClient("tr_x") as client:
        assert client.sharing is None


def test_a_client_that_decodes_answers_is_taken_too(server, share, redis):
    """As Django's often do."""
    given = redis.client(decode_responses=True)
    run = server.create_run("task")
    subscription = share(redis=given).subscribe_to_run(run)
    eventually(lambda: subscription.run)
    given.close()


def test_importing_the_options_costs_nothing():
    """Neither redis-py nor the shared log over it is imported by the package alone."""
    code = "import sys, trigger_realtime_sync.client; print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"


def test_a_password_works_and_is_shown_nowhere(server, share, caplog):
    """Nor is a wrong one, which is waited out as any trouble of Redis."""
    secured = Redis("--requirepass", "hidden1")
    try:
        run = server.create_run("task")
        url = secured.url.replace("redis://", "redis://:hidden1@")
        good = share(redis=url).subscribe_to_run(run)
        eventually(lambda: good.run)
        bad = share(redis=url.replace("hidden1", "hidden2")).subscribe_to_run(run)
        eventually(lambda: bad.state is State.RETRYING)
        assert "hidden" not in caplog.text
    finally:
        secured.close()
