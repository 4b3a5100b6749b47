"""The public API as type checkers see it: `mypy --strict tests/typing/api.py` says nothing.

Not run. Each `assert_type` fails the check where the type is another.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs
from typing_extensions import TypeVar, assert_type

from trigger_realtime_sync import (
    Batch,
    BatchHandle,
    BatchItem,
    Debounce,
    Page,
    Parts,
    RealtimeClient,
    RetryPolicy,
    Run,
    RunDetails,
    RunHandle,
    RunsSubscription,
    RunStatus,
    RunSubscription,
    Session,
    State,
    StreamSubscription,
    Subscription,
    Task,
    TextJoiner,
    Timeouts,
    TriggerRealtimeError,
    WaitToken,
    metadata,
)
from trigger_realtime_sync.sharing import RedisSharing, SharedTarget, Sharing

PayloadT = TypeVar("PayloadT")


@attrs.frozen
class Order:
    number: int


@attrs.frozen
class Invoice:
    total: float


@attrs.frozen
class Report:
    pages: int


bill = Task("bill", payload=Order, output=Invoice)
report = Task("report", output=Report)
untyped = Task("untyped")

client = RealtimeClient(
    access_token=lambda: "tr_x",
    base_url="https://example.com",
    throttle_in_ms=16,
    preview_branch="main",
    retry=RetryPolicy(initial_delay=1, max_retries=None),
    timeouts=Timeouts(connect=5, read=60),
    max_cached=10,
    headers={"a": "b"},
    proxies={"https": "http://proxy"},
    verify="/path",
    stream_patience=30.0,
    call_retry=RetryPolicy(max_retries=2),
    call_timeout=5.0,
    telemetry=True,
)
mutual = RealtimeClient(verify=ssl.create_default_context())


def tasks() -> None:
    """What a task is not given is Any, and so is what a type checker knows no type of."""
    assert_type(bill, Task[Order, Invoice])
    assert_type(report, Task[Any, Report])
    assert_type(untyped, Task[Any, Any])
    assert_type(Task("t", payload=list[int]), Task[list[int], Any])
    assert_type(Task("t", payload=int | None), Task[Any, Any])


def a_typed_run() -> None:
    subscription = client.subscribe_to_run("run_1", task=bill, throttle_in_ms=5, id="x")
    assert_type(subscription, RunSubscription[Order, Invoice])
    run = subscription.wait_for_completion(timeout=5)
    assert_type(run, Run[Order, Invoice])
    assert_type(run.output.total, float)
    assert_type(run.payload.number, int)
    assert_type(subscription.result().total, float)
    assert_type(client.wait_for_completion("run_1", task=bill, timeout=3).output, Invoice)
    if subscription.run is not None:
        assert_type(subscription.run.output.total, float)
    for update in subscription.updates():
        assert_type(update.output, Invoice)
    with subscription as same:
        assert_type(same, RunSubscription[Order, Invoice])
    run.output.missing  # type: ignore[attr-defined]  # noqa: B018


def half_typed() -> None:
    run = client.wait_for_completion("run_1", task=report)
    assert_type(run.output, Report)
    assert_type(run.payload, Any)


def an_untyped_run() -> None:
    subscription = client.subscribe_to_run("run_1")
    assert_type(subscription, RunSubscription[Any, Any])
    assert_type(client.subscribe_to_run("run_1", task=untyped), RunSubscription[Any, Any])
    run = client.wait_for_completion("run_1")
    assert_type(run.status, RunStatus)
    assert_type(run.finished_at, datetime | None)
    assert_type(run.metadata, dict[str, Any] | None)


def many_runs() -> None:
    subscription = client.subscribe_to_runs_with_tag(["a", "b"], created_at="1h", tasks=[bill])
    assert_type(subscription, RunsSubscription[Order, Invoice])
    for run in subscription.wait_for_completion(expected=3):
        assert_type(run.output.total, float)
    batch = client.subscribe_to_batch("batch_1", tasks=[bill])
    assert_type(batch.runs, list[Run[Order, Invoice]])
    streamed = client.subscribe_to_runs_with_streams(
        "a", tasks=[bill], on_stream=print, max_part_bytes=1_000_000
    )
    assert_type(streamed, RunsSubscription[Order, Invoice])
    assert_type(streamed.dropped_parts, int)


def kept_parts() -> None:
    """The bound is an option of whatever reads streams, and `on_stream` may say that it gets more
    than a list."""

    def on_stream(key: str, parts: Parts[str]) -> None:
        assert_type(parts[0], str)
        assert_type(parts.first_index, int)

    stream = client.subscribe_to_stream(
        "run_1", part_type=str, on_stream=on_stream, max_part_bytes=None
    )
    assert_type(stream.dropped_parts, int)
    one = client.subscribe_to_run_with_streams("run_1", on_stream=on_stream, max_part_bytes=1)
    assert_type(one.dropped_parts, int)


def runs_of_different_tasks() -> None:
    """A list of tasks that have nothing in common types nothing: `matches` tells runs apart."""
    tasks: list[Task[Any, Any]] = [bill, report]
    assert_type(client.subscribe_to_runs_with_tag("a", tasks=tasks), RunsSubscription[Any, Any])
    assert_type(client.subscribe_to_batch("b", tasks=tasks), RunsSubscription[Any, Any])
    mixed = client.subscribe_to_runs_with_tag("a", tasks=[bill, report])
    mixed.runs[0].output  # noqa: B018


def a_task_is_invariant_in_its_payload() -> None:
    """Else every payload would be taken for a task's, as an `object`."""

    def trigger(task: Task[PayloadT, Any], payload: PayloadT) -> None: ...

    trigger(bill, Order(1))
    trigger(bill, 5)  # type: ignore[misc]


