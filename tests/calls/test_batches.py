"""Batches: no item is lost, whatever fails, and calling again goes on where it stopped."""

from __future__ import annotations

import pickle
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from tests.calls.test_bounded import request_ids
from tests.support.raw import Exchange, Step, by_path, hangup, hold, in_turn, reply
from tests.support.waiting import eventually, threads_named
from trigger_realtime_sync import (
    ApiConnectionError,
    BadRequestError,
    BatchItem,
    BatchTriggerError,
    CallTimeout,
    ClientClosed,
    PermissionDeniedError,
    Task,
)
from trigger_realtime_sync._calls.uploads import LEAST_UPLOADED
from trigger_realtime_sync._encode.idempotency import check_idempotency_key


@attrs.frozen
class Video:
    name: str


make = Task("make", payload=Video, output=str)
FAILURES = [{"reset": True}, {"lost": True}, {"status": 500}, {"status": 503}, {"html": True}]


@pytest.fixture
def client(server, connect):
    return connect(server)


def items(count: int = 3, task: Any = "t") -> Any:
    return (BatchItem(task, {"n": n}, tags=f"n:{n}") for n in range(count))


def triggered(server: Any, count: int) -> list[Any]:
    """Return the triggers of items once there are so many, and no more: runs are made after the
    answer."""
    eventually(lambda: len(server.triggered()) >= count)
    found = server.triggered()
    assert len(found) == count
    return found


def requests_of(server: Any, kind: str) -> list[Any]:
    return [one for one in server.requests if one.kind == kind]


def test_a_batch_is_triggered_and_waited_for(server, client):
    """Each item is a run; the tasks of the items type them."""
    server.task("make")(lambda video: f"{video['name']}.png")
    videos = [Video(f"v{n}") for n in range(5)]
    batch = client.batch_trigger(BatchItem(make, one, tags=[one.name]) for one in videos)
    assert (batch.run_count, batch.is_cached) == (5, False)
    runs = batch.wait_for_completion(timeout=10)
    assert sorted(run.output for run in runs) == [f"v{n}.png" for n in range(5)]
    assert {run.payload for run in runs} == set(videos)
    told = batch.retrieve()
    assert set(told.run_ids) == {run.id for run in runs}
    assert told.errors == {}
    assert not client.subscriptions


def test_items_of_many_tasks_are_one_batch(server, client):
    """The server is told all of them."""
    client.batch_trigger([BatchItem("b", 1), BatchItem("a", "text"), BatchItem("b")])
    assert [(one.task, one.payload) for one in triggered(server, 3)] == [
        ("b", 1), ("a", "text"), ("b", None)
    ]  # fmt: skip


def test_items_get_keys_of_the_batch(server, client):
    """Those without one of their own; as JavaScript makes them."""
    own = BatchItem("t", 1, idempotency_key="mine")
    client.batch_trigger([BatchItem("t", 0), own], idempotency_key="batch-7")
    first, second = triggered(server, 2)
    assert first.options["idempotencyKey"] == check_idempotency_key("batch-7-0").hashed
    assert second.options["idempotencyKey"] == check_idempotency_key("mine").hashed
    client.batch_trigger([BatchItem("t", 0)])
    assert "idempotencyKey" not in triggered(server, 3)[-1].options


def test_a_key_finds_the_batch_of_before(server, client):
    """Its items are sent again, and counted once."""
    one = client.batch_trigger(items(), idempotency_key="k")
    other = client.batch_trigger(items(), idempotency_key="k")
    assert (one.is_cached, other.is_cached) == (False, True)
    assert one == other
    assert hash(one) == hash(other)
    assert len(requests_of(server, "batch_items")) == 2
    triggered(server, 3)


