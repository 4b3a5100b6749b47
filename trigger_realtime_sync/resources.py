"""`client.runs`: the runs of an environment, as the REST API tells and changes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from ._calls.calls import BoundedCalls, Calls
from ._calls.request import Repeat, Reply, Request, acknowledged
from ._checks import check_flag, check_id
from ._decode.packets import Fetch
from ._decode.rest_run import integer, run_fields, text
from ._encode.idempotency import check_idempotency_key
from ._encode.json import check_json, dumps
from ._encode.none import NONE
from ._encode.options import check_new_tags, check_options
from ._encode.payload import SUPER_JSON
from ._encode.superjson import encode
from ._encode.times import check_delay
from ._feeds.packet_fetcher import PacketFetcher
from ._http.retry import UnreadableAnswer
from ._http.tokens import Token
from ._wire.names import (
    RUN_LIST_PATH,
    cancel_path,
    reset_key_path,
    rest_run_path,
    run_action_path,
)
from .handles import Client, RunHandle, found_handle, task_identifier
from .lists import page_query, read_page, several, single, time_query
from .metadata import Operation
from .models import AnyRun, Run, RunDetails, Task
from .pages import Page

__all__ = ["Page", "Runs"]


class Runs:
    """The runs of an environment. Every method takes `call_timeout`, seconds for the whole call
    instead of the client's, and `access_token`, instead of the client's; and raises an `ApiError`
    that the server answers, or an `ApiConnectionError`.
    """

    def __init__(self, client: Client, calls: Calls) -> None:
        self._client = client
        self._calls = calls

    def retrieve(
        self, run_id: str, *, call_timeout: float | None = None, access_token: Token | None = None
    ) -> RunDetails:
        """Return a run."""
        check_id(run_id, "run_id")
        calls = self._calls.bounded(call_timeout, access_token)
        request = Request(method="GET", path=rest_run_path(run_id), label=f"run {run_id}")
        return calls.ask(request, lambda reply: _details(reply, calls))

    def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        task: str | Task[Any, Any] | Iterable[str | Task[Any, Any]] | None = None,
        tag: str | Iterable[str] | None = None,
        version: str | Iterable[str] | None = None,
        queue: str | Iterable[str] | None = None,
        machine: str | Iterable[str] | None = None,
        region: str | Iterable[str] | None = None,
        batch: str | None = None,
        schedule: str | None = None,
        is_test: bool | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        period: str | timedelta | None = None,
        page_size: int | None = None,
        after: str | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> Page[AnyRun]:
        """Return the first page of the runs, the newest first: iterate over it for all of them.

        They come without payload, output and error. A run that was just triggered may be missing.

        Args:
            status, task, tag, version, queue, machine, region: one, or several of which a run must
                have one.
            batch, schedule: the id of one.
            created_from, created_to: aware.
            period: instead of these, how far back to look: `"7d"` or a timedelta. Without any of
                the three, the server looks back 7 days.
            page_size: 1 to 100; 25 by default.
            after: `next` of the page before.

        Raises:
            ValueError: an argument can't work; a value with a comma is one.
        """
        tasks = [task] if isinstance(task, (str, Task)) else task
        identifiers = None if tasks is None else [task_identifier(one) for one in tasks]
        query = {
            **several("status", status, "filter[status]"),
            **several("task", identifiers, "filter[taskIdentifier]"),
            **several("tag", tag, "filter[tag]"),
            **several("version", version, "filter[version]"),
            **several("queue", queue, "filter[queue]"),
            **several("machine", machine, "filter[machine]"),
            **several("region", region, "filter[region]"),
            **single("batch", batch, "filter[batch]"),
            **single("schedule", schedule, "filter[schedule]"),
            **time_query(created_from, created_to, period),
            **page_query(page_size, after),
        }
        if is_test is not None:
            query["filter[isTest]"] = "true" if check_flag(is_test, "is_test") else "false"
        calls = self._calls

        def turn(after: str | None) -> Page[AnyRun]:
            request = Request(
                method="GET",
                path=RUN_LIST_PATH,
                label="list of runs",
                query=query if after is None else {**query, "page[after]": after},
            )
            reply = calls.bounded(call_timeout, access_token).send(request, read_page)
            return Page([Run(**run_fields(one)) for one in reply[0]], reply[1], turn)

        return turn(None)

    def cancel(
        self, run_id: str, *, call_timeout: float | None = None, access_token: Token | None = None
    ) -> None:
        """Cancel a run. One that has finished stays as it is, which is no error."""
        check_id(run_id, "run_id")
        request = Request(method="POST", path=cancel_path(run_id), label=f"cancel of run {run_id}")
        self._calls.bounded(call_timeout, access_token).ask(request, acknowledged)

    def replay(
        self,
        run_id: str,
        *,
        payload: Any = NONE,
        tags: str | Iterable[str] = (),
        machine: str | None = None,
        queue: str | None = None,
        concurrency_key: str | None = None,
        region: str | None = None,
        version: str | None = None,
        delay: timedelta | datetime | str | None = None,
        ttl: timedelta | str | int | None = None,
        idempotency_key: str | Sequence[str] | None = None,
        idempotency_key_ttl: timedelta | str | int | None = None,
        priority: timedelta | float | None = None,
        max_attempts: int | None = None,
        max_duration: timedelta | float | None = None,
        metadata: Mapping[str, Any] | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> RunHandle[Any, Any]:
        """Run it once more, as a new run with the same payload and options.

        Args:
            payload: instead of its own.

        The other arguments replace those that it was triggered with: see `client.trigger`. Servers
        up to 4.5.12 ignore all of them, and there is no way to find out. Never sent twice: see
        `may_have_happened` of the error.
        """
        check_id(run_id, "run_id")
        options = check_options(
            {
                "tags": tags,
                "machine": machine,
                "queue": queue,
                "concurrency_key": concurrency_key,
                "region": region,
                "version": version,
                "delay": delay,
                "ttl": ttl,
                "idempotency_key": idempotency_key,
                "idempotency_key_ttl": idempotency_key_ttl,
                "priority": priority,
                "max_attempts": max_attempts,
                "max_duration": max_duration,
                "metadata": metadata,
            }
        )
        body = _replay_body(options.fields, payload)
        request = Request(
            method="POST",
            path=run_action_path(run_id, "replay"),
            label=f"replay of run {run_id}",
            body=dumps(body).encode() if body else None,
            repeat=Repeat.NEVER,
        )
        calls = self._calls.bounded(call_timeout, access_token)
        new_id = calls.ask(request, lambda reply: reply.text_of("id"))
        return found_handle(self._client, new_id, access_token=access_token)

    def reschedule(
        self,
        run_id: str,
        delay: timedelta | datetime | str,
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> RunDetails:
        """Let a delayed run start at another time, and return it.

        Args:
            delay: from now on, or an aware datetime.

        Raises:
            ValueError: the time has passed.
            BadRequestError: the run is not delayed.
        """
        check_id(run_id, "run_id")
        rendered = check_delay(delay)
        if rendered is None:
            raise ValueError(f"delay must be in the future, not {delay!r}")
        request = Request(
            method="POST",
            path=run_action_path(run_id, "reschedule"),
            label=f"reschedule of run {run_id}",
            body=dumps({"delay": rendered}).encode(),
        )
        calls = self._calls.bounded(call_timeout, access_token)
        return calls.ask(request, lambda reply: _details(reply, calls))

    def add_tags(
        self,
        run_id: str,
        tags: str | Iterable[str],
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> None:
        """Add tags to a run, which can have ten in all. There is no way to remove one."""
        check_id(run_id, "run_id")
        checked = check_new_tags(tags)
        if not checked:
            raise ValueError("tags is an empty list: name at least one")
        request = Request(
            method="POST",
            path=run_action_path(run_id, "tags"),
            label=f"tags of run {run_id}",
            body=dumps({"tags": checked}).encode(),
        )
        self._calls.bounded(call_timeout, access_token).ask(request, acknowledged)

    def set_metadata(
        self,
        run_id: str,
        metadata: Mapping[str, Any],
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> dict[str, Any]:
        """Replace the metadata of a run, what its task has written included; return the new one.

        `change_metadata` with keys of your own leaves the task's alone.
        """
        if not isinstance(metadata, Mapping):
            raise TypeError(f"metadata must be a mapping, not {type(metadata).__name__}")
        fields = {"metadata": check_json(metadata, "metadata")}
        return self._put_metadata(run_id, fields, Repeat.SAFE, call_timeout, access_token)

    def change_metadata(
        self,
        run_id: str,
        *operations: Operation,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> dict[str, Any]:
        """Change some of the metadata of a run, in order; return the new one.

        Args:
            operations: made by the functions of `trigger_realtime_sync.metadata`.

        With `increment`, `append` or `remove` it is never sent twice: see `may_have_happened` of
        the error.
        """
        for one in operations:
            if not isinstance(one, Operation):
                raise TypeError(f"operations must be made by metadata.set_ and so on, not {one!r}")
        if not operations:
            raise ValueError("change_metadata needs at least one operation")
        repeatable = all(one.is_repeatable for one in operations)
        fields = {"operations": [one.fields for one in operations]}
        repeat = Repeat.SAFE if repeatable else Repeat.NEVER
        return self._put_metadata(run_id, fields, repeat, call_timeout, access_token)

    def _put_metadata(
        self,
        run_id: str,
        fields: dict[str, Any],
        repeat: Repeat,
        call_timeout: float | None,
        access_token: Token | None,
    ) -> dict[str, Any]:
        check_id(run_id, "run_id")
        request = Request(
            method="PUT",
            path=run_action_path(run_id, "metadata"),
            label=f"metadata of run {run_id}",
            body=dumps(fields).encode(),
            repeat=repeat,
        )

        def read(reply: Reply) -> dict[str, Any]:
            metadata = reply.json().get("metadata")
            return metadata if isinstance(metadata, dict) else {}

        return self._calls.bounded(call_timeout, access_token).ask(request, read)

    def reset_idempotency_key(
        self,
        task: str | Task[Any, Any],
        key: str | Sequence[str],
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> None:
        """Let the next trigger of a task with this key make a new run.

        Raises:
            NotFoundError: no run has this key.
        """
        identifier = task_identifier(task)
        check_id(identifier, "task")
        request = Request(
            method="POST",
            path=reset_key_path(check_idempotency_key(key, "key").hashed),
            label=f"reset of an idempotency key of {identifier}",
            body=dumps({"taskIdentifier": identifier}).encode(),
        )
        self._calls.bounded(call_timeout, access_token).send(request, acknowledged)


def _replay_body(fields: dict[str, Any], payload: Any) -> dict[str, Any]:
    body = dict(fields)
    body.pop("idempotencyKeyOptions", None)
    if "queue" in body:
        body["queue"] = body["queue"]["name"]
    if "lockToVersion" in body:
        body["version"] = body.pop("lockToVersion")
    if payload is not NONE:
        # The route knows no other type for texts.
        body["payload"] = dumps(encode(payload))
        body["payloadType"] = SUPER_JSON
    return body


def _details(reply: Reply, calls: BoundedCalls) -> RunDetails:
    document = reply.json()
    fetch: Fetch = PacketFetcher(calls.caller.origin)
    if text(document.get("id")) is None:
        raise UnreadableAnswer(f"{reply.label}: the answer has no id of a run")
    related = document.get("relatedRuns")
    related = related if isinstance(related, dict) else {}
    children = related.get("children")
    schedule = document.get("schedule")
    return RunDetails(
        **run_fields(document, fetch),
        version=text(document.get("version")),
        region=text(document.get("region")),
        batch_id=text(document.get("batchId")),
        attempt_count=integer(document.get("attemptCount")),
        depth=integer(document.get("depth")),
        trigger_function=text(document.get("triggerFunction")),
        schedule=schedule if isinstance(schedule, dict) else None,
        parent=_related(related.get("parent")),
        root=_related(related.get("root")),
        children=[
            run
            for run in map(_related, children if isinstance(children, list) else ())
            if run is not None
        ],
    )


def _related(document: Any) -> AnyRun | None:
    if not isinstance(document, dict) or text(document.get("id")) is None:
        return None
    return Run(**run_fields(document))