def triggers() -> None:
    """The payload is the task's, and so are the types of its run."""
    handle = client.trigger(
        bill,
        Order(1),
        tags=["a"],
        idempotency_key=["user", "7"],
        idempotency_key_ttl="1h",
        delay=timedelta(minutes=5),
        ttl=60,
        queue="q",
        concurrency_key="u",
        region="eu",
        version="20261125.1",
        machine="small-2x",
        priority=1.5,
        max_duration=timedelta(minutes=5),
        max_attempts=3,
        metadata={"a": 1},
        debounce=Debounce("k", "5s", mode="trailing", max_delay=60),
        is_test=True,
        call_timeout=5,
        access_token="tr_x",
    )
    assert_type(handle, RunHandle[Order, Invoice])
    assert_type(handle.result(timeout=5), Invoice)
    assert_type(handle.wait_for_completion(), Run[Order, Invoice])
    assert_type(handle.subscribe(), RunSubscription[Order, Invoice])
    assert_type(handle.subscribe_with_streams(), RunSubscription[Order, Invoice])
    assert_type(handle.stream("s"), StreamSubscription[Any])
    for run in handle.updates():
        assert_type(run.output.total, float)
    assert_type(handle.retrieve(), RunDetails[Any, Any])
    assert_type(handle.replay(), RunHandle[Order, Invoice])
    assert_type(client.trigger("bill", 5).result(), Any)
    assert_type(client.trigger(untyped, object()), RunHandle[Any, Any])
    assert_type(client.trigger(bill), RunHandle[Order, Invoice])
    assert_type(client.handle("run_1", bill), RunHandle[Order, Invoice])
    assert_type(client.handle("run_1"), RunHandle[Any, Any])
    client.trigger(bill, 5)  # type: ignore[misc]
    client.trigger(bill, Invoice(5.0))  # type: ignore[misc]
    client.trigger("bill", 5, machine="huge")  # type: ignore[call-overload]
    client.trigger("bill", 5, tag="misspelt")  # type: ignore[call-overload]
    client.trigger("bill", 5, delay=5)  # type: ignore[call-overload]


def batches() -> None:
    """Items of any tasks, each with its own payload."""
    assert_type(BatchItem(bill, Order(1), tags="a"), BatchItem[Order, Invoice])
    assert_type(BatchItem("bill", 5), BatchItem[Any, Any])
    BatchItem(bill, 5)  # type: ignore[misc]
    BatchItem(bill, Invoice(5.0))  # type: ignore[misc]
    BatchItem("bill", 5, call_timeout=5)  # type: ignore[call-overload]
    items = [BatchItem(bill, Order(n)) for n in range(3)]
    batch = client.batch_trigger(items, idempotency_key="k", call_timeout=5)
    assert_type(batch, BatchHandle)
    assert_type(batch.wait_for_completion(timeout=5), list[Run[Any, Any]])
    assert_type(batch.retrieve(), Batch)
    assert_type(batch.subscribe(), RunsSubscription[Any, Any])
    client.batch_trigger([BatchItem(bill, Order(1)), BatchItem("other", 5)])
    client.batch_trigger([bill])  # type: ignore[list-item]


