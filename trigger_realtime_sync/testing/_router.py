"""The way of a request: its fault, its token, and the endpoint that answers it."""

from __future__ import annotations

import gzip
from functools import partial
from urllib.parse import urlencode

import attrs

from ._access import Access, Caller
from ._api import Api
from ._cache import Cache
from ._faults import Fault, Faults
from ._http_server import ExchangeEnded, HttpExchange
from ._limits import Limits
from ._observer import Observer, RecordedRequest
from ._polls import ShapePolls
from ._replies import Refused, Reply, not_found
from ._session_channels import SessionChannels
from ._stream_events import StreamEvents


@attrs.define
class Router:
    """Answers each exchange on the thread of its connection."""

    polls: ShapePolls
    streams: StreamEvents
    sessions: SessionChannels
    api: Api
    access: Access
    limits: Limits
    cache: Cache | None
    faults: Faults
    observer: Observer

    def answer(self, exchange: HttpExchange) -> None:
        if not exchange.request.whole and exchange.request.kind != "batch_items":
            # Who has half a request does nothing.
            raise ExchangeEnded
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
            return self.api.presigned(request)
        if request.kind == "callback":
            return self.api.callback(request)
        caller = self.access.authenticate(request)
        self._check_environment(request, caller)
        if request.path.startswith("/api/"):
            return self.limits.check_api(request) or self.api.answer(request, caller)
        if request.kind == "session":
            return self.sessions.answer(exchange, caller)
        if request.kind == "input":
            return self.api.answer(request, caller)
        if request.method not in ("GET", "HEAD"):
            raise Refused(405, {"error": "Method not allowed"})
        if request.kind in ("run", "runs", "batch"):
            shape = self.polls.shape(request, caller)
            caller.need("read", *self.polls.resources(request))
            ask = partial(self.polls.answer, exchange, shape, fault)
            return ask() if self.cache is None else self.cache.answer(request, ask)
        if request.kind == "stream":
            stream = self.streams.find(request)
            caller.need("read", *self.polls.store.need(stream[0]).resources())
            return self.streams.serve(exchange, stream)
        raise Refused(404, {"error": "Not found"})

    def _check_environment(self, request: RecordedRequest, caller: Caller) -> None:
        """Refuse what is about a run of another environment, or branch, as if there were none."""
        match request.segments:
            case ("api" | "realtime", _, "runs" | "streams", run_id, *_):
                if not self.polls.store.is_in(caller.environment, run_id):
                    raise not_found(retry=request.path.startswith("/api/v3/"))


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
