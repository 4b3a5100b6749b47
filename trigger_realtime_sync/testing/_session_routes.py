"""Sessions by REST (docs/protocol.md, section R9)."""

from __future__ import annotations

import time
from typing import Any

from ._access import Access, Caller
from ._bodies import KIB, json_body
from ._durations import moment
from ._observer import RecordedRequest
from ._pages import chosen, page, query_error, window
from ._replies import Refused, Reply, json_reply
from ._sessions import Session, Sessions
from ._trigger_options import check_shape
from ._validation import Problems

_LARGEST_CREATION = 32 * KIB
# Seconds that a session's token lives.
_TOKEN_SECONDS = 3600
_USUAL_SIZE = 20
_LONGEST_TYPE = 64
_LONGEST_TASK = 128
_LONGEST_EXTERNAL_ID = 256
_LONGEST_REASON = 256
_MOST_TAGS = 10
_MOST_RUN_TAGS = 5
_MOST_ATTEMPTS = 10
_MOST_IDLE_SECONDS = 3600
_STATUSES = frozenset({"ACTIVE", "CLOSED", "EXPIRED"})


class SessionRoutes:
    """Starts, shows, changes and closes sessions."""

    def __init__(self, sessions: Sessions, access: Access) -> None:
        self._sessions = sessions
        self._access = access

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        if request.segments[:3] != ("api", "v1", "sessions"):
            return None
        caller.need_secret()
        self._sessions.check_storage()
        match request.method, *request.segments[3:]:
            case ["POST"]:
                return self._start(json_body(request, _LARGEST_CREATION), caller)
            case ["GET"]:
                return self._list(request, caller)
            case "GET", name:
                session = self._sessions.need(name, caller.environment)
                return json_reply(200, session.json())
            case "PATCH", name:
                session = self._sessions.need(name, caller.environment)
                return self._change(session, json_body(request))
            case "POST", name, "close":
                session = self._sessions.need(name, caller.environment)
                return self._close(session, json_body(request))
        return None

    def _start(self, body: Any, caller: Caller) -> Reply:
        body = _checked(body)
        session, cached = self._sessions.start(caller, body)
        scopes = [f"read:sessions:{session.name}", f"write:sessions:{session.name}"]
        token = self._access.mint(self._access.claims(caller, scopes), _TOKEN_SECONDS)
        more = {"runId": session.run_id, "publicAccessToken": token, "isCached": cached}
        return json_reply(200 if cached else 201, {**session.json(), **more})

    def _change(self, session: Session, body: Any) -> Reply:
        body = body if isinstance(body, dict) else {}
        problems = Problems()
        if "tags" in body:
            _check_tags(body["tags"], _MOST_TAGS, problems, "tags")
        if body.get("metadata") is not None:
            problems.expect(body["metadata"], "object", "metadata")
        problems.refuse()
        with self._sessions.lock:
            if "tags" in body:
                session.tags = tuple(body["tags"])
            if "metadata" in body:
                session.metadata = body["metadata"]
            session.updated_at = time.time()
        return json_reply(200, session.json())

    def _close(self, session: Session, body: Any) -> Reply:
        reason = body.get("reason") if isinstance(body, dict) else None
        problems = Problems()
        if reason is not None:
            problems.expect_text(reason, _LONGEST_REASON, "reason")
        problems.refuse()
        self._sessions.close(session, reason)
        return json_reply(200, session.json())

    def _list(self, request: RecordedRequest, caller: Caller) -> Reply:
        query = request.query
        start, end = window(query, time.time(), None)
        types, tags, tasks = (chosen(query, name) for name in ("type", "tags", "taskIdentifier"))
        statuses, external_id = chosen(query, "status"), query.get("filter[externalId]")
        if not _STATUSES.issuperset(statuses):
            raise query_error("filter[status]", "Invalid status values")

        def matches(one: Session) -> bool:
            return (
                one.environment == caller.environment
                and (not types or one.type in types)
                and (not tags or not set(tags).isdisjoint(one.tags))
                and (not tasks or one.task in tasks)
                and (not statuses or one.status in statuses)
                and (external_id is None or one.external_id == external_id)
                and start <= one.created_at <= end
            )

        found = [one for one in self._sessions.all() if matches(one)]
        some, links = page(found, query, lambda one: one.id, _USUAL_SIZE)
        return json_reply(200, {"data": [one.listed_json() for one in some], "pagination": links})


def _checked(body: Any) -> dict[str, Any]:
    """Return the body of a start that has the right shape, with its time as epoch seconds."""
    problems = Problems()
    if not isinstance(body, dict):
        raise Refused(400, {"error": "Validation error: Expected object"})
    problems.expect_text(body.get("type", ...), _LONGEST_TYPE, "type")
    problems.expect_text(body.get("taskIdentifier", ...), _LONGEST_TASK, "taskIdentifier")
    if "externalId" in body:
        _check_external_id(body["externalId"], problems)
    if "tags" in body:
        _check_tags(body["tags"], _MOST_TAGS, problems, "tags")
    if "metadata" in body:
        problems.expect(body["metadata"], "object", "metadata")
    if problems.expect(body.get("triggerConfig", ...), "object", "triggerConfig"):
        _check_config(body["triggerConfig"], problems)
    expires = moment(body["expiresAt"]) if "expiresAt" in body else None
    if "expiresAt" in body and expires is None:
        problems.add("Invalid date", "expiresAt")
    problems.refuse()
    return {**body, "expiresAt": expires}


def _check_external_id(value: Any, problems: Problems) -> None:
    problems.expect_text(value, _LONGEST_EXTERNAL_ID, "externalId")
    if value == "":
        problems.add("String must contain at least 1 character(s)", "externalId")
    if str(value).startswith("session_"):
        problems.add("externalId cannot start with 'session_'", "externalId")


def _check_tags(tags: Any, most: int, problems: Problems, path: str) -> None:
    if not problems.expect(tags, "array", path):
        return
    if len(tags) > most:
        problems.add(f"Array must contain at most {most} element(s)", path)
    for number, tag in enumerate(tags):
        problems.expect_text(tag, 128, f"{path}[{number}]")


def _check_config(config: dict[str, Any], problems: Problems) -> None:
    path = "triggerConfig"
    problems.expect(config.get("basePayload", ...), "object", f"{path}.basePayload")
    if "tags" in config:
        _check_tags(config["tags"], _MOST_RUN_TAGS, problems, f"{path}.tags")
    if "queue" in config:
        problems.expect_text(config["queue"], 128, f"{path}.queue")
    bounds = {"maxAttempts": _MOST_ATTEMPTS, "idleTimeoutInSeconds": _MOST_IDLE_SECONDS}
    for name, most in {**bounds, "maxDuration": None}.items():
        if name in config:
            problems.expect_natural(config[name], f"{path}.{name}", least=1, most=most)
    rest = {name: config[name] for name in ("machine", "region", "lockToVersion") if name in config}
    check_shape(rest, problems, path)