def calls() -> None:
    """Whatever ends with an answer."""
    assert_type(client.create_public_token(read={"runs": ["run_1"]}, trigger=bill), str)
    client.send("run_1", "stream", {"a": 1}, retry=True, call_timeout=5)
    assert_type(client.runs.list(task=bill, status=RunStatus.QUEUED), Page[Run[Any, Any]])
    for run in client.runs.list(tag=["a", "b"], page_size=5):
        assert_type(run, Run[Any, Any])
    assert_type(client.runs.list().first(5), list[Run[Any, Any]])
    assert_type(client.runs.retrieve("run_1").version, str | None)
    client.runs.change_metadata("run_1", metadata.set_("a", 1), metadata.increment("b"))
    token = client.wait_tokens.create(timeout="3d", tags=["approval"])
    assert_type(token, WaitToken)
    client.wait_tokens.complete(token.id, {"approved": True})
    for one in client.wait_tokens.list(status="WAITING"):
        assert_type(one, WaitToken)


def on_bill(run: Run[Order, Invoice]) -> None: ...


def on_report(run: Run[Any, Report]) -> None: ...


def on_other_payload(run: Run[Report, Invoice]) -> None: ...


def on_any(run: Run) -> None: ...


def on_texts(key: str, parts: list[str]) -> None: ...


def on_texts_of_runs(run_id: str, key: str, parts: list[str]) -> None: ...


def a_callback_of_the_task() -> None:
    """It is called with the task's runs, or with any."""
    client.subscribe_to_run("r", task=bill, on_update=on_bill, on_complete=on_any)
    client.subscribe_to_run("r", task=bill, on_update=lambda run: print(run.output.total))
    client.subscribe_to_run("r", on_update=lambda run: print(run.output["anything"]))
    client.subscribe_to_run("r", task=untyped, on_update=on_report)
    client.subscribe_to_run_with_streams("r", task=bill, on_update=on_bill, on_stream=on_texts)
    client.subscribe_to_runs_with_tag("a", tasks=[bill], on_update=on_bill, on_complete=on_any)
    client.subscribe_to_runs_with_tag("a", on_update=lambda run: print(run.output["anything"]))
    client.subscribe_to_batch("b", tasks=[bill], on_complete=on_bill)
    client.subscribe_to_runs_with_streams("a", tasks=[bill], on_update=on_bill)
    client.subscribe_to_runs_with_streams("a", on_stream=on_texts_of_runs)
    client.subscribe_to_stream("r", task=bill, on_update=on_bill)
    client.wait_for_completion("r", task=bill, on_update=on_bill)


def another_tasks_callback(handle: RunHandle[Order, Invoice]) -> None:
    """A callback of another task's runs is an error, by its payload as well as by its output."""
    client.subscribe_to_run("r", task=bill, on_update=on_report)  # type: ignore[arg-type]
    client.subscribe_to_run("r", task=bill, on_complete=on_report)  # type: ignore[arg-type]
    client.subscribe_to_run("r", task=bill, on_update=on_other_payload)  # type: ignore[arg-type]
    client.subscribe_to_run("r", task=bill, on_update=lambda run: run.output.pages)  # type: ignore[attr-defined]
    client.subscribe_to_run_with_streams("r", task=bill, on_update=on_report)  # type: ignore[arg-type]
    client.subscribe_to_runs_with_tag("a", tasks=[bill], on_update=on_report)  # type: ignore
    client.subscribe_to_runs_with_tag("a", tasks=[bill], on_complete=on_report)  # type: ignore
    client.subscribe_to_batch("b", tasks=[bill], on_update=on_report)  # type: ignore
    client.subscribe_to_runs_with_streams("a", tasks=[bill], on_update=on_report)  # type: ignore
    client.subscribe_to_stream("r", task=bill, on_update=on_report)  # type: ignore
    client.wait_for_completion("r", task=bill, on_update=on_report)  # type: ignore[arg-type]
    handle.subscribe(on_update=on_bill, on_error=print, id="x", stop_on_completion=False)
    handle.subscribe(on_update=on_report)  # type: ignore[arg-type]
    handle.subscribe_with_streams(on_complete=on_report)  # type: ignore[arg-type]
    handle.stream("s", on_update=on_report)  # type: ignore
    handle.subscribe(on_udpate=on_bill)  # type: ignore[call-arg]


def a_callback_of_different_tasks() -> None:
    """One that is for a single task of several is an error: it would get the runs of all."""
    order = Task("order", payload=Report, output=Order)
    client.subscribe_to_runs_with_tag("a", tasks=[bill, order], on_update=on_any)
    client.subscribe_to_runs_with_tag("a", tasks=[bill, order], on_update=on_bill)  # type: ignore


