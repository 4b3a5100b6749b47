"""Rows, messages and answers of the shape log, as a server writes them."""

from __future__ import annotations

import json
from typing import Any

from .raw import Exchange, Step, by_path, by_poll, hold

SIGNATURE = "signature_of_the_test"
UP_TO_DATE = {"headers": {"control": "up-to-date"}}


def row(id_: str = "run_1", version: int = 0, status: str = "EXECUTING", **columns: Any) -> Any:
    """A whole row; `version` decides its `updatedAt`."""
    minutes, rest = divmod(version, 60_000)
    return {
        "id": "c" + id_,
        "friendlyId": id_,
        "taskIdentifier": "my-task",
        "status": status,
        "createdAt": "2026-11-23T06:15:09.979",
        "updatedAt": f"2026-11-23T07:{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}",
        "metadata": json.dumps({"version": version}),
        "metadataType": "application/json",
        **columns,
    }


def message(value: Any, operation: str = "insert") -> Any:
    key = f'"public"."TaskRun"/"{value["id"]}"'
    return {"key": key, "value": value, "headers": {"operation": operation}}


def done(id_: str = "run_1", version: int = 99, output: Any = None) -> Any:
    """The row of a run that completed."""
    return row(
        id_,
        version,
        "COMPLETED_SUCCESSFULLY",
        completedAt="2026-11-23T08:00:00.000",
        output=json.dumps(output),
        outputType="application/json",
    )


def headers(offset: str = "1_1", cursor: str | None = None) -> dict[str, str]:
    names = {
        "content-type": "application/json",
        "electric-handle": "h1",
        "electric-offset": offset,
    }
    return {**names, "electric-cursor": cursor} if cursor is not None else names


def answer(*rows: Any, offset: str = "1_1", operation: str = "insert", **more: str) -> Step:
    """Answer with these rows, up to date; `more` are headers."""
    body = [*(message(value, operation) for value in rows), UP_TO_DATE]

    def step(exchange: Exchange) -> None:
        cursor = "1" if exchange.live else None
        exchange.answer(200, {**headers(offset, cursor), **more}, body)

    return step


def snapshot(*rows: Any) -> Step:
    """Answer each first request with these rows, and hold every live poll."""
    return by_poll(answer(*rows), hold())


def locate(exchange: Exchange) -> None:
    """Answer with a presigned URL of this server."""
    url = f"http://{exchange.headers['host']}/store?signature={SIGNATURE}"
    exchange.answer(200, {}, {"presignedUrl": url})


def stored_output(fetch: Step, locate: Step = locate) -> Step:
    """Answer with a finished run whose output is in an object store, whose answer is `fetch`."""
    run = answer({**done(), "output": "packets/x.json", "outputType": "application/store"})
    return by_path({"/realtime/": run, "/api/": locate}, fetch)
