"""The way of a request: its fault, its token, and the endpoint that answers it."""

from __future__ import annotations

import gzip

import attrs

from ._faults import Fault, Faults
from ._http_server import HttpExchange
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
    faults: Faults
    observer: Observer

    def answer(self, exchange: HttpExchange) -> None:
        self.observer.add_request(exchange.request)
        fault = self.faults.take(exchange.request)
        exchange.cut_at, exchange.cut_body_at = fault.cut_at, fault.cut_body_at
        exchange.drop_headers = fault.drop_headers
        exchange.silence = fault.silence
        late = fault.after_hold and exchange.request.live
        reply = None if late else _apply(fault, exchange)
        if reply is None:
            try:
                reply = self._route(exchange, fault)
            except Refused as refused:
                reply = refused.reply
        if late:
            reply = _apply(fault, exchange) or reply
        if reply is not None:
            _send(exchange, reply)

    def _route(self, exchange: HttpExchange, fault: Fault) -> Reply | None:
        # The feeds look for the run first: an unknown one is a 404 even for a forbidden token.
        request = exchange.request
        if request.kind == "presigned":
            return self.rest.presigned(request)
        token = self._authenticate(request)
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, {"error": "Method not allowed"})
        if request.kind in ("run", "runs", "batch"):
            shape = self.polls.shape(request, token)
            self._authorize(token)
            return self.polls.answer(exchange, shape, fault)
        if request.kind == "stream":
            stream = self.streams.find(request)
            self._authorize(token)
            return self.streams.serve(exchange, stream)
        self._authorize(token)
        return self.rest.answer(request)

    def _authenticate(self, request: RecordedRequest) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.access.authenticates(token.strip()):
            return token.strip()
        raise Refused(401, {"error": "The API key is missing, unknown or no longer valid"})

    def _authorize(self, token: str) -> None:
        if token in self.access.forbidden:
            error = {"error": "The token does not cover this", "code": "unauthorized"}
            raise Refused(403, {**error, "param": "access_token", "type": "authorization"})


def _apply(fault: Fault, exchange: HttpExchange) -> Reply | None:
    """Let the fault happen. Return the reply that replaces the real one, if there is one."""
    if fault.delay:
        exchange.pause(fault.delay)
    if fault.stall is not None:
        exchange.pause(fault.stall)
    if fault.reset or fault.stall is not None:
        exchange.reset()
    return fault.replacement()


def _send(exchange: HttpExchange, reply: Reply) -> None:
    headers, body = dict(reply.headers), reply.body
    accepted = exchange.request.headers.get("accept-encoding", "")
    is_json = headers.get("content-type", "").startswith("application/json")
    if body and is_json and "gzip" in accepted:
        body = gzip.compress(body, 1, mtime=0)
        headers["content-encoding"] = "gzip"
        headers["vary"] = "Accept-Encoding"
    exchange.reply(reply.status, headers, body)