def test_an_older_server_refuses_items_that_it_has(server, client):
    """That means done."""
    server.settings.answers_sealed = False
    client.batch_trigger(items(), idempotency_key="k")
    assert client.batch_trigger(items(), idempotency_key="k").is_cached
    server.fail_next(match="batch_items", lost=True, reset=True)
    client.batch_trigger(items())
    triggered(server, 6)


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_items_are_sent_again(server, client, failure):
    """All of them, until the server has them."""
    server.fail_next(match="batch_items", times=3, **failure)
    batch = client.batch_trigger(items())
    sent = requests_of(server, "batch_items")
    assert len(sent) == 4
    assert len({one.body for one in sent}) == 1
    assert len(triggered(server, 3)) == batch.run_count


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_batch_with_a_key_is_made_once(server, client, failure):
    """However often it is asked for."""
    server.fail_next(match="batch_create", **failure)
    client.batch_trigger(items(), idempotency_key="k")
    triggered(server, 3)
    assert len(requests_of(server, "batch_create")) == 2


@pytest.mark.parametrize("failure", FAILURES, ids=str)
def test_a_batch_without_a_key_is_not_asked_for_again(server, client, failure):
    """The error says that one may be left behind."""
    server.fail_next(match="batch_create", **failure)
    with pytest.raises(BatchTriggerError) as caught:
        client.batch_trigger(items())
    assert (caught.value.phase, caught.value.batch_id) == ("create", None)
    assert caught.value.__cause__ is not None
    assert len(requests_of(server, "batch_create")) == 1
    assert server.triggered() == []


def test_calling_again_goes_on_where_it_stopped(server, client):
    """The official client loses the runs."""
    server.fail_next(match="batch_items", times=5, status=500)
    with pytest.raises(BatchTriggerError) as caught:
        client.batch_trigger(items(), idempotency_key="k")
    assert caught.value.phase == "items"
    batch = client.batch_trigger(items(), idempotency_key="k")
    assert batch.is_cached
    assert batch.id == caught.value.batch_id
    triggered(server, 3)


def test_a_batch_that_is_refused_is_no_batch(server, client, connect):
    """The error comes as it is: nothing was begun."""
    server.settings.most_items = 2
    with pytest.raises(BadRequestError):
        client.batch_trigger(items())
    assert requests_of(server, "batch_items") == []
    server.settings.most_items = 1000
    other = connect(server, access_token=server.public_token("read:runs"))
    with pytest.raises(PermissionDeniedError):
        other.batch_trigger(items())
    dead = connect("http://127.0.0.1:1")
    with pytest.raises(ApiConnectionError):
        dead.batch_trigger(items())


def test_a_public_token_triggers_a_batch_and_the_handle_follows_by_its_own(server, connect):
    """One that may trigger may not read; the answer brings one that may."""
    server.task("t")(lambda payload: payload["n"])
    token = server.public_token("batchTrigger:tasks:t", otu=True)
    batch = connect(server, access_token=token).batch_trigger(items())
    assert {run.output for run in batch.wait_for_completion(10)} == {0, 1, 2}
    assert batch.retrieve().run_count == 3


def test_items_that_are_missing_are_an_error(raw, connect):
    """After as many attempts as there are."""
    partial = {"id": "batch_1", "sealed": False, "enqueuedCount": 1, "expectedCount": 3}
    created = reply(202, {}, {"id": "batch_1", "runCount": 3, "isCached": False})
    server = raw(by_path({"/items": reply(200, {}, partial)}, created))
    with pytest.raises(BatchTriggerError, match="1 of 3 items") as caught:
        connect(server).batch_trigger(items())
    assert (caught.value.phase, caught.value.batch_id) == ("items", "batch_1")
    assert len(server.exchanges) == 6
    whole = reply(200, {}, {"id": "batch_1", "sealed": True})
    again = raw(by_path({"/items": in_turn(reply(200, {}, partial), whole)}, created))
    assert connect(again).batch_trigger(items()).id == "batch_1"


