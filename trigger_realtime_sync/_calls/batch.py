"""Triggering many runs at once, in two steps. Source: docs/protocol.md, section R5.

The items are always sent, and all of them: the server counts each index once, and a batch that was
made by an earlier call may be without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from .._encode.idempotency import IdempotencyKey
from .._encode.json import dumps
from .._encode.options import TriggerOptions
from .._encode.payload import Payload
from .._http.retry import UnreadableAnswer
from .._http.tokens import TokenSource
from .._wire.names import BATCHES_PATH, PUBLIC_TOKEN, batch_items_path, batch_members_path
from ..errors import (
    ApiConnectionError,
    ApiError,
    BatchTriggerError,
    ClientClosed,
    ProtocolError,
    TriggerRealtimeError,
    UnprocessableEntityError,
)
from .calls import BoundedCalls
from .many_uploads import all_uploaded
from .request import Repeat, Reply, Request

NDJSON = "application/x-ndjson"
# What a server says of the items of a batch that has them already, or never gets them.
NOT_PENDING = "not in PENDING status"
ABORTED = "ABORTED"


@attrs.frozen
class Item:
    """One run to trigger."""

    task: str
    payload: Payload
    options: TriggerOptions


@attrs.frozen
class TriggeredBatch:
    """What a server answers to a new batch.

    Attributes:
        public_token: good for following the batch, an hour.
    """

    id: str
    is_cached: bool
    public_token: str | None = attrs.field(repr=False)
    by_public_token: bool


def trigger_batch(
    items: Sequence[Item], key: IdempotencyKey | None, calls: BoundedCalls
) -> TriggeredBatch:
    """Trigger a run for each item.

    Raises:
        BatchTriggerError: something is left behind, or unknown.
        TriggerRealtimeError: nothing was begun.
    """
    label = f"batch of {len(items)}"
    try:
        payloads = all_uploaded([item.payload for item in items], calls, label)
    except (ApiError, ApiConnectionError, ProtocolError) as error:
        raise _failed("upload", None, error) from error
    body = b"\n".join(
        dumps(_line(index, item, payload, key)).encode()
        for index, (item, payload) in enumerate(zip(items, payloads, strict=True))
    )
    try:
        batch = calls.send(_creation(items, key, label), _created)
    except (ApiError, ApiConnectionError, ProtocolError) as error:
        if _was_refused(error):
            raise
        raise _failed("create", None, error) from error
    try:
        _send_items(batch, body, calls)
    except ClientClosed as error:
        error.may_have_happened = True
        raise
    except TriggerRealtimeError as error:
        raise _failed("items", batch.id, error) from error
    return batch


def _was_refused(error: TriggerRealtimeError) -> bool:
    """Return True if there surely is no batch."""
    return isinstance(error, (ApiConnectionError, ApiError)) and not error.may_have_happened


def _failed(phase: str, batch_id: str | None, error: TriggerRealtimeError) -> BatchTriggerError:
    failure = BatchTriggerError(
        f"the batch failed at its {phase}: {error}", phase=phase, batch_id=batch_id
    )
    failure.may_have_happened = phase == "items" or error.may_have_happened
    return failure


def _creation(items: Sequence[Item], key: IdempotencyKey | None, label: str) -> Request:
    body: dict[str, Any] = {
        "runCount": len(items),
        "taskIdentifiers": sorted({item.task for item in items}),
    }
    if key is not None:
        body.update(key.options)
    return Request(
        method="POST",
        path=BATCHES_PATH,
        label=label,
        body=dumps(body).encode(),
        # Without a key, a second one would be another batch.
        repeat=Repeat.NEVER if key is None else Repeat.SAFE,
    )


def _created(reply: Reply) -> TriggeredBatch:
    return TriggeredBatch(
        reply.text_of("id"),
        reply.json().get("isCached") is True,
        reply.headers.get(PUBLIC_TOKEN) or None,
        reply.by_public_token,
    )


def _line(index: int, item: Item, payload: Payload, key: IdempotencyKey | None) -> dict[str, Any]:
    options = {**payload.options, **item.options.fields}
    if payload.data is None:
        # As the official client, which tells the size of nothing for single triggers alone.
        del options["payloadSize"]
    if key is not None and item.options.key is None:
        # So that the runs are found again even after the server has forgotten the batch's key.
        options.update(key.of_item(index).options)
    return {"index": index, "task": item.task, **payload.fields, "options": options}


def _send_items(batch: TriggeredBatch, body: bytes, calls: BoundedCalls) -> None:
    """Send all items.

    Raises:
        TriggerRealtimeError: some are missing, or the batch was aborted.
    """
    request = Request(
        method="POST",
        path=batch_items_path(batch.id),
        label=f"items of batch {batch.id}",
        body=body,
        content_type=NDJSON,
        is_named=False,
    )
    try:
        calls.send(request, _sealed)
    except UnprocessableEntityError as error:
        if NOT_PENDING not in error.body or _is_aborted(batch, calls):
            raise


def _sealed(reply: Reply) -> None:
    document = reply.json()
    if document.get("sealed") is not True:
        arrived, expected = document.get("enqueuedCount"), document.get("expectedCount")
        raise UnreadableAnswer(
            f"{reply.label}: the server has {arrived!r} of {expected!r} items"[:200]
        )


def _is_aborted(batch: TriggeredBatch, calls: BoundedCalls) -> bool:
    """Return True if the batch will not get its items; otherwise it has them."""
    request = Request(method="GET", path=batch_members_path(batch.id), label=f"batch {batch.id}")
    if batch.public_token is not None:
        # The caller's may only trigger.
        calls = calls.with_token(TokenSource(batch.public_token))
    return calls.send(request, lambda reply: reply.text_of("status")) == ABORTED
