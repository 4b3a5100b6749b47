"""Replays of runs (docs/protocol.md, section R8)."""

from __future__ import annotations

from typing import Any

from ._access import Caller
from ._bodies import parse_json
from ._control import RunControl
from ._observer import RecordedRequest
from ._payloads import stored
from ._replies import Refused, Reply, json_reply
from ._rows import array_items
from ._run_book import RunBook
from ._settings import RoundTrip
from ._trigger_options import check_shape
from ._triggers import Ask, Triggers
from ._validation import Problems

_OVERRIDES = (
    *("metadata", "tags", "queue", "concurrencyKey", "machine", "region", "delay", "ttl"),
    *("idempotencyKey", "maxAttempts", "maxDuration", "priority"),
)


class ReplayRoutes:
    """Makes new runs of old ones, whatever became of these."""

    def __init__(
        self, runs: RunControl, book: RunBook, triggers: Triggers, settings: RoundTrip
    ) -> None:
        self._store = runs._store
        self._book = book
        self._triggers = triggers
        self._settings = settings

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v1", "runs", run_id, "replay":
                caller.need_secret()
                body = self._overrides(request)
                ask = self._ask(run_id, body, caller)
                try:
                    made = self._triggers.trigger(ask)
                except Refused as refused:
                    raise Refused(400, {"error": refused.text}) from None
                return json_reply(200, {"id": made.run_id})
        return None

    def _overrides(self, request: RecordedRequest) -> dict[str, Any]:
        # Servers up to 4.5.12 don't look at the body at all.
        if not self._settings.replay_overrides or not request.body:
            return {}
        body = parse_json(request.body)
        return body if isinstance(body, dict) else {}

    def _ask(self, run_id: str, body: dict[str, Any], caller: Caller) -> Ask:
        state = self._store.get(run_id)
        if state is None:
            raise Refused(404, {"error": "Run not found"})
        facts = self._book.facts(run_id)
        options: dict[str, Any] = {"tags": list(array_items(state.row.get("runTags")))}
        if state.row.get("isTest") == "t":
            options["test"] = True
        if facts.wanted.metadata is not None:
            options["metadata"] = facts.wanted.metadata
        options.update({name: body[name] for name in _OVERRIDES if name in body})
        if "version" in body:
            options["lockToVersion"] = body["version"]
        problems = Problems()
        check_shape(options, problems)
        problems.refuse()
        packet = stored(body, body.get("payloadType")) if "payload" in body else facts.packet
        return Ask(task=facts.task, packet=packet, options=options, caller=caller)
