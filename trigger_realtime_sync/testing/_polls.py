"""Polls of the run feeds: the shape that is meant, the hold, and the headers of the answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from urllib.parse import quote

import attrs

from .._clock import monotonic
from ._access import Caller
from ._faults import Fault
from ._http_server import HttpExchange
from ._limits import Limits
from ._observer import Observer, RecordedRequest
from ._replies import Refused, Reply, not_found
from ._rows import COLUMNS, NEVER_SKIPPED, BackendName, schema
from ._shapes import Shape, ShapeAnswer, ShapeBackend, ShapePosition
from ._store import EVERY_RUN, Store, Subject

_DAY_MS = 86_400_000
_UNIT_MS = {"w": 7 * _DAY_MS, "d": _DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1000}
# Bytes of tags that make the URL of a request to Electric too long.
_MAX_TAGS_BYTES = 10_000
_FORBIDDEN_IN_TAGS = re.compile(r'[\x00-\x1f\x7f\\"]')
_HEADERS = {
    "content-type": "application/json",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "*",
}


@attrs.define
class ShapePolls:
    """Answers polls with what a backend says, and holds the live ones.

    Args:
        backend: may be replaced at any time, for the requests from then on.
        hold: seconds that a live poll is held.
        use_204: answer with 204 instead of `up-to-date` alone.
    """

    backend: ShapeBackend
    store: Store
    observer: Observer
    limits: Limits
    hold: float
    use_204: bool

    def shape(self, request: RecordedRequest, caller: Caller) -> Shape:
        """Return the shape that the request is about.

        Raises:
            Refused: there is no such run or batch, or the tags are malformed.
        """
        skipped = _skipped_columns(request, caller) - NEVER_SKIPPED
        if request.kind == "runs":
            return self._tag_shape(request, skipped)
        name = request.segments[-1]
        known = self.store.get(name) if request.kind == "run" else self.store.batches.get(name)
        if known is None or self.store.is_buffered(name):
            raise not_found(retry=request.kind == "batch")
        variant = request.query.get("replica", "")
        return Shape(request.kind, (request.kind, name), skipped=skipped, replica=variant)

    def resources(self, request: RecordedRequest) -> list[tuple[str, str | None]]:
        """Return what the scope of a public token may name to cover the request."""
        name = request.segments[-1]
        state = self.store.get(name) if request.kind == "run" else None
        if state is not None:
            return state.resources()
        if request.kind == "batch":
            return [("batch", name)]
        tags = request.query.get("tags", "")
        return [("runs", None), *(("tags", tag) for tag in tags.split(",") if tag)]

    def _tag_shape(self, request: RecordedRequest, skipped: frozenset[str]) -> Shape:
        asked = request.query.get("tags", "")
        tags = asked.split(",") if asked else []
        if not all(tags) or any(_FORBIDDEN_IN_TAGS.search(tag) for tag in tags):
            error = {"code": "custom", "path": ["tags"], "message": "Not a list of tags"}
            raise Refused(400, {"error": "Query Error", "details": [error]})
        if self.backend.name == "electric" and len(quote(asked)) > _MAX_TAGS_BYTES:
            raise Refused(414, {"error": "Request-URI too long"})
        period = _period_ms(request.query.get("createdAt"), self.backend.name)
        # Without tags: all runs of the environment.
        subject: Subject = ("tag", tags[0]) if tags else EVERY_RUN
        variant = request.query.get("replica", "")
        return Shape("runs", subject, frozenset(tags), period, skipped, variant)

    def answer(self, exchange: HttpExchange, shape: Shape, fault: Fault) -> Reply:
        """Return the answer to a poll.

        Raises:
            Refused: there are too many requests.
        """
        request, backend = exchange.request, self.backend
        at = ShapePosition(
            offset=request.query.get("offset", "-1"),
            handle=request.query.get("handle") or request.query.get("shape_id") or None,
            live=request.live,
        )
        # A fault strikes a live poll at once, unless it is about the news.
        hold = backend.hold_seconds(self.hold) if fault.waits else 0.0
        with ExitStack() as places:
            if at.live and at.handle:
                places.enter_context(self.limits.live_poll())
            if backend.name == "electric":
                first = at.offset == "-1"
                places.enter_context(self.limits.electric_request(first=first, hold=hold))
            read = partial(backend.read, shape, stale=fault.stale, leave_out=fault.leave_out)
            answer = read(at)
            if answer is None and hold > 0:
                answer = self._hold(exchange, shape, at, read, hold)
            return self._reply(exchange.request, shape, backend, answer or backend.idle(shape, at))

    def _hold(
        self,
        exchange: HttpExchange,
        shape: Shape,
        at: ShapePosition,
        read: Callable[[ShapePosition], ShapeAnswer | None],
        hold: float,
    ) -> ShapeAnswer | None:
        end = monotonic() + hold
        with self.store.waiting(shape.subject) as waiter:
            answer = read(at)
            if answer is not None:
                return answer
            at = attrs.evolve(at, held=True)
            with exchange.watched(waiter), self.observer.holding(exchange.request):
                while answer is None and (left := end - monotonic()) > 0:
                    exchange.wait(waiter, left)
                    answer = read(at)
        return answer

    def _reply(
        self, request: RecordedRequest, shape: Shape, backend: ShapeBackend, answer: ShapeAnswer
    ) -> Reply:
        headers = {**_HEADERS, "cache-control": "no-store", **answer.headers}
        headers.update(_position_headers(request, answer))
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
            headers["electric-schema"] = schema(shown, backend.name)
        if self.use_204 and answer.body.count(b'"headers"') == 1 and b'"up-to-date"' in answer.body:
            return Reply(204, headers, b"")
        body = answer.body
        if "x-trigger-api-version" not in request.headers:
            # Clients from before this status existed. Quotes inside a value are escaped.
            body = body.replace(b'"status":"DEQUEUED"', b'"status":"EXECUTING"')
        return Reply(200, headers, body)


def _position_headers(request: RecordedRequest, answer: ShapeAnswer) -> dict[str, str]:
    handle, offset = "electric-handle", "electric-offset"
    if "x-trigger-electric-version" not in request.headers:
        handle, offset = "electric-shape-id", "electric-chunk-last-offset"
    headers = {handle: answer.handle, offset: answer.offset}
    return {name: text for name, text in headers.items() if text is not None}


def _skipped_columns(request: RecordedRequest, caller: Caller) -> frozenset[str]:
    if caller.skip_columns is not None:
        return caller.skip_columns
    return frozenset(name.strip() for name in request.query.get("skipColumns", "").split(","))


def _period_ms(text: str | None, backend: BackendName) -> int | None:
    if text is None:
        return _DAY_MS
    if not re.fullmatch(r"(\d{1,9}(w|d|hr|h|m|s))+", text):
        # Not rejected: native falls back to a day, Electric to no bound at all.
        return _DAY_MS if backend == "native" else None
    parts = re.findall(r"(\d+)(w|d|hr|h|m|s)", text)
    return min(_DAY_MS, sum(int(count) * _UNIT_MS[unit[0]] for count, unit in parts))
