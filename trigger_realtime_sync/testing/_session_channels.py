"""The channels of sessions: appends, and streams in the format of v2.

docs/protocol.md, sections 4 and R9.
"""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from ._access import Caller
from ._bodies import MIB, check_size
from ._http_server import HttpExchange
from ._observer import Observer, RecordedRequest
from ._replies import Refused, Reply, json_reply, plain_text, to_json
from ._sessions import Session, Sessions, channel_of
from ._settings import RoundTrip
from ._store import Store
from ._stream_body import StreamOptions, StreamRequest
from ._stream_logs import StreamName
from ._stream_v2 import StreamV2

_LARGEST_PART = MIB
_MAX_TIMEOUT = 600
_ENDS = ("in", "out")


@attrs.frozen
class SessionChannels:
    """Answers everything under `/realtime/v1/sessions/`."""

    sessions: Sessions
    store: Store
    observer: Observer
    options: StreamOptions
    settings: RoundTrip

    def answer(self, exchange: HttpExchange, caller: Caller) -> Reply | None:
        """Return the answer; None if it was a stream.

        Raises:
            Refused: with an error.
        """
        request = exchange.request
        name, channel, io, rest = self._place(request)
        self.sessions.check_storage()
        match request.method, *rest:
            case "POST", "append":
                return self._append(request, caller, name, channel, io)
            case "GET", "records":
                stream = self._readable(name, channel, io, caller)
                return self._records(request, stream)
            case ["GET"]:
                stream = self._readable(name, channel, io, caller)
                return self._stream(exchange, stream)
        raise Refused(404, {"error": "Not found"})

    def _place(self, request: RecordedRequest) -> tuple[str, str | None, str, list[str]]:
        """Return the session's name, the side channel, its end, and what follows."""
        match request.segments[3:]:
            case name, ("in" | "out") as io, *rest:
                return name, None, io, rest
            case name, "channels", channel, ("in" | "out") as io, *rest:
                # Only servers after 4.5.12 have them.
                if self.settings.session_channels:
                    return name, channel, io, rest
        raise Refused(404, {"error": "Not found"})

    # --- reading

    def _readable(self, name: str, channel: str | None, io: str, caller: Caller) -> StreamName:
        """Return a channel: of an external id that nobody has used yet, an empty one."""
        session = self.sessions.find(name, caller.environment)
        if session is None:
            if name.startswith("session_"):
                raise Refused(404, {"error": "Session not found"})
            caller.need("read", ("sessions", name))
            return channel_of(name, io, channel)
        caller.need("read", *session.resources)
        return channel_of(session.name, io, channel)

    def _stream(self, exchange: HttpExchange, stream: StreamName) -> Reply | None:
        headers = exchange.request.headers
        text = headers.get("timeout-seconds")
        if text is not None and not re.fullmatch(r"[0-9]{1,3}", text):
            return plain_text(400, "Timeout seconds must be a whole number")
        if text is not None and not 1 <= int(text) <= _MAX_TIMEOUT:
            return plain_text(400, f"Timeout seconds must be between 1 and {_MAX_TIMEOUT}")
        settled = headers.get("x-peek-settled") == "1" and self._is_settled(stream)
        request = StreamRequest(
            exchange=exchange,
            stream=stream,
            logs=self.sessions.logs,
            store=self.store,
            observer=self.observer,
            options=self.options,
            # What is left, and then the end.
            timeout=0.0 if settled else float(text) if text else None,
            last_event_id=headers.get("last-event-id", ""),
            latest=False,
            more_headers={"x-session-settled": "true"} if settled else {},
        )
        return StreamV2(request).run()

    def _is_settled(self, stream: StreamName) -> bool:
        """Return True if a turn's end is the last record but commands."""
        for record in reversed(self._all(stream)):
            names = [header[0] for header in record.get("headers", [])]
            if names[:1] != [""]:
                return ["trigger-control", "turn-complete"] in record.get("headers", [])
        return False

    def _records(self, request: RecordedRequest, stream: StreamName) -> Reply:
        after = request.query.get("afterEventId", "")
        start = int(after) + 1 if after.isdecimal() else 0
        found = [one for one in self._all(stream) if one["seq_num"] >= start]
        return json_reply(200, {"records": [_shown(one) for one in found]})

    def _all(self, stream: StreamName) -> list[dict[str, Any]]:
        return self.sessions.logs.records(stream)

    # --- writing

    def _append(
        self, request: RecordedRequest, caller: Caller, name: str, channel: str | None, io: str
    ) -> Reply:
        check_size(request, _LARGEST_PART)
        session = self.sessions.need(name, caller.environment)
        caller.need("write", *session.resources)
        if io == "out" and caller.public:
            raise Refused(403, {"ok": False, "error": "Only the agent writes to out"})
        _check_open(session)
        text = request.body.decode("utf-8", "replace")
        if len(to_json(to_json({"data": text}).decode())) > _LARGEST_PART:
            raise Refused(413, {"ok": False, "error": "Request body too large"})
        stream = channel_of(session.name, io, channel)
        seq = self.sessions.append(session, stream, text, request.headers.get("x-part-id"))
        if io == "in":
            with self.sessions.lock:
                self.sessions.ensure_run(session, caller)
        return json_reply(200, {"ok": True, "seq": seq})


def _check_open(session: Session) -> None:
    if session.status == "CLOSED":
        raise Refused(400, {"ok": False, "error": "Cannot append to a closed session"})
    if session.status == "EXPIRED":
        raise Refused(400, {"ok": False, "error": "Cannot append to an expired session"})


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    try:
        body = json.loads(record.get("body") or "{}")
    except ValueError:
        body = {"data": record["body"]}
    shown = {"data": body.get("data"), "id": body.get("id", ""), "seqNum": record["seq_num"]}
    headers = {"headers": record["headers"]} if "headers" in record else {}
    return {**shown, **headers}
