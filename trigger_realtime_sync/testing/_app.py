"""Requests in, answers out: who may ask, what for, and how each endpoint answers."""

from __future__ import annotations

import base64
import gzip
import json
import re
import time
from typing import Any

import attrs

from ._faults import Fault, Faults
from ._http_server import HttpExchange
from ._observer import Observer, RecordedRequest
from ._rest import Rest
from ._rows import COLUMNS, NEVER_SKIPPED, schema
from ._rows import Backend as BackendName
from ._shapes import Answer, Backend, Position, Shape, dump
from ._store import Store
from ._streams import Streams

_DAY_MS = 86_400_000
_UNIT_MS = {"w": 7 * _DAY_MS, "d": _DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1000}
_FORBIDDEN_IN_TAGS = re.compile(r'[\x00-\x1f\x7f\\"]')


@attrs.define
class Access:
    """Which tokens are good. Changed by the owner while requests are answered."""

    tokens: set[str] | None
    forbidden: set[str] = attrs.field(factory=set)
    revoked: set[str] = attrs.field(factory=set)

    def authenticates(self, token: str | None) -> bool:
        if not token or token in self.revoked:
            return False
        return self.tokens is None or token in self.tokens or token in self.forbidden


@attrs.define
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Refused(Exception):
    """The request ends with this answer."""

    def __init__(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.reply = json_reply(status, value, headers)


def json_reply(status: int, value: Any, headers: dict[str, str] | None = None) -> Reply:
    kind = {"content-type": "application/json; charset=utf-8"}
    return Reply(status, {**kind, **(headers or {})}, dump(value))


@attrs.define
class App:
    """Answers one exchange at a time, on the thread of its connection."""

    name: BackendName
    store: Store
    backend: Backend
    streams: Streams
    rest: Rest
    access: Access
    faults: Faults
    observer: Observer
    hold: float
    use_204: bool

    def answer(self, exchange: HttpExchange) -> None:
        self.observer.saw(exchange.request)
        fault = self.faults.take(exchange.request)
        if fault is None:
            self._respond(exchange, None)
            return
        exchange.cut_at, exchange.cut_body_at = fault.cut_at, fault.cut_body_at
        exchange.drop_headers = fault.drop_headers
        if fault.after_hold and exchange.request.live:
            self._respond(exchange, fault)
        else:
            self._fail_first(exchange, fault)

    def _fail_first(self, exchange: HttpExchange, fault: Fault) -> None:
        replacement = _strike(exchange, fault)
        if replacement is not None:
            _send(exchange, replacement)
        else:
            self._respond(exchange, fault)

    def _respond(self, exchange: HttpExchange, fault: Fault | None) -> None:
        try:
            reply = self._route(exchange, fault)
        except Refused as refused:
            reply = refused.reply
        if reply is None:
            return
        if fault is not None and fault.after_hold and exchange.request.live:
            reply = _strike(exchange, fault) or reply
        _send(exchange, reply)

    def _route(self, exchange: HttpExchange, fault: Fault | None) -> Reply | None:
        request = exchange.request
        if request.kind == "presigned":
            return Reply(*self.rest.presigned(request))
        token = self._authenticate(request)
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, {"error": "Method not allowed"})
        if request.kind in ("run", "runs", "batch"):
            shape = self._shape(request, token)
            self._authorize(token)
            return self._poll(exchange, shape, fault)
        if request.kind == "stream":
            return self._stream(exchange, token, fault)
        status, headers, body = self.rest.answer(request)
        self._authorize(token)
        return Reply(status, headers, body)

    # --- who asks

    def _authenticate(self, request: RecordedRequest) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.access.authenticates(token.strip()):
            return token.strip()
        raise Refused(401, {"error": "The API key is missing, unknown or no longer valid"})

    def _authorize(self, token: str) -> None:
        if token in self.access.forbidden:
            error = {"error": "The token does not cover this", "code": "unauthorized"}
            raise Refused(403, {**error, "param": "access_token", "type": "authorization"})

    # --- runs

    def _shape(self, request: RecordedRequest, token: str) -> Shape:
        skipped = frozenset(_skipped(request, token) - NEVER_SKIPPED)
        if request.kind == "runs":
            return self._tag_shape(request, skipped)
        name = request.segments[-1]
        known = self.store.get(name) if request.kind == "run" else self.store.batches.get(name)
        if known is None:
            retry = "true" if request.kind == "batch" else "false"
            raise Refused(404, {"error": "Not found"}, {"x-should-retry": retry})
        return Shape(request.kind, (request.kind, name), skipped=skipped)

    def _tag_shape(self, request: RecordedRequest, skipped: frozenset[str]) -> Shape:
        tags = request.query.get("tags", "").split(",")
        if not all(tags) or any(_FORBIDDEN_IN_TAGS.search(tag) for tag in tags):
            error = {"code": "custom", "path": ["tags"], "message": "Not a list of tags"}
            raise Refused(400, {"error": "Query Error", "details": [error]})
        period = _period_ms(request.query.get("createdAt"), self.name)
        return Shape("runs", ("tag", tags[0]), frozenset(tags), period, skipped)

    def _poll(self, exchange: HttpExchange, shape: Shape, fault: Fault | None) -> Reply:
        request = exchange.request
        at = Position(
            offset=request.query.get("offset", "-1"),
            handle=request.query.get("handle") or request.query.get("shape_id") or None,
            live=request.live,
        )
        answer = self._read(exchange, shape, at, fault)
        return self._shape_reply(request, shape, answer)

    def _read(
        self, exchange: HttpExchange, shape: Shape, at: Position, fault: Fault | None
    ) -> Answer:
        stale = fault is not None and fault.stale
        # A fault on a live poll strikes at once, unless it was asked to wait for the news.
        hold = self.hold if fault is None or fault.after_hold else 0.0
        answer = self.backend.read(shape, at, stale=stale)
        if answer is None and hold > 0:
            answer = self._held(exchange, shape, at, hold)
        return answer if answer is not None else self.backend.idle(shape, at)

    def _held(
        self, exchange: HttpExchange, shape: Shape, at: Position, hold: float
    ) -> Answer | None:
        end = time.monotonic() + hold
        with self.store.waiting(shape.subject) as waiter:
            answer = self.backend.read(shape, at)
            if answer is not None:
                return answer
            with exchange.watched(waiter), self.observer.holding(exchange.request):
                while answer is None and (left := end - time.monotonic()) > 0:
                    exchange.wait(waiter, left)
                    answer = self.backend.read(shape, at)
        return answer

    def _shape_reply(self, request: RecordedRequest, shape: Shape, answer: Answer) -> Reply:
        headers = {
            "content-type": "application/json",
            "cache-control": "no-store",
            "access-control-allow-origin": "*",
            "access-control-expose-headers": "*",
        }
        old_names = "x-trigger-electric-version" not in request.headers
        if answer.handle is not None:
            headers["electric-shape-id" if old_names else "electric-handle"] = answer.handle
        if answer.offset is not None:
            name = "electric-chunk-last-offset" if old_names else "electric-offset"
            headers[name] = answer.offset
        if answer.status != 200:
            return Reply(answer.status, headers, answer.body)
        if answer.complete:
            # Its presence says it all. Without it the official client fetches ahead for ever.
            headers["electric-up-to-date"] = ""
        if request.live:
            idle = answer.offset == request.query.get("offset")
            headers["electric-cursor"] = str(self.store.tick() if idle else self.store.seq)
        else:
            columns = [*COLUMNS, *self.store.extra_columns]
            shown = [name for name in columns if name not in shape.skipped]
            headers["electric-schema"] = schema(shown, self.name)
        if self.use_204 and answer.body.count(b'"headers"') == 1 and b'"up-to-date"' in answer.body:
            return Reply(204, headers, b"")
        body = answer.body
        if "x-trigger-api-version" not in request.headers:
            # Clients from before this status existed. Quotes inside a value are escaped.
            body = body.replace(b'"status":"DEQUEUED"', b'"status":"EXECUTING"')
        return Reply(200, headers, body)

    # --- streams

    def _stream(self, exchange: HttpExchange, token: str, fault: Fault | None) -> Reply | None:
        run_id, key = exchange.request.segments[-2:]
        if self.store.get(run_id) is None:
            raise Refused(404, {"error": "Not found"}, {"x-should-retry": "false"})
        self._authorize(token)
        refusal = self.streams.serve(exchange, run_id, key)
        return Reply(*refusal) if refusal is not None else None


