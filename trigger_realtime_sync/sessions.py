"""`client.sessions`: chats with agents, over any number of runs.

Source: docs/protocol.md, section R9.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ._calls.calls import BoundedCalls, Calls
from ._calls.request import Repeat, Reply, Request
from ._checks import check_id
from ._clock import monotonic
from ._decode.rest_run import Document, moment, text, texts
from ._encode.json import dumps
from ._encode.options import check_name
from ._encode.session import (
    LONGEST_REASON,
    check_part_id,
    message_body,
    run_config,
    start_body,
)
from ._feeds.session_feed import NOT_IMPLEMENTED, without_s2
from ._http.retry import UnreadableAnswer
from ._http.tokens import Token
from ._wire.names import PART_ID, SESSIONS_PATH, channel_path, session_path
from ._wire.sent_number import SentNumber
from .errors import ApiError, ConflictError
from .handles import task_identifier
from .lists import page_query, read_page, several, single, time_query
from .models import Task
from .pages import Page

if TYPE_CHECKING:
    from ._encode.options import Machine

__all__ = ["Session", "Sessions"]

ReadT = TypeVar("ReadT")


@attrs.frozen(kw_only=True)
class Session:
    """A session: a chat with an agent, which runs while there is something to answer.

    Attributes:
        id: the server's own (`session_…`).
        external_id: the user's own, by which it is found as well.
        type: what it was started with.
        task_identifier: of its agent.
        run_id: of the run that it has now; None in lists.
        public_access_token: good for reading this session and sending to it, for an hour; None
            unless it was just started.
        is_cached: whether an external id found a session that was started before.
        tags, metadata: of the session.
        closed_at: when it was closed, for good; None as long as it is not.
        closed_reason: what was given for it.
        expires_at: when it expires; None for never.
    """

    id: str
    external_id: str | None = None
    type: str = ""
    task_identifier: str = ""
    run_id: str | None = None
    public_access_token: str | None = attrs.field(default=None, repr=False)
    is_cached: bool = False
    tags: list[str] = attrs.field(factory=list, hash=False)
    metadata: dict[str, Any] | None = attrs.field(default=None, hash=False)
    closed_at: datetime | None = None
    closed_reason: str | None = None
    expires_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self.closed_at is not None


class Sessions:
    """The sessions of an environment. Every method takes `call_timeout`, seconds for the whole call
    instead of the client's, and `access_token`, instead of the client's; and raises an `ApiError`
    that the server answers, an `ApiConnectionError`, or a `ConfigurationError` where the server has
    no S2, and so no sessions.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def start(
        self,
        task: str | Task[Any, Any],
        *,
        type: str = "chat",
        payload: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        tags: str | Iterable[str] = (),
        run_tags: str | Iterable[str] = (),
        version: str | None = None,
        region: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        machine: Machine | str | None = None,
        queue: str | None = None,
        max_attempts: int | None = None,
        max_duration: timedelta | float | None = None,
        idle_timeout: timedelta | float | None = None,
        expires_at: datetime | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> Session:
        """Start a session and its first run, or find the one that has this external id.

        Args:
            task: of the agent.
            type: a label of the user's own, of at most 64 characters.
            payload: what each of its runs gets, of JSON's own types. Not typed by the `Task`: an
                agent gets it within what the server adds.
            external_id: a name of the user's own, of at most 256 characters. With it a second
                attempt finds the first one's session; without one the request is never sent twice:
                see `may_have_happened` of the error.
            tags: of the session, up to ten.
            run_tags: of each of its runs, up to five.
            metadata: of the session.
            version, region, machine, queue, max_duration: of each run, as in `client.trigger`.
            max_attempts: of each run, up to ten.
            idle_timeout: how long a run waits for the next message, up to an hour: a timedelta or
                seconds.
            expires_at: an aware datetime.

        Raises:
            ValueError, TypeError: an argument can't work.
            ConflictError: the session was closed, or has expired.
        """
        body = start_body(
            task_identifier(task),
            kind=type,
            external_id=external_id,
            tags=tags,
            metadata=metadata,
            expires_at=expires_at,
            config=run_config(
                payload=payload,
                run_tags=run_tags,
                version=version,
                region=region,
                machine=machine,
                queue=queue,
                max_attempts=max_attempts,
                max_duration=max_duration,
                idle_timeout=idle_timeout,
            ),
        )
        request = Request(
            method="POST",
            path=SESSIONS_PATH,
            label="new session",
            body=body,
            repeat=Repeat.NEVER if external_id is None else Repeat.SAFE,
            is_final=lambda error: isinstance(error, ConflictError) or _lacks_s2(error),
        )
        return _send(self._calls.bounded(call_timeout, access_token), request, _read_session)

    def retrieve(
        self,
        session_id: str,
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> Session:
        """Return a session, by its id or its external id.

        Raises:
            NotFoundError: there is none.
        """
        check_id(session_id, "session_id")
        request = Request(
            method="GET",
            path=session_path(session_id),
            label=f"session {session_id}",
            is_final=_lacks_s2,
        )
        return _send(self._calls.bounded(call_timeout, access_token), request, _read_session)

    def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        type: str | Iterable[str] | None = None,
        tag: str | Iterable[str] | None = None,
        task: str | Task[Any, Any] | Iterable[str | Task[Any, Any]] | None = None,
        external_id: str | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        period: str | timedelta | None = None,
        page_size: int | None = None,
        after: str | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> Page[Session]:
        """Return the first page of the sessions, the newest first: iterate over it for all of them.

        Args:
            status: `"ACTIVE"`, `"CLOSED"` or `"EXPIRED"`, or several of them.
            type, tag, task: one, or several of which a session must have one.
            external_id: of one.
            created_from, created_to, period, page_size, after: as in `client.runs.list`; 20 are on
                a page by default, and without a time all are listed.

        Raises:
            ValueError: an argument can't work; a value with a comma is one.
        """
        tasks = [task] if isinstance(task, (str, Task)) else task
        identifiers = None if tasks is None else [task_identifier(one) for one in tasks]
        query = {
            **several("status", status, "filter[status]"),
            **several("type", type, "filter[type]"),
            **several("tag", tag, "filter[tags]"),
            **several("task", identifiers, "filter[taskIdentifier]"),
            **single("external_id", external_id, "filter[externalId]"),
            **time_query(created_from, created_to, period),
            **page_query(page_size, after),
        }
        calls = self._calls

        def turn(after: str | None) -> Page[Session]:
            request = Request(
                method="GET",
                path=SESSIONS_PATH,
                label="list of sessions",
                query=query if after is None else {**query, "page[after]": after},
                is_final=_lacks_s2,
            )
            items, following = _send(calls.bounded(call_timeout, access_token), request, read_page)
            return Page([_session(one) for one in items], following, turn)

        return turn(None)

    def close(
        self,
        session_id: str,
        reason: str | None = None,
        *,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> Session:
        """Close a session for good, and return it. One that is closed keeps its first reason.

        Args:
            reason: up to 256 characters.
        """
        check_id(session_id, "session_id")
        body = {} if reason is None else {"reason": check_name(reason, "reason", LONGEST_REASON)}
        request = Request(
            method="POST",
            path=f"{session_path(session_id)}/close",
            label=f"close of session {session_id}",
            body=dumps(body).encode(),
            is_final=_lacks_s2,
        )
        closed = _send(self._calls.bounded(call_timeout, access_token), request, _read_session)
        names = {session_id, closed.id, closed.external_id or closed.id}
        self._calls.engine.session_was_closed(self._calls.base_url, names)
        return closed

    def send(
        self,
        session_id: str,
        message: Any,
        *,
        channel: str | None = None,
        part_id: str | None = None,
        call_timeout: float | None = None,
        access_token: Token | None = None,
    ) -> int:
        """Send a message to the agent, which is started if it does not run. Return its number.

        Args:
            session_id: its id or its external id.
            message: a text goes as it is, anything else that JSON can hold as JSON. Whoever reads
                the messages, by `subscribe_to_session(…, "in")`, gets texts.
            channel: a side channel, where the server knows them.
            part_id: what makes it this message: another one with the same id is not written. One of
                its own by default, so that another attempt is no second message.

        The number counts the messages of the channel from 0; `updates(turn_of=number)` of a
        subscription ends with the turn that has taken it in.

        Raises:
            ValueError, TypeError: an argument can't work.
            BadRequestError: the session was closed, or has expired.
            NotFoundError: there is no such session.
        """
        check_id(session_id, "session_id")
        if channel is not None:
            check_id(channel, "channel")
        calls = self._calls
        bounded = calls.bounded(call_timeout, access_token)
        token = calls.engine.session_tokens.source(
            calls.base_url, session_id, bounded.caller.origin.token
        )
        request = Request(
            method="POST",
            path=f"{channel_path(session_id, 'in', channel)}/append",
            label=f"message to session {session_id}",
            body=message_body(message),
            headers={PART_ID: str(uuid.uuid4()) if part_id is None else check_part_id(part_id)},
            is_final=_lacks_s2,
        )
        began = monotonic()
        number = _send(bounded.with_token(token), request, _read_number)
        return SentNumber.of(number, began)


def _lacks_s2(error: ApiError) -> bool:
    return error.status == NOT_IMPLEMENTED


def _send(calls: BoundedCalls, request: Request, read: Callable[[Reply], ReadT]) -> ReadT:
    """Send a request.

    Raises:
        ConfigurationError: the server has no S2. For other errors see `Caller.call`.
    """
    try:
        return calls.send(request, read)
    except ApiError as error:
        if not _lacks_s2(error):
            raise
    raise without_s2(request.label)


def _read_number(reply: Reply) -> int:
    number = reply.json().get("seq")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise UnreadableAnswer(f"{reply.label}: the answer has no number")
    return number


def _read_session(reply: Reply) -> Session:
    document = reply.json()
    if text(document.get("id")) is None:
        raise UnreadableAnswer(f"{reply.label}: the answer has no id of a session")
    return _session(document)


def _session(document: Document) -> Session:
    metadata = document.get("metadata")
    return Session(
        id=text(document.get("id")) or "",
        external_id=text(document.get("externalId")),
        type=text(document.get("type")) or "",
        task_identifier=text(document.get("taskIdentifier")) or "",
        run_id=text(document.get("runId")) or text(document.get("currentRunId")),
        public_access_token=text(document.get("publicAccessToken")),
        is_cached=document.get("isCached") is True,
        tags=texts(document.get("tags")),
        metadata=metadata if isinstance(metadata, dict) else None,
        closed_at=moment(document.get("closedAt")),
        closed_reason=text(document.get("closedReason")),
        expires_at=moment(document.get("expiresAt")),
        created_at=moment(document.get("createdAt")),
        updated_at=moment(document.get("updatedAt")),
    )
