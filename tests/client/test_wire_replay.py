"""For recorded exchanges, our client delivers what the official one did, or better."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from tests.interop.compare import FIELDS
from tests.support.raw import Exchange, Hangup
from tests.support.waiting import Recorder, eventually
from trigger_realtime_sync import AuthenticationError, NotFoundError, PermissionDeniedError

WIRE = Path(__file__).parent.parent / "recordings"


def recorded(name: str) -> tuple[list[Any], list[Any]]:
    exchanges = json.loads((WIRE / f"{name}.json").read_text())
    return exchanges, json.loads((WIRE / f"{name}.emitted.json").read_text())


def public(run: Any) -> dict[str, Any]:
    """A run as the official client shows it, without what is not there."""
    shown = {theirs: getattr(run, ours) for theirs, ours in FIELDS.items()}
    shown |= {"isCompleted": run.is_success or run.is_failed, "output": jsonable(run.output)}
    if run.error is not None:
        shown["error"] = {
            "name": run.error.name,
            "message": run.error.message,
            "stackTrace": run.error.stack_trace,
        }
    return {name: value for name, value in shown.items() if value is not None}


def jsonable(value: Any) -> Any:
    """As the recorder wrote down what JSON does not know."""
    if isinstance(value, dict):
        return {name: jsonable(one) for name, one in value.items()}
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, int) and abs(value) > 2**53:
        return {"$bigint": str(value)}
    return value


def expected(emitted: dict[str, Any]) -> dict[str, Any]:
    plain = dict(emitted)
    for name, value in emitted.items():
        if name.endswith(("At", "Until")):
            plain[name] = datetime.fromisoformat(value.replace("Z", "+00:00"))
    return plain


def same_request(target: str, other: str) -> bool:
    return parsed(target) == parsed(other)


def parsed(target: str) -> Any:
    """Path and query; the order of parameters, and of the columns to skip, does not matter."""
    parts = urlsplit(target)
    query: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "skipColumns" in query:
        query["skipColumns"] = set(query["skipColumns"].split(","))
    return unquote(parts.path), query


class Replay:
    """Answers the recorded requests in their order, and holds whatever comes after.

    An answer is given when all rows of those before it were seen, so that none coalesce.
    """

    def __init__(self, exchanges: list[Any]) -> None:
        self._left = list(exchanges)
        self._sent = 0
        self.seen: list[Any] = []
        self.wrong: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        if not self._left:
            exchange.hold()
        eventually(lambda: len(self.seen) >= self._sent)
        told = self._left.pop(0)
        if not same_request(exchange.target, told["request"]["target"]):
            self.wrong.append(f"{exchange.target} instead of {told['request']['target']}")
        answer = told["response"]
        names = dict(answer["headers"])
        names.pop("content-length", None)
        names.pop("transfer-encoding", None)
        body = "".join(chunk["text"] for chunk in answer["body_chunks"])
        self._sent += body.count('"value":')
        exchange.answer(answer["status"], names, body)
        if answer["end"] != "clean":
            raise Hangup


@pytest.mark.parametrize(
    ("name", "subscribe"),
    [
        ("run_lifecycle", lambda c, **o: c.subscribe_to_run("run_cmrun9", **o)),
        (
            "run_failed",
            lambda c, **o: c.subscribe_to_run(
                "run_cmrun2", skip_columns=["payload", "metadata"], **o
            ),
        ),
        (
            "runs_with_tag",
            lambda c, **o: c.subscribe_to_runs_with_tag(["team:7", "x"], created_at="1h", **o),
        ),
        ("batch", lambda c, **o: c.subscribe_to_batch("batch_1", **o)),
    ],
)
def test_tells_what_the_official_client_told(name, subscribe, raw, connect):
    """The same requests are sent, and the same runs delivered in the same order."""
    exchanges, emitted = recorded(name)
    replay = Replay(exchanges)
    server = raw(replay)
    with subscribe(connect(server)) as subscription:
        updates = subscription.updates(timeout=5)
        for _ in emitted:
            replay.seen.append(public(next(updates)))
    assert replay.wrong == []
    for seen, told in zip(replay.seen, emitted, strict=True):
        assert seen == expected(told)


@pytest.mark.parametrize(
    ("index", "error"),
    [(0, AuthenticationError), (1, PermissionDeniedError), (2, NotFoundError)],
)
def test_errors_raise_at_once(index, error, raw, connect):
    """Where the official client's iterator waits for ever, ours raises, and so does the waiter."""
    exchanges, emitted = recorded("errors")
    server = raw(Replay([exchanges[index]]))
    run_id = emitted[2 * index]["id"]
    recorder = Recorder()
    subscription = connect(server).subscribe_to_run(run_id, **recorder.options)
    with pytest.raises(error) as caught:
        subscription.wait_for_completion(5)
    assert caught.value.status == emitted[2 * index]["status"]  # type: ignore[attr-defined]
    with pytest.raises(error):
        next(subscription.updates())
    assert recorder.errors == [caught.value]
    assert len(server.exchanges) == 1
