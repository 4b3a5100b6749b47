"""Sessions of chat agents: what the server keeps of them (docs/protocol.md, section R9)."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any

import attrs

from ._access import Caller, Resource
from ._control import RunControl
from ._payloads import stored
from ._replies import Refused
from ._run_life import FINISHED
from ._stream_logs import StreamLogs, StreamName
from ._triggers import Ask, Triggers
from ._wait_tokens import iso

# The options of a session's runs that have another name in a trigger, or the same.
_RUN_OPTIONS = ("machine", "maxAttempts", "maxDuration", "lockToVersion", "region", "ttl", "tags")


@attrs.define(kw_only=True)
class Session:
    """A session. Times are epoch seconds."""

    id: str
    environment: str
    external_id: str | None
    type: str
    task: str
    config: dict[str, Any]
    tags: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None
    run_id: str = ""
    expires_at: float | None = None
    closed_at: float | None = None
    closed_reason: str | None = None
    created_at: float = attrs.field(factory=time.time)
    updated_at: float = attrs.field(factory=time.time)
    # The number of each part that came with an id of its own, by channel and id.
    parts: dict[tuple[str, str], int] = attrs.field(factory=dict, repr=False)

    @property
    def name(self) -> str:
        """What its channels and tokens are named after."""
        return self.external_id or self.id

    @property
    def resources(self) -> list[Resource]:
        return [("sessions", self.id), ("sessions", self.name)]

    @property
    def status(self) -> str:
        if self.closed_at is not None:
            return "CLOSED"
        expired = self.expires_at is not None and self.expires_at <= time.time()
        return "EXPIRED" if expired else "ACTIVE"

    def listed_json(self) -> dict[str, Any]:
        """The session as a list shows it."""
        return {
            "id": self.id,
            "externalId": self.external_id,
            "type": self.type,
            "taskIdentifier": self.task,
            "tags": list(self.tags),
            "metadata": self.metadata,
            "closedAt": iso(self.closed_at),
            "closedReason": self.closed_reason,
            "expiresAt": iso(self.expires_at),
            "createdAt": iso(self.created_at),
            "updatedAt": iso(self.updated_at),
        }

    def json(self) -> dict[str, Any]:
        """The session as it is retrieved."""
        return {**self.listed_json(), "triggerConfig": self.config, "currentRunId": self.run_id}


def channel_of(name: str, io: str, channel: str | None = None) -> StreamName:
    """Return the stream of a session's channel. No run has such an id."""
    return f"session {name}", io if channel is None else f"channels/{channel}/{io}"


class Sessions:
    """The sessions of one server. Safe from any thread."""

    def __init__(self, runs: RunControl, triggers: Triggers, logs: StreamLogs) -> None:
        self._store = runs._store
        self._triggers = triggers
        self.logs = logs
        # Protects the sessions; taken before the store's.
        self.lock = threading.RLock()
        self._sessions: dict[str, Session] = {}

    def check_storage(self) -> None:
        """Refuse what needs S2 where there is none.

        Raises:
            Refused: with a 501.
        """
        if self.logs.version != "v2":
            message = "Session channels require the S2 realtime streams backend"
            raise Refused(501, {"error": message})

    def find(self, name: str, environment: str) -> Session | None:
        """Return the session with that id, or that external id."""
        with self.lock:
            for session in self._sessions.values():
                if session.environment == environment and name in (session.id, session.external_id):
                    return session
        return None

    def need(self, name: str, environment: str) -> Session:
        """Return the session.

        Raises:
            Refused: there is none.
        """
        session = self.find(name, environment)
        if session is None:
            raise Refused(404, {"error": "Session not found"})
        return session

    def all(self) -> list[Session]:
        """Return the sessions, newest first."""
        with self.lock:
            return list(self._sessions.values())[::-1]

    def start(self, caller: Caller, body: Mapping[str, Any]) -> tuple[Session, bool]:
        """Return the session, with a run that is alive, and whether it was there already.

        Raises:
            Refused: it is closed or has expired.
        """
        with self.lock:
            external_id = body.get("externalId")
            found = self.find(external_id, caller.environment) if external_id else None
            if found is None:
                session = _new(caller, body)
                self._sessions[session.id] = session
            else:
                session = found
                if session.status != "ACTIVE":
                    message = f"Session is {session.status.lower()}"
                    raise Refused(409, {"error": message})
            self.ensure_run(session, caller)
            return session, found is not None

    def ensure_run(self, session: Session, caller: Caller) -> None:
        """Start a new run of the session if none is alive."""
        if self.is_alive(session):
            return
        config = session.config
        options = {name: config[name] for name in _RUN_OPTIONS if name in config}
        if "queue" in config:
            options["queue"] = {"name": config["queue"]}
        packet = stored({"payload": config["basePayload"]}, "application/json")
        # Whoever appends, the run is the session's.
        owner = Caller(caller.token, session.environment)
        ask = Ask(task=session.task, packet=packet, options=options, caller=owner)
        session.run_id = self._triggers.trigger(ask).run_id

    def is_alive(self, session: Session) -> bool:
        """Return True if the session has a run that is not finished."""
        state = self._store.get(session.run_id)
        return state is not None and state.row["status"] not in FINISHED

    def close(self, session: Session, reason: str | None) -> None:
        """Close the session, once: its agent, if there is one, tells those who read."""
        with self.lock:
            if session.closed_at is not None:
                return
            session.closed_at = session.updated_at = time.time()
            session.closed_reason = reason
            headers = [["session-closed-reason", reason]] if reason else []
            if self.is_alive(session):
                self.control(session.name, "session-closed", headers)

    # --- channels

    def append(self, session: Session, stream: StreamName, text: str, part_id: str | None) -> int:
        """Write a text, unless its part id was written before. Return its number."""
        with self.lock:
            key = (stream[1], part_id or secrets.token_hex(8))
            if key not in session.parts:
                body = {"data": text, "id": key[1]}
                (session.parts[key],) = self.logs.write(stream, [{"body": body}])
            return session.parts[key]

    def control(self, name: str, subtype: str, headers: list[list[str]]) -> int:
        """Write a control record, which has no body, to `out`. Return its number."""
        record = {"headers": [["trigger-control", subtype], *headers]}
        return self.logs.write(channel_of(name, "out"), [record])[0]


def _new(caller: Caller, body: Mapping[str, Any]) -> Session:
    return Session(
        id=f"session_{secrets.token_hex(12)}",
        environment=caller.environment,
        external_id=body.get("externalId"),
        type=body["type"],
        task=body["taskIdentifier"],
        config=dict(body["triggerConfig"]),
        tags=tuple(body.get("tags", ())),
        metadata=body.get("metadata"),
        expires_at=body.get("expiresAt"),
    )