def test_a_batch_that_was_aborted_is_an_error(raw, connect):
    """It refuses its items as one does that has them."""
    pending = {"error": "Batch batch_1 is not in PENDING status (current: ABORTED)"}
    steps = {
        "/items": reply(422, {}, pending),
        "/api/v2/batches": reply(200, {}, {"id": "batch_1", "status": "ABORTED"}),
    }
    created = reply(200, {"x-trigger-jwt": "e.y.J"}, {"id": "batch_1", "isCached": True})
    server = raw(by_path(steps, created))
    with pytest.raises(BatchTriggerError, match="ABORTED"):
        connect(server).batch_trigger(items(), idempotency_key="k")
    assert server.exchanges[-1].token == "e.y.J"
    # Nothing names the items' request: the server would not remember it.
    assert "x-trigger-request-idempotency-key" not in server.exchanges[1].headers
    assert request_ids(server_of(server.exchanges[:1]))


def server_of(exchanges: Any) -> Any:
    return type("Some", (), {"exchanges": exchanges})


def test_a_batch_has_a_deadline(server, client):
    """For all of its steps together."""
    server.fail_next(match="batch_items", times=9, stall=30)
    with pytest.raises(BatchTriggerError) as caught:
        client.batch_trigger(items(), call_timeout=0.5)
    assert isinstance(caught.value.__cause__, CallTimeout)


def test_closing_ends_a_batch(server, client):
    """With the client's error."""
    server.fail_next(match="batch_items", times=9, stall=30)
    threading.Timer(0.3, client.close).start()
    with pytest.raises(ClientClosed):
        client.batch_trigger(items())


def test_large_payloads_are_uploaded_a_few_at_a_time(server, client):
    """On threads that have ended when the call returns."""
    large = "x" * LEAST_UPLOADED
    batch = client.batch_trigger(BatchItem("t", [n, large]) for n in range(12))
    assert not threads_named("trigger-realtime upload")
    assert [one.payload for one in triggered(server, 12)] == [[n, large] for n in range(12)]
    assert batch.run_count == 12
    server.settings.object_store = False
    before = len(requests_of(server, "packets"))
    client.batch_trigger(BatchItem("t", [n, large]) for n in range(12))
    assert len(requests_of(server, "packets")) == before + 1
    triggered(server, 24)


def test_an_upload_that_fails_is_an_error(server, client):
    """Before a batch is made."""
    server.fail_next(match="presigned", times=99, status=500)
    with pytest.raises(BatchTriggerError) as caught:
        client.batch_trigger(BatchItem("t", [n, "x" * LEAST_UPLOADED]) for n in range(12))
    assert caught.value.phase == "upload"
    assert not threads_named("trigger-realtime upload")
    assert requests_of(server, "batch_create") == []


class Uploads:
    """The steps of a server whose first upload works, and whose others do as they are told."""

    def __init__(self, raw: Any, *others: Step) -> None:
        self.server = raw(by_path({"/store": reply(200), "packets": self.packet}, reply(404)))
        self._steps = in_turn(self.place, *others)

    def packet(self, exchange: Exchange) -> None:
        self._steps(exchange)

    def place(self, exchange: Exchange) -> None:
        exchange.answer(200, {}, {"presignedUrl": f"{self.server.url}/store", "storagePath": "p"})

    @property
    def asked(self) -> int:
        return len([one for one in self.server.exchanges if "packets" in one.path])


def large_items(count: int) -> list[BatchItem[Any, Any]]:
    return [BatchItem("t", [n, "x" * LEAST_UPLOADED]) for n in range(count)]


def test_the_first_failure_of_an_upload_ends_the_others(connect, raw):
    """Neither those that are under way are waited for, nor is another one begun."""
    answered = threading.Event()

    def refuse(exchange: Exchange) -> None:
        eventually(lambda: uploads.asked >= 9)
        answered.set()
        exchange.answer(422, {}, {"error": "no"})

    uploads = Uploads(raw, refuse, hold())
    began = time.monotonic()
    with pytest.raises(BatchTriggerError, match="no") as caught:
        connect(uploads.server).batch_trigger(large_items(40))
    assert time.monotonic() - began < 10
    assert answered.is_set()
    assert caught.value.phase == "upload"
    assert uploads.asked == 9
    assert not threads_named("trigger-realtime upload")


