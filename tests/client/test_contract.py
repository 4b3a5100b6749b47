"""Sentences of the contract that are easily broken by something that looks harmless."""

from __future__ import annotations

import copy
import gc
import logging
import shutil
import threading
from dataclasses import dataclass, field
from typing import Any

import certifi
import pytest

import trigger_realtime_sync
from tests.support import shape
from tests.support.raw import Exchange
from tests.support.streams import Parts
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import (
    ApiError,
    AuthenticationError,
    ConfigurationError,
    PayloadError,
    RealtimeClient,
    State,
    Task,
    WaitTimeout,
)
from trigger_realtime_sync._receivers.updates import MOST_WAITING
from trigger_realtime_sync.testing import RealtimeServer


def held(exchange: Exchange, *rows: Any) -> None:
    """Answers the first request, and holds the next ones."""
    if exchange.live:
        exchange.hold()
    shape.answer(exchange, *rows)


@pytest.mark.parametrize("status", [401, 403])
def test_the_storages_refusal_is_no_matter_of_the_token(
    status: int, raw: Any, connect: Any
) -> None:
    """A large output that the storage does not give out is an error where it is read, at once;
    nobody asks for another token, and its body, which may hold the presigned URL, is not shown."""
    stored = {**shape.done(), "output": "path", "outputType": "application/store"}
    url = ""

    def handle(exchange: Exchange) -> None:
        if exchange.path == "/stored":
            exchange.answer(status, {}, {"error": f"no access to {url}"})
        elif "/packets/" in exchange.path:
            exchange.answer(200, {}, {"presignedUrl": url})
        else:
            shape.answer(exchange, stored)

    calls = 0

    def provide() -> str:
        nonlocal calls
        calls += 1
        return f"tr_{calls}"

    server = raw(handle)
    url = f"{server.url}/stored?signature=secret"
    run = connect(server, access_token=provide).wait_for_completion("run_1", timeout=10)
    calls = 0
    with pytest.raises(PayloadError) as caught:
        _ = run.output
    assert str(status) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.__cause__, ApiError)
    assert not isinstance(caught.value.__cause__, AuthenticationError)
    assert calls <= 2


def test_a_batch_with_fewer_runs_than_expected(server: RealtimeServer, connect: Any) -> None:
    """Once it is complete there is nothing to wait for."""
    runs = [server.create_run() for _ in range(2)]
    batch = server.batch(*runs)
    subscription = connect(server).subscribe_to_batch(batch)
    for run_id in runs:
        server.complete_run(run_id)
    eventually(lambda: subscription.state is State.COMPLETED)
    with pytest.raises(ValueError, match=r"expected=3: batch .* has only 2 runs"):
        subscription.wait_for_completion(expected=3)
    assert len(subscription.wait_for_completion(expected=2)) == 2