def _strike(exchange: HttpExchange, fault: Fault) -> Reply | None:
    """Let the fault happen; what it answers, if it answers."""
    if fault.delay:
        exchange.pause(fault.delay)
    if fault.stall is not None:
        exchange.pause(fault.stall)
    if fault.reset or fault.stall is not None:
        exchange.reset()
    return Reply(*fault.replacement()) if fault.replaces else None


def _send(exchange: HttpExchange, reply: Reply) -> None:
    headers, body = dict(reply.headers), reply.body
    accepted = exchange.request.headers.get("accept-encoding", "")
    if body and "gzip" in accepted and reply.headers.get("content-type", "").startswith(_JSON):
        body = gzip.compress(body, 1, mtime=0)
        headers["content-encoding"] = "gzip"
        headers["vary"] = "Accept-Encoding"
    exchange.reply(reply.status, headers, body)


_JSON = "application/json"


def _skipped(request: RecordedRequest, token: str) -> set[str]:
    claimed = _claimed_columns(token)
    if claimed is not None:
        return claimed
    return {name.strip() for name in request.query.get("skipColumns", "").split(",")}


def _claimed_columns(token: str) -> set[str] | None:
    # The claim `realtime.skipColumns` of a public access token replaces the query's columns.
    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
        columns = claims["realtime"]["skipColumns"]
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return set(map(str, columns)) if isinstance(columns, list) else None


def _period_ms(text: str | None, backend: BackendName) -> int | None:
    if text is None:
        return _DAY_MS
    if not re.fullmatch(r"(\d{1,9}(w|d|hr|h|m|s))+", text):
        # Not rejected: native falls back to a day, Electric to no bound at all.
        return _DAY_MS if backend == "native" else None
    parts = re.findall(r"(\d+)(w|d|hr|h|m|s)", text)
    return min(_DAY_MS, sum(int(count) * _UNIT_MS[unit[0]] for count, unit in parts))