def test_an_interrupted_batch_ends_its_uploads(connect, raw):
    """Ctrl-C, while this thread waits for an upload, and while it waits for the other threads."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    try:
        for count in (20, 3):
            uploads = Uploads(raw, hold())
            client = connect(uploads.server)
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                client.batch_trigger(large_items(count))
            assert not threads_named("trigger-realtime upload")
            assert uploads.asked <= 9
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_closing_ends_the_uploads_of_a_batch(connect, raw):
    """On all of its threads."""
    uploads = Uploads(raw, hold())
    client = connect(uploads.server)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.batch_trigger, large_items(20))
        eventually(lambda: uploads.asked == 9)
        client.close()
        assert isinstance(call.exception(5), ClientClosed)
    assert not threads_named("trigger-realtime upload")


def test_an_item_is_checked_when_it_is_made():
    """Its options and its payload."""
    with pytest.raises(ValueError, match="delay"):
        BatchItem("t", 1, delay="tomorrow")
    with pytest.raises(TypeError, match=r"payload\[0\]"):
        BatchItem("t", [object()])
    with pytest.raises(TypeError, match="call_timeout"):
        BatchItem("t", 1, call_timeout=5)
    with pytest.raises(ValueError, match="task"):
        BatchItem("")
    item = BatchItem("t", 1, tags=(one for one in "ab"))
    assert item.options["tags"] == ["a", "b"]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        item.task = "u"


def test_items_are_checked_before_anything_is_sent(server, client):
    """An empty batch is a mistake."""
    with pytest.raises(ValueError, match="empty"):
        client.batch_trigger([])
    for wrong in ("t", {"t": 1}, 5, [("t", 1)]):
        with pytest.raises(TypeError, match="BatchItem"):
            client.batch_trigger(wrong)
    with pytest.raises(ValueError, match="idempotency_key"):
        client.batch_trigger(items(), idempotency_key="")
    assert server.requests == []


def test_a_batch_is_found_again_by_its_id(server, client):
    """In another process, say."""
    server.task("t")(lambda payload: payload["n"])
    batch = client.batch_trigger(items())
    found = client.batch_handle(batch.id)
    assert found == batch
    assert len(found.wait_for_completion(10)) == 3
    assert found.public_access_token is None
    assert batch.public_access_token not in repr(batch)
    with pytest.raises(TypeError, match="keep its id"):
        pickle.dumps(batch)


def test_items_that_have_no_run_are_told(raw, connect):
    """By their index."""
    errors = [
        {"index": 2, "taskIdentifier": "t", "error": "Queue is full", "errorCode": "FULL"},
        {"index": "x"},
        5,
    ]
    document = {
        "id": "batch_1",
        "status": "PARTIAL_FAILED",
        "runCount": 3,
        "runs": ["run_1"],
        "createdAt": "2026-11-25T12:00:00.000Z",
        "processing": {"errors": errors},
    }
    batch = connect(raw(reply(200, {}, document))).batch_handle("batch_1").retrieve()
    assert (batch.status, batch.run_count, batch.run_ids) == ("PARTIAL_FAILED", 3, ["run_1"])
    assert list(batch.errors) == [2]
    assert (batch.errors[2].message, batch.errors[2].code) == ("Queue is full", "FULL")


def test_a_lost_answer_at_every_step_loses_nothing(server, client):
    """With a key, three runs are made, whatever is lost first."""
    server.fail_next(match="batch_create", lost=True, reset=True)
    server.fail_next(match="batch_items", lost=True, reset=True)
    batch = client.batch_trigger(items(), idempotency_key="k")
    made = triggered(server, 3)
    assert {one.batch_id for one in made} == {batch.id}
    assert len({one.run_id for one in made}) == 3


@pytest.mark.parametrize("first", [hangup(), reply(500)], ids=["lost", "500"])
def test_a_500_that_says_not_to_try_again_is_obeyed(raw, connect, first):
    """By the first step with a key too."""
    never = reply(500, {"x-should-retry": "false"})
    server = raw(never)
    with pytest.raises(BatchTriggerError):
        connect(server).batch_trigger(items(), idempotency_key="k")
    assert len(server.exchanges) == 1
