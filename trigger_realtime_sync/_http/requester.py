"""The requests of a reading thread: sent, and retried after a failure."""

from __future__ import annotations

import logging
import math
import time
import traceback
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import attrs

from .._clock import monotonic
from .._wire import names as wire
from .._wire.json import loads
from ..config import RetryPolicy
from ..errors import (
    ApiConnectionError,
    ConnectionUntrusted,
    ProtocolError,
    TriggerRealtimeError,
)
from .answer import Answer
from .bell import Bell
from .call import Call, Interrupted
from .fetches import Fetches
from .rations import Rations
from .retry import Backoff, Standing, UnreadableAnswer, asked_wait, date_of, error_of
from .session import Transport
from .tokens import CurrentToken, TokenSource

logger = logging.getLogger("trigger_realtime_sync")

# How many consecutive error answers may have a cut body before their status counts without it.
CUT_ERRORS_LIMIT = 5


@attrs.frozen(kw_only=True)
class Origin:
    """The server that a client reads from, and the client's credentials there.

    Attributes:
        absent_until: a moment of `time.monotonic()` before which a 404 means "not yet".
    """

    transport: Transport = attrs.field(repr=False)
    base_url: str
    token: TokenSource
    retry: RetryPolicy
    preview_branch: str | None = None
    rations: Rations = attrs.field(factory=Rations, repr=False)
    absent_until: float = -math.inf
    standing: Standing = attrs.field(factory=Standing, repr=False)
    fetches: Fetches = attrs.field(factory=Fetches, repr=False)