@pytest.mark.parametrize("token", ["tr_x", "pk_12345678", "s"])
def test_a_token_of_any_length_is_hidden(
    token: str, raw: Any, connect: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Though the server repeats it in an error, a header, or a row that does not decode."""
    caplog.set_level("DEBUG", "trigger_realtime_sync")
    bad = shape.row(number=f"<{token}>")

    def handle(exchange: Exchange) -> None:
        if exchange.live:
            body = {"error": f"who is <{token}>?", "code": f"<{token}>"}
            exchange.answer(401, {"x-echo": f"<{token}>"}, body)
        else:
            shape.answer(exchange, bad, shape.row("run_2"))

    recorder = Recorder()
    client = connect(raw(handle), access_token=token)
    client.subscribe_to_runs_with_tag("t", **recorder.options)
    broken, refused = recorder.wait("error", 2)
    shown = [
        str(broken),
        repr(broken),
        str(refused),
        refused.body,
        str(refused.headers),
        caplog.text,
    ]
    assert not [text for text in shown if f"<{token}>" in text]
    assert all("<***>" in text for text in shown[:4])


def test_a_function_that_had_no_better_token_is_asked_again(raw: Any, connect: Any) -> None:
    """By the next one who is refused: it may have one by then."""
    token = "tr_old"

    def handle(exchange: Exchange) -> None:
        if exchange.token == "tr_old":
            exchange.answer(401, {}, {"error": "expired"})
        else:
            shape.answer(exchange, shape.done())

    asked: list[str] = []

    def provide() -> str:
        asked.append(token)
        # Only who asks because of a refusal gets the new one.
        return token if len(asked) < 4 else "tr_new"

    client = connect(raw(handle), access_token=provide)
    with pytest.raises(AuthenticationError):
        client.wait_for_completion("run_1", timeout=10)
    assert client.wait_for_completion("run_1", timeout=10).is_success
    assert len(asked) == 4


def test_a_log_handler_may_look_at_the_subscription(raw: Any, connect: Any) -> None:
    """Of a row that does not decode, say: nothing that it needs is locked meanwhile."""
    seen: list[State] = []

    class Looks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(subscription.state)

    bad = shape.row(number="seven")
    client = connect(raw(lambda exchange: held(exchange, bad)))
    logger, handler = logging.getLogger("trigger_realtime_sync"), Looks()
    subscription = client.subscribe_to_run("run_1", enabled=False)
    logger.addHandler(handler)
    try:
        subscription.enable()
        eventually(lambda: seen)
    finally:
        logger.removeHandler(handler)
    assert seen == [State.LIVE]


def test_the_map_can_be_looked_through_while_subscriptions_end(raw: Any, connect: Any) -> None:
    """Its views are of one moment."""
    client = connect(raw(lambda exchange: held(exchange, shape.row())))
    for id_ in "abc":
        client.subscribe_to_run("run_1", id=id_)
    seen = []
    for id_, subscription in client.subscriptions.items():
        client.cancel_all()
        seen.append((id_, subscription.id))
    assert seen == [("a", "a"), ("b", "b"), ("c", "c")]
    assert list(client.subscriptions.values()) == []
    assert dict(client.subscriptions) == {}


@pytest.mark.parametrize("options", [{}, {"frozen": True}])
def test_a_token_function_need_not_be_hashable(
    options: Any, server: RealtimeServer, connect: Any
) -> None:
    """A dataclass is not, and is forgotten with its last subscription, like any function."""

    @dataclass(**options)
    class Provider:
        token: str = "tr_x"
        log: list[str] = field(default_factory=list)

        def __call__(self) -> str:
            return self.token

    run_id = server.create_run()
    server.complete_run(run_id, output=1)
    client = connect(server, access_token=Provider())
    assert client.subscribe_to_run(run_id).result(10) == 1
    for _ in range(20):
        client.subscribe_to_run(run_id, access_token=lambda: "tr_y").result(10)
    # What is cached may have large payloads, which are fetched with the token.
    client.clear_cache()
    gc.collect()
    eventually(lambda: len(client._engine._tokens) < 10)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"headers": 7}, "headers must be a mapping, not int"),
        ({"headers": ["a"]}, "headers must be a mapping, not list"),
        ({"headers": {"X": " leading"}}, "headers: the value of X"),
        ({"headers": {"X": "漢"}}, "headers: the value of X"),
        ({"headers": {"X": 5}}, "headers: the value of X"),
        ({"proxies": 7}, "proxies must be a mapping, not int"),
        ({"proxies": {"http": 5}}, "proxies: what stands for http"),
        ({"proxies": {5: "http://x"}}, "proxies: 5 is neither"),
    ],
)
def test_headers_and_proxies_that_cannot_work(options: Any, match: str) -> None:
    """Named at the call, not by a thread later."""
    with pytest.raises(ConfigurationError, match=match):
        RealtimeClient("tr_x", **options)


def test_no_proxy_whatever_the_environment_says() -> None:
    """None as the proxy of a scheme is what requests takes for that."""
    with RealtimeClient("tr_x", proxies={"https": None}) as client:  # type: ignore[dict-item]
        assert client.subscriptions == {}


@pytest.mark.parametrize("url", ["http://h/?", "http://h/#", "http://h/a/../b", "http://h/./b"])
def test_a_base_url_that_would_be_changed_on_the_way(url: str) -> None:
    """What is sent is what was given."""
    with pytest.raises(ConfigurationError, match="base_url"):
        RealtimeClient("tr_x", base_url=url)


def test_a_file_without_certificates(tmp_path: Any) -> None:
    """No retry can heal that: it is said at the call."""
    path = tmp_path / "no-certificate.pem"
    path.write_text("nothing")
    with pytest.raises(ConfigurationError, match="verify: the certificates of"):
        RealtimeClient("tr_x", verify=str(path))


def test_a_file_of_certificates_that_has_gone(tmp_path: Any) -> None:
    """By the time that it is needed: no retry can heal that either."""
    path = tmp_path / "authority.pem"
    shutil.copy(certifi.where(), path)
    with RealtimeClient("tr_x", base_url="https://127.0.0.1:9", verify=str(path)) as client:
        path.unlink()
        with pytest.raises(ConfigurationError, match="verify: the certificates can't be read"):
            client.wait_for_completion("run_1", timeout=10)


@pytest.mark.parametrize("path", ["//a", "//:x/", "//other.example:99999/x"])
def test_a_base_url_whose_path_looks_like_a_host(path: str, raw: Any, connect: Any) -> None:
    """It is a path all the same: the server is asked, and no other."""

    def handle(exchange: Exchange) -> None:
        shape.answer(exchange, shape.done())

    server = raw(handle)
    client = connect(server.url + path)
    assert client.wait_for_completion("run_1", timeout=10).is_success
    assert "/realtime/v1/runs/run_1?" in server.exchanges[-1].target


def test_an_http_proxy_is_asked_for_the_whole_url(raw: Any, connect: Any) -> None:
    """And a server for a path."""

    def handle(exchange: Exchange) -> None:
        shape.answer(exchange, shape.done())

    server = raw(handle)
    for base_url, proxies, start in (
        (server.url, None, "/realtime/v1/runs/run_1?"),
        ("http://api.example", {"http": server.url}, "http://api.example/realtime/v1/runs/run_1?"),
    ):
        client = connect(base_url, proxies=proxies)
        assert client.wait_for_completion("run_1", timeout=10).is_success
        assert server.exchanges[-1].target.startswith(start)


def test_the_iterator_yields_each_change(raw: Any, connect: Any) -> None:
    """Also those that came while nobody asked."""
    versions = iter(range(1, 50))

    def handle(exchange: Exchange) -> None:
        version = next(versions)
        shape.answer(exchange, shape.done() if version == 49 else shape.row(version=version))

    subscription = connect(raw(handle)).subscribe_to_run("run_1", enabled=False)
    updates = subscription.updates(timeout=10)
    subscription.enable()
    subscription.wait_for_completion(10)
    assert [run.metadata["version"] for run in updates] == [*range(1, 49), 99]


def test_an_iterator_that_nobody_asks_is_bounded(raw: Any, connect: Any) -> None:
    """Of the oldest changes only the latest of each run is kept."""
    count = MOST_WAITING + 200
    versions = iter(range(1, count + 1))

    def handle(exchange: Exchange) -> None:
        version = next(versions, 0)
        if not version:
            exchange.hold()
        done = version == count
        row = shape.done(version=version) if done else shape.row(version=version)
        shape.answer(exchange, row, shape.row("run_2"))

    client = connect(raw(handle))
    subscription = client.subscribe_to_runs_with_tag("t", enabled=False)
    updates = subscription.updates(timeout=10)
    subscription.enable()
    subscription.wait_for_completion(60, expected=1)
    got = [next(updates) for _ in range(len(updates._queue._pending))]
    assert len(got) <= MOST_WAITING
    versions_of_one = [run.metadata["version"] for run in got if run.id == "run_1"]
    assert versions_of_one[-500:] == list(range(count - 499, count + 1))
    assert {run.id for run in got} == {"run_1", "run_2"}
    assert got[-1].is_finished


def test_keys_of_objects_can_be_numbers(server: RealtimeServer, connect: Any) -> None:
    """They are text in JSON, whatever the task had."""
    run_id = server.create_run("my-task")
    server.complete_run(run_id, output={"1": "a", "-2": "b"})
    client = connect(server)
    task = Task("my-task", output=dict[int, str])
    assert client.subscribe_to_run(run_id, task=task).result(10) == {1: "a", -2: "b"}
    other = Task("my-task", output=dict[float, str])
    assert client.subscribe_to_run(run_id, task=other).result(10) == {1.0: "a", -2.0: "b"}
    server.complete_run(run_id := server.create_run("my-task"), output={"one": "a"})
    with pytest.raises(PayloadError, match="a key that is no integer"):
        client.subscribe_to_run(run_id, task=task).result(10)


def test_a_stream_has_the_options_of_single_runs(server: RealtimeServer, connect: Any) -> None:
    """`task=` types its run, and it can go on after that has finished."""
    run_id = server.create_run("my-task")
    server.append(run_id, "default", "one")
    task = Task("my-task", output=dict[int, str])
    subscription = connect(server).subscribe_to_stream(run_id, task=task, stop_on_completion=False)
    server.complete_run(run_id, output={"1": "a"})
    run = subscription.wait_for_completion(20)
    assert run is not None
    assert run.output == {1: "a"}
    assert subscription.parts == ["one"]
    assert subscription.state is State.LIVE


def test_tags_in_another_order_are_the_same(raw: Any, connect: Any) -> None:
    """The second joins the first."""
    client = connect(raw(lambda exchange: held(exchange, shape.row())))
    first = client.subscribe_to_runs_with_tag(["x", "y"], id="a")
    second = client.subscribe_to_runs_with_tag(["y", "x"], id="a")
    assert second.state is not State.CANCELLED
    assert first.state is not State.CANCELLED
    assert client.subscriptions["a"] is first


def test_the_first_snapshot_is_told_though_it_is_older_than_the_cache(
    raw: Any, connect: Any
) -> None:
    """A replica may lag: what is told is the newest that is known."""
    version = 5
    client = connect(raw(lambda exchange: held(exchange, shape.row(version=version))))
    first, second = Recorder(), Recorder()
    client.subscribe_to_run("run_1", id="a", **first.options)
    first.wait("update")
    client.cancel("a")
    version = 3
    client.subscribe_to_run("run_1", id="a", **second.options)
    assert second.wait("update")[0].metadata == {"version": 5}


def test_the_finished_run_is_the_latest_that_is_known(raw: Any, connect: Any) -> None:
    """Its cost may be told after its end."""
    later = {**shape.done(version=120), "costInCents": "2.5"}
    told = threading.Event()

    def handle(exchange: Exchange) -> None:
        if not exchange.live:
            shape.answer(exchange, shape.done())
        elif not told.is_set():
            told.set()
            shape.answer(exchange, later, offset="2_1")
        else:
            exchange.hold()

    client = connect(raw(handle))
    recorder = Recorder()
    subscription = client.subscribe_to_run("run_1", stop_on_completion=False, **recorder.options)
    eventually(lambda: subscription.run is not None and subscription.run.cost_in_cents == 2.5)
    assert subscription.wait_for_completion(10).cost_in_cents == 2.5


def test_the_thread_of_a_callback_says_what_it_is_for(raw: Any, connect: Any) -> None:
    """A dump of all threads tells who is stuck in whose callback."""
    names: list[str] = []
    client = connect(raw(lambda exchange: shape.answer(exchange, shape.done())))
    client.subscribe_to_run(
        "run_1", on_update=lambda run: names.append(threading.current_thread().name)
    ).wait_for_completion(10)
    assert names == ["trigger-realtime callbacks run run_1"]


def test_parts_are_not_cached_under_an_id_that_nobody_knows(
    server: RealtimeServer, connect: Any
) -> None:
    """A thousand streams of a day would fill the memory; the handle has its own, and what is cached
    under an id of the user's is all there."""
    run_id = server.create_run()
    server.append(run_id, "default", "one", "two")
    server.complete_run(run_id)
    client = connect(server)
    anonymous = client.subscribe_to_stream(run_id)
    named = client.subscribe_to_stream(run_id, id="mine")
    for subscription in (anonymous, named):
        subscription.wait_for_completion(20)
        assert subscription.parts == ["one", "two"]
    id_ = anonymous.id
    assert client.subscribe_to_stream(run_id, id="mine", enabled=False).parts == ["one", "two"]
    again = client.subscribe_to_stream(run_id, id=id_, enabled=False)
    assert again.parts == []
    assert again.run is not None


def test_of_many_parts_only_the_last_need_be_kept(server: RealtimeServer, connect: Any) -> None:
    """`max_parts` bounds `.streams` of a worker that goes on for days; callbacks are told all."""
    run_id = server.create_run(tags=["t"])
    server.append(run_id, "a", *map(str, range(10)))
    server.complete_run(run_id)
    client = connect(server)
    told, told_of_tag = Parts(), Parts()
    one = client.subscribe_to_run_with_streams(run_id, on_stream=told, max_parts=3)
    many = client.subscribe_to_runs_with_streams("t", on_stream=told_of_tag, max_parts=0)
    one.wait_for_completion(20)
    many.wait_for_completion(20, expected=1)
    assert one.streams == {"a": ["7", "8", "9"]}
    assert many.streams == {run_id: {"a": []}}
    assert told.all == told_of_tag.all == list(map(str, range(10)))
    with pytest.raises(ValueError, match="max_parts must be a whole number of at least 0"):
        client.subscribe_to_run_with_streams(run_id, max_parts=-1)


def test_waiting_for_parts_in_their_own_callback(server: RealtimeServer, connect: Any) -> None:
    """It would hold back the very parts that it waits for."""
    run_id = server.create_run()
    server.append(run_id, "default", "one")
    raised: list[Any] = []

    def on_stream(key: str, parts: list[Any]) -> None:
        try:
            next(subscription.updates())
        except RuntimeError as error:
            raised.append(error)

    subscription = connect(server).subscribe_to_stream(run_id, on_stream=on_stream, enabled=False)
    subscription.enable()
    eventually(lambda: raised)
    assert "inside its own callback" in str(raised[0])


def test_modules_are_there_without_importing_them() -> None:
    """`trigger_realtime_sync.errors.WaitTimeout` works after the plain import."""
    assert trigger_realtime_sync.errors.WaitTimeout is WaitTimeout
    assert trigger_realtime_sync.models.Task is Task
    assert copy.copy(trigger_realtime_sync.config.Timeouts()).read == 45.0


def test_the_last_contact_outlives_a_pause(raw: Any, connect: Any) -> None:
    """A health check sees when the server was last heard, enabled or not."""
    answer = threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.index:
            answer.wait(10)
            exchange.hold()
        shape.answer(exchange, shape.row())

    subscription = connect(raw(handle)).subscribe_to_run("run_1")
    before = eventually(lambda: subscription.last_contact)
    subscription.disable()
    assert subscription.last_contact == before
    subscription.enable()
    assert subscription.last_contact == before
    answer.set()


def test_what_has_failed_cannot_be_enabled(raw: Any, connect: Any) -> None:
    """It says so, by the error that ended it."""
    client = connect(raw(lambda exchange: exchange.answer(401, {}, {"error": "no"})))
    subscription = client.subscribe_to_run("run_1")
    eventually(lambda: subscription.state is State.FAILED)
    with pytest.raises(AuthenticationError):
        subscription.enable()


def test_enabling_that_fails_can_be_tried_again(
    raw: Any, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the system has no thread to give, say: the handle stays where it was."""
    client = connect(raw(lambda exchange: shape.answer(exchange, shape.done())))
    subscription = client.subscribe_to_run("run_1", enabled=False)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError, match="can't start"):
            subscription.enable()
    assert client.get(subscription.id) is subscription
    assert subscription.state is State.IDLE
    subscription.enable()
    assert subscription.wait_for_completion(10).is_success


def no_thread(self: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