def parts_of_a_stream() -> None:
    """The type of the parts may be anything that stands in an annotation."""
    assert_type(client.subscribe_to_stream("r", part_type=str).parts, list[str])
    assert_type(client.subscribe_to_stream("r", part_type=list[int]).parts, list[list[int]])
    assert_type(client.subscribe_to_stream("r", part_type=int | None).parts, list[int | None])
    assert_type(client.subscribe_to_stream("r").parts, list[Any])
    chosen = client.subscribe_to_stream("r", part_type=Literal["a", "b"])
    assert_type(chosen, StreamSubscription[Literal["a", "b"]])
    for part in client.subscribe_to_stream("r", part_type=Order).updates():
        assert_type(part, Order)
    handle = client.handle("run_1", bill)
    assert_type(handle.stream("s", part_type=int | None), StreamSubscription[int | None])
    client.subscribe_to_stream("r", part_type=str, on_stream=on_texts)
    client.subscribe_to_stream("r", part_type=int, on_stream=on_texts)  # type: ignore
    client.subscribe_to_stream("r", part_type=int | None, on_stream=on_texts)  # type: ignore
    client.subscribe_to_stream("r", part_type=5)  # type: ignore
    client.subscribe_to_stream("r", on_stream=on_texts_of_runs)  # type: ignore


def told_apart(run: Run[Any, Any]) -> None:
    """`matches` narrows a run among many."""
    if bill.matches(run):
        assert_type(run, Run[Order, Invoice])
        assert_type(run.output.total, float)
    elif report.matches(run):
        assert_type(run.output.pages, int)


def sessions() -> None:
    def on_control(name: str, headers: dict[str, str]) -> None: ...

    def on_texts(key: str, parts: list[str]) -> None: ...

    session = client.sessions.start(bill, payload={"a": 1}, idle_timeout=30.0)
    assert_type(session, Session)
    assert_type(session.closed_at, datetime | None)
    assert_type(client.sessions.list(tag="t"), Page[Session])
    assert_type(client.sessions.send("c", {"a": 1}), int)
    untyped = client.subscribe_to_session("c", on_control=on_control)
    assert_type(untyped, StreamSubscription[Any])
    typed = client.subscribe_to_session("c", part_type=str, on_stream=on_texts)
    assert_type(typed.parts, list[str])
    for part in typed.updates(turn_of=1):
        assert_type(part, str)
    client.subscribe_to_session("c", "both")  # type: ignore[call-overload]
    client.subscribe_to_session("c", part_type=int, on_stream=on_texts)  # type: ignore[arg-type]
    client.sessions.start("t", payload=[1])  # type: ignore[arg-type]


def callbacks() -> None:
    def on_update(run: Run[Any, Any]) -> None: ...

    def on_error(error: TriggerRealtimeError) -> None: ...

    client.subscribe_to_run("r", on_update=on_update, on_error=on_error, on_complete=on_update)
    client.subscribe_to_run("r", on_update=lambda run: print(run.status))
    client.subscribe_to_run("r", on_update=7)  # type: ignore[call-overload]
    client.subscribe_to_run("r", no_such_option=7)  # type: ignore[call-overload]
    client.subscribe_to_run(7)  # type: ignore[call-overload]


def the_registry() -> None:
    assert_type(client.subscriptions, Mapping[str, Subscription])
    assert_type(client.get("x"), Subscription | None)
    assert_type(client.cancel("x"), bool)
    subscription = client.subscribe_to_run("r", enabled=False)
    assert_type(subscription.state, State)
    assert_type(subscription.last_contact, datetime | None)
    assert_type(subscription.error, TriggerRealtimeError | None)


def sharing() -> None:
    shared = RedisSharing("redis://localhost", lease=2.0, lead=False, on_outage="direct")
    fleet = RealtimeClient(shared=shared)
    assert_type(fleet.sharing, Sharing | None)
    if fleet.sharing is not None:
        assert_type(fleet.sharing.led, tuple[SharedTarget, ...])
        for target, age, leader in fleet.sharing.followed:
            assert_type(target, str)
            assert_type(age, float | None)
            assert_type(leader, str | None)
    RedisSharing("redis://localhost", lease="3")  # type: ignore[arg-type]


def text_of_parts(parts: list[str]) -> None:
    joined = TextJoiner()
    assert_type(joined.feed(parts) + joined.end(), str)
    joined.feed([1])  # type: ignore[list-item]
