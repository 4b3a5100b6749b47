"""The way of a request: its fault, its token, and the endpoint that answers it."""

from __future__ import annotations

import gzip
from functools import partial
from urllib.parse import urlencode

import attrs

from ._cache import Cache
from ._faults import Fault, Faults
from ._http_server import HttpExchange
from ._limits import Limits
from ._observer import Observer, RecordedRequest
from ._polls import ShapePolls
from ._replies import Refused, Reply
from ._rest import Rest
from ._stream_events import StreamEvents


@attrs.define
class Access:
    """Which tokens are good. The owner changes it while requests are answered."""

    tokens: set[str] | None
    forbidden: set[str] = attrs.field(factory=set)
    revoked: set[str] = attrs.field(factory=set)

    def authenticates(self, token: str) -> bool:
        """Return True if the token is known, whatever it covers."""
        if not token or token in self.revoked:
            return False
        return self.tokens is None or token in self.tokens or token in self.forbidden


@attrs.define
class Router:
    """Answers each exchange on the thread of its connection."""

    polls: ShapePolls
    streams: StreamEvents
    rest: Rest
    access: Access
    limits: Limits
    cache: Cache | None
    faults: Faults
    observer: Observer

    def answer(self, exchange: HttpExchange) -> None:
        self.observer.add_request(exchange.request)
        fault = self.faults.take(exchange.request)
        exchange.cut_at, exchange.cut_body_at = fault.cut_at, fault.cut_body_at
        exchange.drop_headers = fault.drop_headers
        late = _is_late(fault, exchange.request)
        exchange.silence = fault.silence
        reply = None if late else _apply(fault, exchange)
        if reply is None:
            try:
                reply = self._route(exchange, fault)
            except Refused as refused:
                reply = refused.reply
        if late:
            reply = _apply(fault, exchange) or reply
            if fault.lost and fault.replacement() is None:
                exchange.reset()
        if reply is not None:
            _send(exchange, reply, reframed=fault.reframed)

    def _route(self, exchange: HttpExchange, fault: Fault) -> Reply | None:
        # The feeds look for the run first: an unknown one is a 404 even for a forbidden token.
        request = exchange.request
        if request.path.startswith("/realtime/") and request.path.endswith("/"):
            return _without_slash(request)
        if request.kind == "presigned":
            return self.rest.presigned(request)
        token = self._authenticate(request)
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, {"error": "Method not allowed"})
        if request.kind in ("run", "runs", "batch"):
            shape = self.polls.shape(request, token)
            self._authorize(token)
            ask = partial(self.polls.answer, exchange, shape, fault)
            return ask() if self.cache is None else self.cache.answer(request, ask)
        if request.kind == "stream":
            stream = self.streams.find(request)
            self._authorize(token)
            return self.streams.serve(exchange, stream)
        self._authorize(token)
        refusal = self.limits.check_api() if request.kind == "api" else None
        return refusal or self.rest.answer(request)

    def _authenticate(self, request: RecordedRequest) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.access.authenticates(token.strip()):
            return token.strip()
        raise Refused(401, {"error": "The API key is missing, unknown or no longer valid"})

    def _authorize(self, token: str) -> None:
        if token in self.access.forbidden:
            error = {"error": "The token does not cover this", "code": "unauthorized"}
            raise Refused(403, {**error, "param": "access_token", "type": "authorization"})


def _is_late(fault: Fault, request: RecordedRequest) -> bool:
    """Return True if the backend answers first, and the fault befalls its answer."""
    return (fault.lost and request.kind != "stream") or (fault.after_hold and request.live)


def _without_slash(request: RecordedRequest) -> Reply:
    query = f"?{urlencode(request.query)}" if request.query else ""
    return Reply(301, {"location": request.path.rstrip("/") + query}, b"")


def _apply(fault: Fault, exchange: HttpExchange) -> Reply | None:
    """Let the fault happen. Return the reply that replaces the real one, if there is one."""
    if fault.delay:
        exchange.pause(fault.delay)
    if fault.stall is not None:
        exchange.pause(fault.stall)
    if fault.reset or fault.stall is not None:
        exchange.reset()
    return fault.replacement()


def _send(exchange: HttpExchange, reply: Reply, *, reframed: bool) -> None:
    headers, body = dict(reply.headers), reply.body
    accepted = exchange.request.headers.get("accept-encoding", "")
    is_json = headers.get("content-type", "").startswith("application/json")
    if body and is_json and "gzip" in accepted:
        body = gzip.compress(body, 1, mtime=0)
        headers["content-encoding"] = "gzip"
        headers["vary"] = "Accept-Encoding"
    if reframed:
        body, exchange.cut_body_at = body[: exchange.cut_body_at], None
    exchange.reply(reply.status, headers, body)
