"""Triggering one run. Source: docs/protocol.md, section R2."""

from __future__ import annotations

from typing import Any

import attrs

from .._clock import monotonic
from .._encode.json import dumps
from .._encode.options import TriggerOptions
from .._encode.payload import Payload
from .._http.retry import UnreadableAnswer
from .._wire.names import PUBLIC_TOKEN, trigger_path
from .calls import BoundedCalls
from .request import Repeat, Reply, Request
from .uploads import uploaded


@attrs.frozen
class Triggered:
    """What a server answers to a trigger.

    Attributes:
        public_token: good for following the run, an hour.
        answered_at: a moment of `time.monotonic()`.
        by_public_token: whether the run was triggered with a public token.
    """

    id: str
    is_cached: bool
    public_token: str | None = attrs.field(repr=False)
    answered_at: float
    by_public_token: bool


def trigger(task: str, payload: Payload, options: TriggerOptions, calls: BoundedCalls) -> Triggered:
    """Trigger a run.

    Raises:
        TriggerRealtimeError: see `Caller.call`.
    """
    label = f"trigger of {task}"
    sent = uploaded(payload, calls, label)
    body = {**sent.fields, "options": {**sent.options, **options.fields}}
    request = Request(
        method="POST",
        path=trigger_path(task),
        label=label,
        body=dumps(body).encode(),
        # With a key, the server knows the run of the first attempt whenever that is done.
        repeat=Repeat.LATER if options.key is None else Repeat.SAFE,
    )
    return calls.send(request, _triggered)


def _triggered(reply: Reply) -> Triggered:
    document: dict[str, Any] = reply.json()
    run_id = document.get("id")
    if not isinstance(run_id, str) or not run_id:
        raise UnreadableAnswer(f"{reply.label}: the answer has no id of a run")
    return Triggered(
        run_id,
        document.get("isCached") is True,
        reply.headers.get(PUBLIC_TOKEN) or None,
        monotonic(),
        reply.by_public_token,
    )
