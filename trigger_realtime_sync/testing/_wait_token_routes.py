"""The routes of wait tokens (docs/protocol.md, section R6)."""

from __future__ import annotations

import hmac
import time
from typing import Any

from ._access import Access, Caller
from ._bodies import KIB, MIB, json_body, parse_json
from ._observer import RecordedRequest
from ._pages import chosen, page, query_error, window
from ._replies import Refused, Reply, json_reply
from ._trigger_options import check_tags, tags_of
from ._trigger_routes import token_headers
from ._validation import Problems
from ._wait_tokens import WaitToken, WaitTokens, output_of

_LARGEST_CREATION = 10 * KIB
_LARGEST_COMPLETION = 3 * MIB
# Seconds that the token of an answer lives.
_TOKEN_SECONDS = 86_400
_USUAL_SIZE = 25
_STATUSES = frozenset({"WAITING", "COMPLETED", "TIMED_OUT"})
_KINDS: dict[str, Any] = {
    "timeout": ("string", "number", "null", "boolean"),
    "idempotencyKey": "string",
    "idempotencyKeyTTL": "string",
}


class WaitTokenRoutes:
    """Answers what is about wait tokens."""

    def __init__(self, tokens: WaitTokens, access: Access) -> None:
        self._tokens = tokens
        self._access = access

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        match request.method, *request.segments:
            case "POST", "api", "v1", "waitpoints", "tokens":
                caller.need_secret()
                return self._create(json_body(request, _LARGEST_CREATION), caller)
            case "GET", "api", "v1", "waitpoints", "tokens":
                caller.need_secret()
                return self._list(request, caller)
            case "GET", "api", "v1", "waitpoints", "tokens", token_id:
                caller.need_secret()
                return self._retrieve(token_id, caller)
            case "POST", "api", "v1", "waitpoints", "tokens", token_id, "complete":
                return self._complete(request, token_id, caller)
        return None

    def callback(self, request: RecordedRequest) -> Reply:
        """Complete a token by its URL, which needs nothing else."""
        if request.method != "POST":
            raise Refused(405, {"error": "Method not allowed"})
        if not request.headers.get("content-length", "").isdecimal():
            raise Refused(411, {"error": "Content-Length header is required"})
        if len(request.body) > _LARGEST_COMPLETION:
            raise Refused(413, {"error": "Request body too large"})
        token_id, _, given = request.segments[-3:]
        if self._tokens.get(token_id) is None:
            raise Refused(404, {"error": "Waitpoint not found"})
        if not hmac.compare_digest(given.encode(), self._tokens.signature(token_id).encode()):
            raise Refused(401, {"error": "Invalid URL, hash doesn't match"})
        try:
            data = parse_json(request.body)
        except Refused:
            data = {}
        self._tokens.complete(token_id, output_of({"data": data}))
        return json_reply(200, {"success": True})

    def _create(self, body: Any, caller: Caller) -> Reply:
        problems = Problems()
        if not isinstance(body, dict):
            raise Refused(400, {"error": "Validation error: Expected object"})
        for name, kinds in _KINDS.items():
            if name in body:
                problems.expect(body[name], kinds, name)
        if "tags" in body:
            check_tags(body["tags"], problems, "tags")
        problems.refuse()
        tags = tags_of(body.get("tags", ()), "Waitpoints")
        token, cached = self._tokens.create(caller, body, tags)
        scopes = [f"write:waitpoints:{token.id}"]
        headers = token_headers(self._access, caller, scopes, _TOKEN_SECONDS, claims_scopes=False)
        return json_reply(200, {"id": token.id, "isCached": cached, "url": token.url}, headers)

    def _complete(self, request: RecordedRequest, token_id: str, caller: Caller) -> Reply:
        body = json_body(request, _LARGEST_COMPLETION)
        if self._tokens.get(token_id) is None:
            raise Refused(404, {"error": "Waitpoint not found"})
        caller.need("write", ("waitpoints", token_id))
        self._tokens.complete(token_id, output_of(body if isinstance(body, dict) else {}))
        return json_reply(200, {"success": True})

    def _retrieve(self, token_id: str, caller: Caller) -> Reply:
        token = self._tokens.get(token_id)
        if token is None or token.environment != caller.environment:
            # The server does not expect that.
            raise Refused(500, {"error": "Internal Server Error"})
        return json_reply(200, token.full_json())

    def _list(self, request: RecordedRequest, caller: Caller) -> Reply:
        query = request.query
        statuses, tags = chosen(query, "status"), chosen(query, "tags")
        if not _STATUSES.issuperset(statuses):
            raise query_error("filter[status]", "Invalid status values")
        key = query.get("filter[idempotencyKey]")
        start, end = window(query, time.time(), None)

        def matches(token: WaitToken) -> bool:
            return (
                token.environment == caller.environment
                and (not statuses or token.status in statuses)
                and (not tags or not set(tags).isdisjoint(token.tags))
                and (key is None or (token.user_key and token.idempotency_key == key))
                and start <= token.created_at <= end
            )

        found = [token for token in reversed(self._tokens.all()) if matches(token)]
        some, links = page(found, query, lambda token: token.id, _USUAL_SIZE)
        data = [token.json() for token in some]
        return json_reply(200, {"data": data, "pagination": links})