class Requester:
    """Sends the requests of one thread, and waits between them.

    Args:
        label: names the feed in errors and logs.
        on_trouble: called before each wait for another attempt.
        on_contact: called after each answer of any status.
        patience: seconds of silence in an answer, if fewer than `Timeouts.read`.
        on_untrusted: called before each wait for a certificate that is trusted again.
        on_users_thread: whether Ctrl-C, or what else interrupts a token function and is no
            `Exception`, goes on to its caller.
    """

    def __init__(
        self,
        origin: Origin,
        label: str,
        on_trouble: Callable[[], None] = lambda: None,
        on_contact: Callable[[], None] = lambda: None,
        patience: float | None = None,
        on_untrusted: Callable[[ConnectionUntrusted], None] = lambda error: None,
        *,
        on_users_thread: bool = False,
    ) -> None:
        self._origin = origin
        self._patience = patience
        self.label = label
        self._on_trouble = on_trouble
        self._on_contact = on_contact
        self._on_untrusted = on_untrusted
        self._backoff = Backoff(
            origin.retry, standing=origin.standing, absent_until=origin.absent_until
        )
        self._call = Call()
        self._stop = Bell()
        self._wake = Bell()
        self._token = CurrentToken(origin.token, on_users_thread=on_users_thread)
        self._cut_errors = 0
        self._date: str | None = None

    @property
    def server_time(self) -> datetime | None:
        """When the last answer was sent, by the server's clock; None if it did not say."""
        return None if self._date is None else date_of(self._date)

    @property
    def policy(self) -> RetryPolicy:
        """How long to wait between attempts."""
        return self._origin.retry

    @property
    def rations(self) -> Rations:
        """What the client's feeds share."""
        return self._origin.rations

    @property
    def may_have_reached(self) -> bool:
        """Whether the last request may have come to the server: there was a connection."""
        return self._call.connected

    @property
    def hung_up(self) -> bool:
        """Whether a kept-alive connection was closed under the last request, which says nothing of
        the server's health, and was not sent again."""
        return self._call.hung_up

    @property
    def read_timeout(self) -> float:
        """`Timeouts.read`, in seconds."""
        return self._origin.transport.timeouts.read

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.rung

    def stop(self) -> None:
        """End the current request or pause, and refuse all later ones. Safe from any thread, and in
        a signal handler."""
        self._stop.ring()
        self._wake.ring()
        self._token.stop()
        self._call.interrupt()

    def nudge(self) -> None:
        """End the current request or pause, or else the next one. Safe from any thread."""
        self._call.nudge()
        self._wake.ring()

    def rearm(self) -> None:
        """Forget earlier nudges. Call it before reading the state that a nudge is about."""
        self._wake.clear()
        self._call.rearm()

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        resend: bool = True,
        head_timeout: float | None = None,
    ) -> Answer:
        """Send one GET, without retries, and return the 200 or 204. The caller closes it.

        Args:
            resend: whether it may be sent again if the server had closed the kept-alive connection.
            head_timeout: seconds to wait for the head; `Timeouts.read` if that is less.

        Raises:
            ApiError: any other status.
            ApiConnectionError: no answer, or a broken one.
            Interrupted: `stop` was called.
            Nudged: `nudge` was called.
        """
        self._call.begin()
        answer = self._origin.transport.get(
            self._origin.base_url + path,
            call=self._call,
            label=self.label,
            token=self._token.take(),
            query=query,
            headers=self._headers(headers),
            patience=self._patience,
            resend=resend,
            head_timeout=head_timeout,
        )
        self._on_contact()
        self._date = answer.headers.get("date")
        if answer.status in (200, 204):
            self._token.accepted()
            return answer
        if path.startswith(wire.API_PREFIX):
            self._spare_api(answer)
        hide = self._call.mask.hide
        body = hide(self._error_text(answer))
        shown = {hide(name): hide(text) for name, text in answer.headers.items()}
        raise error_of(answer.status, shown, body, self.label, time.time())

    def get_json(self, path: str, headers: Mapping[str, str] | None = None) -> Any:
        """Send one GET and return the parsed body.

        Raises:
            UnreadableAnswer: the body is not JSON; for other errors see `get`.
        """
        with self.get(path, headers=headers) as answer:
            body = answer.body()
        return self.parsed(body)

    def parsed(self, body: bytes) -> Any:
        """Return a body parsed as JSON.

        Raises:
            UnreadableAnswer: it is none.
        """
        try:
            return loads(body.removeprefix(BOM_UTF8))
        except ValueError:
            pass
        # Out here, where it gets no context: that would hold the body.
        raise UnreadableAnswer(f"{self.label}: the body is not JSON")

    def hide_token(self, text: str) -> str:
        """Return text of the network's without what is secret of the last request, should it be
        echoed: the token, the user's headers, the password of a proxy."""
        return self._call.mask.hide(text)

    def unforeseen(self, error: Exception, what: str = "the reader") -> ProtocolError:
        """Log an error of this library's own with its traceback, and return the one to report.

        Its text may be of the network.

        Args:
            what: what failed.
        """
        lines = "".join(traceback.format_exception(error))
        logger.error("%s: %s failed\n%s", self.label, what, self.hide_token(lines))
        return ProtocolError(f"{self.label}: {what} failed: {self.hide_token(repr(error))}")

    def note_contact(self) -> None:
        """Note that the server answered someone who asks on behalf of this thread."""
        self._on_contact()

    def note_trouble(self) -> None:
        """Note that whoever asks on behalf of this thread waits for another attempt."""
        self._on_trouble()

    def succeeded(self) -> None:
        """Start counting failures again: data arrived."""
        self._backoff.succeeded()
        self._cut_errors = 0

    def understood(self) -> None:
        """Start counting unreadable answers again: one of another kind could be read."""
        self._backoff.understood()

    def recover(
        self,
        error: TriggerRealtimeError,
        *,
        at_least: float = 0.0,
        longest: float = math.inf,
        most: float = math.inf,
        is_trouble: bool = True,
    ) -> None:
        """Wait until the next attempt is due.

        Args:
            at_least: seconds that it is not due before.
            longest: at most this many seconds, unless the server asked for more.
            most: seconds. Where it is due later, the wait is not begun.
            is_trouble: see `wait_out`.

        Raises:
            TriggerRealtimeError: `error` itself, or that of the function that should renew a
                refused token, if it must not be retried, or not within `most`.
            Interrupted: `stop` was called.
        """
        left = self._unless_renewed(error)
        if left is None:
            return
        delay = max(at_least, self._wait_after(left))
        delay = min(delay, max(longest, self._backoff.asked))
        if delay > most:
            raise left
        if delay > 0:
            is_first = self._backoff.failures == 1
            self.wait_out(left, delay, is_first=is_first, is_trouble=is_trouble)

    def renew_token(self, error: TriggerRealtimeError) -> bool:
        """Return True if the error was a refused token, and there is a new one now."""
        return self._token.renew_after(error)

    def delay_after(self, error: TriggerRealtimeError) -> float:
        """Return the seconds until the next attempt is due, 0 if a refused token was renewed; for
        errors see `recover`."""
        left = self._unless_renewed(error)
        return 0.0 if left is None else self._wait_after(left)

    def _unless_renewed(self, error: TriggerRealtimeError) -> TriggerRealtimeError | None:
        """Return what there is to recover from: nothing if it was a refused token, and there is a
        new one; where that could not be had, why."""
        try:
            return None if self.renew_token(error) else error
        except TriggerRealtimeError as failure:
            return failure

    def _wait_after(self, error: TriggerRealtimeError) -> float:
        delay = self._backoff.wait_after(error, monotonic(), time.time())
        if isinstance(error, ConnectionUntrusted):
            self._on_untrusted(error)
        return delay

    def wait_out(
        self,
        error: TriggerRealtimeError,
        seconds: float,
        *,
        is_first: bool,
        is_trouble: bool = True,
    ) -> None:
        """Log an error, a warning if it is the first one, and wait.

        Args:
            is_trouble: whether `on_trouble` is called even if the server did not ask for the wait.

        Raises:
            Interrupted: `stop` was called.
        """
        level = logging.WARNING if is_first else logging.INFO
        attempt = self._backoff.failures or None
        logger.log(level, "%s; trying again in %.1f s", error, seconds, extra={"attempt": attempt})
        if is_trouble or self._backoff.asked:
            self._on_trouble()
        self.pause(seconds, at_least=self._backoff.asked)

    def pause(self, seconds: float, at_least: float = 0.0) -> None:
        """Wait this many seconds, or until nudged.

        Args:
            at_least: seconds that no nudge shortens, because the server asked for them.

        Raises:
            Interrupted: `stop` was called, before the wait or during it.
        """
        if not self._stop.wait(at_least):
            self._wake.wait(seconds - at_least)
        if self._stop.rung:
            raise Interrupted

    def _spare_api(self, answer: Answer) -> None:
        """Ask for no second opinion as long as an error of the REST API says."""
        now = monotonic()
        if answer.status == 429:
            self.rations.api_refused(now)
        if asked := asked_wait(answer.headers, time.time()):
            self.rations.api_asked_to_wait(asked, now)

    def _error_text(self, answer: Answer) -> str:
        """Return the body of an error, by which the kinds of 400 are told apart.

        Raises:
            ApiConnectionError: the body was cut, so that the request should be sent again.
        """
        try:
            with answer:
                text = answer.text()
        except ApiConnectionError:
            self._cut_errors += 1
            if self._cut_errors < CUT_ERRORS_LIMIT:
                raise
            return ""
        self._cut_errors = 0
        return text

    def _headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = dict(wire.REQUEST_HEADERS)
        if self._origin.preview_branch is not None:
            headers[wire.BRANCH] = self._origin.preview_branch
        headers.update(more or {})
        return headers
