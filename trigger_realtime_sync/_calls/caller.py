"""Sends the requests of a call, on the thread of whoever makes it, until its deadline."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import attrs

from .._clock import monotonic
from .._http.answer import Answer
from .._http.bell import Bell
from .._http.call import Call, Interrupted
from .._http.open_calls import OpenCalls
from .._http.requester import Origin
from .._http.retry import error_of
from .._http.tokens import CurrentToken
from .._wire import names as wire
from ..errors import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    CallTimeout,
    ClientClosed,
    PermissionDeniedError,
    ProtocolError,
    TriggerRealtimeError,
)
from .patience import Patience, may_have_been_done
from .request import Deadline, Reply, Request
from .spans import Spans
from .trace import trace_headers

ReadT = TypeVar("ReadT")

logger = logging.getLogger("trigger_realtime_sync")

# Seconds for which an attempt is waited for, unless the deadline is nearer: a server may be slow,
# and must not be asked again while it works.
LEAST_SILENCE = 30.0
MOST_REDIRECTS = 5
# Bytes of an error's body.
LONGEST_ERROR = 10_000
_REDIRECTS_KEPT = (307, 308)
# Headers that hold a token.
_SECRET_HEADERS = (wire.PUBLIC_TOKEN, "set-cookie")
# What an error of a storage is allowed to say.
_TIMES = ("date", "retry-after")


@attrs.frozen(kw_only=True)
class Caller:
    """Makes calls to one server, with one token. Safe from any thread.

    Attributes:
        origin: where to ask, with which token, and how often to try.
        open_calls: those of the client.
        spans: makes a span of each call; None for no spans.
    """

    origin: Origin
    open_calls: OpenCalls = attrs.field(repr=False)
    spans: Spans | None = attrs.field(default=None, repr=False)

    def call(self, request: Request, deadline: Deadline, read: Callable[[Reply], ReadT]) -> ReadT:
        """Return what is read from the answer to a request, which is sent again where that is safe
        and may help.

        Args:
            read: called with each success; raises UnreadableAnswer where it is none.

        Raises:
            ApiError: the server refused it.
            ApiConnectionError: the server can't be reached, or its answer was lost.
            CallTimeout: it was not answered by the deadline.
            ClientClosed: the client was closed.
            UnreadableAnswer: it answered something else.
        """
        if self.spans is None:
            return self._call(request, deadline, read)
        with self.spans.around(request, self.origin.base_url):
            return self._call(request, deadline, read)

    def _call(self, request: Request, deadline: Deadline, read: Callable[[Reply], ReadT]) -> ReadT:
        made = _Made(self.origin, request, deadline)
        with self.open_calls.making(made):
            try:
                return made.run(read)
            except TriggerRealtimeError as error:
                failure = _without_frames(error)
        raise failure

    def token(self, deadline: Deadline) -> str:
        """Return the token that a request would send now.

        Raises:
            ApiConnectionError, ConfigurationError: the function that should return it fails.
            ClientClosed: the client was closed.
        """
        made = _Made(self.origin, Request(method="", path="", label="access_token"), deadline)
        with self.open_calls.making(made):
            return made.token()


class _Made:
    """One call that is being made."""

    def __init__(self, origin: Origin, request: Request, deadline: Deadline) -> None:
        self._origin = origin
        self._request = request
        self._deadline = deadline
        self._patience = Patience(origin.retry, request.repeat, request.absent_until)
        self._call = Call()
        self._stopped = Bell()
        self._token = CurrentToken(origin.token, on_users_thread=True, ends_at=deadline.moment)
        self._headers = _headers_of(request, origin.preview_branch)
        self._silence = max(LEAST_SILENCE, origin.transport.timeouts.read)
        self._may_have_been_done = False
        self._sent_at = 0.0

    def stop(self) -> None:
        """End it at once. Safe from any thread, and in a signal handler."""
        self._stopped.ring()
        self._token.stop()
        self._call.interrupt()

    def run(self, read: Callable[[Reply], ReadT]) -> ReadT:
        """Return what is read from the answer; for errors see `Caller.call`."""
        while True:
            try:
                return read(self._attempt())
            except Interrupted:
                self._may_have_been_done |= self._call.connected
                raise self._closed() from None
            except TriggerRealtimeError as error:
                self._recover(error)

    def token(self) -> str:
        """Return the token alone; for errors see `Caller.token`."""
        while True:
            try:
                self._call.check()
                return self._token.take()
            except Interrupted:
                raise self._closed() from None
            except TriggerRealtimeError as error:
                self._recover(error)

    # One attempt.

    def _attempt(self) -> Reply:
        self._call.connected = False
        self._sent_at = monotonic()
        if self._request.presigned_url is not None:
            return self._upload(self._request.presigned_url)
        token = self._token.take()
        url = self._origin.base_url + self._request.path
        if self._request.query:
            url += f"?{urlencode(self._request.query)}"
        for _ in range(MOST_REDIRECTS + 1):
            with self._send(url, token) as answer:
                if 200 <= answer.status < 300:
                    self._token.accepted()
                    return self._reply(answer, token)
                target = _redirect_target(url, answer)
                if target is None:
                    raise self._refusal(answer)
                if answer.status not in _REDIRECTS_KEPT or not _is_same_host(url, target):
                    raise self._redirected(answer, target)
                url = target
        raise self._redirected(answer, url)

    def _upload(self, url: str) -> Reply:
        with self._send(url, None) as answer:
            if 200 <= answer.status < 300:
                return self._reply(answer)
            # Neither its body nor its headers, which may hold the URL; and no error of a token of
            # ours, which must not be renewed.
            headers = {name: answer.headers[name] for name in _TIMES if name in answer.headers}
            error = error_of(answer.status, headers, "", self._request.label, time.time())
            if isinstance(error, (AuthenticationError, PermissionDeniedError)):
                raise ApiError(str(error), status=error.status, headers=error.headers)
            raise error

    def _send(self, url: str, token: str | None) -> Answer:
        request = self._request
        if self._deadline.left <= 0:
            raise CallTimeout(f"{request.label}: not answered in time")
        self._sent_at = monotonic()
        return self._origin.transport.send(
            request.method,
            url,
            call=self._call,
            label=request.label,
            token=token,
            body=request.body,
            headers=self._headers,
            ends_at=self._deadline.moment,
            silence=self._silence,
        )

    def _reply(self, answer: Answer, token: str | None = None) -> Reply:
        chunks: list[bytes] = []
        self._limit_silence(answer)
        for chunk in answer.body_chunks():
            chunks.append(chunk)
            self._limit_silence(answer)
        label = self._request.label
        return Reply(answer.status, answer.headers, b"".join(chunks), label, token)

    def _limit_silence(self, answer: Answer) -> None:
        left = self._deadline.left
        if left <= 0:
            raise CallTimeout(f"{self._request.label}: the answer did not end in time")
        answer.set_silence(min(left, self._silence))

    # Failures.

    def _refusal(self, answer: Answer) -> ApiError:
        text = self._call.mask.hide(self._text(answer))
        label = self._request.label
        return error_of(answer.status, self._shown(answer), text, label, time.time())

    def _text(self, answer: Answer) -> str:
        """Return the start of an error's body, as far as it can be read: its status says what
        counts."""
        start = bytearray()
        try:
            self._limit_silence(answer)
            for chunk in answer.chunks():
                start += chunk
                if len(start) > LONGEST_ERROR:
                    break
                self._limit_silence(answer)
        except (ApiConnectionError, ProtocolError):
            pass
        return start[:LONGEST_ERROR].decode("utf-8", "replace")

    def _shown(self, answer: Answer) -> dict[str, str]:
        hide = self._call.mask.hide
        return {
            hide(name): hide(text)
            for name, text in answer.headers.items()
            if name not in _SECRET_HEADERS
        }

    def _redirected(self, answer: Answer, target: str) -> ApiError:
        where = self._call.mask.hide(_where(target))
        return ApiError(
            f"{self._request.label}: HTTP {answer.status}: the server redirects to {where}, which"
            f" is not followed: set base_url to where the API is",
            status=answer.status,
        )

    def _recover(self, error: TriggerRealtimeError) -> None:
        """Wait until the next attempt is due.

        Raises:
            TriggerRealtimeError: the error, if there is none.
        """
        sent = self._call.connected
        self._may_have_been_done |= may_have_been_done(error, sent=sent)
        try:
            if self._token.renew_after(error):
                return
        except Interrupted:
            raise self._closed() from None
        except TriggerRealtimeError as failure:
            # Nothing was sent since the server refused the token.
            error, sent = failure, False
        if self._deadline.left <= 0 and isinstance(error, ApiConnectionError):
            if not isinstance(error, CallTimeout):
                error = CallTimeout(f"{error}; its time is up")
            raise self._marked(error) from error.__cause__
        if isinstance(error, ApiError) and self._request.is_final(error):
            raise self._marked(error)
        wait = self._patience.wait_after(error, sent=sent, sent_at=self._sent_at, now=monotonic())
        if wait is None or wait >= self._deadline.left:
            raise self._marked(error)
        failures = self._patience.failures
        logger.log(
            logging.WARNING if failures == 1 else logging.INFO,
            "%s; trying again in %.1f s",
            error,
            wait,
            extra={"target": self._request.label, "attempt": failures},
        )
        if self._stopped.wait(wait):
            raise self._closed()

    def _closed(self) -> TriggerRealtimeError:
        return self._marked(ClientClosed("the client is closed"))

    def _marked(self, error: TriggerRealtimeError) -> TriggerRealtimeError:
        error.may_have_happened = self._may_have_been_done
        return error


def _without_frames(error: TriggerRealtimeError) -> TriggerRealtimeError:
    """Return the error without the frames that read the answer, and so have its texts in their
    variables, which what reports errors may show; and all that lies below it."""
    waiting: list[BaseException | None] = [error]
    stripped: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in stripped:
            stripped.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]
    return error


def _headers_of(request: Request, branch: str | None) -> dict[str, str]:
    if request.presigned_url is not None:
        return {"Content-Type": request.content_type}
    headers = {**wire.CALL_HEADERS, "Content-Type": request.content_type, **trace_headers()}
    if request.is_named:
        headers[wire.REQUEST_ID] = str(uuid.uuid4())
    if branch is not None:
        headers[wire.BRANCH] = branch
    return {**headers, **request.headers}


def _redirect_target(url: str, answer: Answer) -> str | None:
    """Return where an answer redirects to, or None if it does not."""
    location = answer.headers.get("location")
    if not 300 <= answer.status < 400 or not location:
        return None
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _where(url: str) -> str:
    """Return a URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "what is no URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_same_host(url: str, target: str) -> bool:
    """Return True if a redirect stays on the host, and does not give up its TLS."""
    try:
        before, after = urlsplit(url), urlsplit(target)
        if before.hostname != after.hostname or after.username is not None:
            return False
        if before.scheme == after.scheme:
            return before.port == after.port
        return (before.scheme, after.scheme) == ("http", "https") and {
            before.port,
            after.port,
        } <= {None, 80, 443}
    except ValueError:
        return False
