"""`POST /api/v1/tasks/{id}/trigger`, and the uploads before it.

docs/protocol.md, sections R1 to R3.
"""

from __future__ import annotations

import json
from typing import Any

from ._access import Access, Caller
from ._bodies import MIB, asks_for_v2, json_body
from ._observer import RecordedRequest
from ._payloads import stored
from ._replies import Refused, Reply, json_reply
from ._trigger_options import check_shape
from ._triggers import Ask, Triggers
from ._validation import Problems

_LARGEST_TRIGGER = 3 * MIB
# Seconds that the token of an answer lives.
TOKEN_SECONDS = 3600


class TriggerRoutes:
    """Answers single triggers."""

    def __init__(self, triggers: Triggers, access: Access) -> None:
        self._triggers = triggers
        self._access = access

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v1", "tasks", task, "trigger":
                return self._trigger(request, caller, task)
        return None

    def _trigger(self, request: RecordedRequest, caller: Caller, task: str) -> Reply:
        body = json_body(request, _LARGEST_TRIGGER)
        options = _checked(body)
        caller.need("trigger", ("tasks", task))
        ask = Ask(
            task=task,
            packet=stored(body, options.get("payloadType")),
            options=options,
            caller=caller,
            request_id=request.headers.get("x-trigger-request-idempotency-key"),
            v2_streams=asks_for_v2(request),
        )
        made = self._triggers.answer(ask)
        scopes = [f"read:runs:{made.run_id}", f"write:inputStreams:{made.run_id}"]
        headers = token_headers(self._access, caller, scopes, TOKEN_SECONDS)
        return json_reply(200, {"id": made.run_id, "isCached": made.is_cached}, headers)


def _checked(body: Any) -> dict[str, Any]:
    """Return the options of a body of the right shape."""
    problems = Problems()
    if not isinstance(body, dict):
        raise Refused(400, {"error": "Validation error: Expected object"})
    if "options" in body:
        check_shape(body["options"], problems)
    problems.refuse()
    options: dict[str, Any] = body.get("options", {})
    return options


def token_headers(
    access: Access,
    caller: Caller,
    scopes: list[str],
    seconds: float,
    *,
    claims_scopes: bool = True,
) -> dict[str, str]:
    """Return the headers with a fresh public token, and with its claims.

    Args:
        claims_scopes: False: the claims don't name the scopes, as those of a batch don't.
    """
    claims = access.claims(caller, scopes)
    shown = {name: claims[name] for name in claims if claims_scopes or name != "scopes"}
    return {
        "x-trigger-jwt-claims": json.dumps(shown, separators=(",", ":")),
        "x-trigger-jwt": access.mint(claims, seconds),
    }
