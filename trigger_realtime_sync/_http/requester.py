"""What every reading thread does alike: ask, and after a failure wait and ask again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

import attrs

from .._wire import names as wire
from ..config import RetryPolicy
from ..errors import (
    ApiConnectionError,
    ApiError,
    AuthenticationError,
    PermissionDeniedError,
    TriggerRealtimeError,
)
from .answer import Answer
from .call import Call, Interrupted
from .retry import Backoff, asked_wait, error_of
from .session import Transport
from .tokens import TokenSource

logger = logging.getLogger("trigger_realtime_sync")

# Error answers cut short, in a row, before their status is taken at its word.
CUT_ERRORS_LIMIT = 5

# So many characters of the start of a longer token say no more than what kind it is.
LEAST_TELLING = 8


@attrs.frozen(kw_only=True)
class Origin:
    """Where to ask, and as whom."""

    transport: Transport = attrs.field(repr=False)
    base_url: str
    token: TokenSource
    retry: RetryPolicy
    preview_branch: str | None = None


class Requester:
    """Sends the requests of one thread.

    Args:
        origin: where to ask, and as whom.
        source: names the feed in errors and logs.
        on_contact: called after each answer of any kind.
        on_trouble: called before each wait for another attempt.
    """

    def __init__(
        self,
        origin: Origin,
        source: str,
        on_contact: Callable[[], None] = lambda: None,
        on_trouble: Callable[[], None] = lambda: None,
    ) -> None:
        self._origin = origin
        self.source = source
        self._on_contact = on_contact
        self._on_trouble = on_trouble
        self._backoff = Backoff(origin.retry)
        self._call = Call()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._token: str | None = None
        self._renewed: str | None = None
        self._may_renew = True
        self._cut_errors = 0

    @property
    def longest_delay(self) -> float:
        """Seconds that the user lets it wait at the most."""
        return self._origin.retry.max_delay

    @property
    def longest_silence(self) -> float:
        """Seconds for which a connection may be silent, by the user's word."""
        return self._origin.transport.timeouts.read

    @property
    def stopped(self) -> bool:
        """Whether the feed was told to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ends the feed now, whatever it waits for. Any thread."""
        self._stop.set()
        self._wake.set()
        self._call.interrupt()

    def nudge(self) -> None:
        """Ends the answer that is being read, or the pause, but not the feed. Any thread."""
        self._call.nudge()
        self._wake.set()

    def rearm(self) -> None:
        """Call before looking at what a nudge tells of; later nudges cut the next answer off."""
        self._wake.clear()
        self._call.rearm()

    def abandon(self) -> None:
        """In a forked child, where the feed's thread does not exist."""
        self._stop = threading.Event()
        self._stop.set()
        self._call.abandon()

    def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One attempt. Returns a 200 or 204; the caller closes it.

        Raises:
            ApiError: any other status.
            ApiConnectionError: no answer, or a broken one.
            Interrupted: the feed was told to end.
        """
        token, self._renewed = self._renewed or self._origin.token.current(), None
        self._token = token
        answer = self._origin.transport.get(
            self._origin.base_url + path,
            call=self._call,
            source=self.source,
            token=token,
            query=query,
            headers=self._headers(headers),
        )
        self._on_contact()
        if answer.status in (200, 204):
            self._may_renew = True
            return answer
        body = self.hide_token(self._error_text(answer))
        headers_shown = {name: self.hide_token(text) for name, text in answer.headers.items()}
        raise error_of(answer.status, headers_shown, body, self.source)

    def hide_token(self, text: str) -> str:
        """Text of the server's without the token, should it echo it, even cut short."""
        token = self._token or ""
        if token:
            text = text.replace(token, "***")
        for length in range(len(token), LEAST_TELLING, -1):
            if token[:length] in text:
                text = text.replace(token[:length], "***")
        return text

    def succeeded(self) -> None:
        """Data arrived."""
        self._backoff.succeeded()
        self._cut_errors = 0

    def recover(self, error: TriggerRealtimeError) -> None:
        """Waits until the next attempt is due, or raises the error if there is none to be."""
        if self._renew_token(error):
            return
        delay = self._backoff.wait_after(error, time.time())
        if delay == 0:
            return
        level = logging.WARNING if self._backoff.failures == 1 else logging.INFO
        logger.log(level, "%s; trying again in %.1f s", error, delay)
        self._on_trouble()
        asked = asked_wait(error.headers, time.time()) if isinstance(error, ApiError) else None
        self.pause(delay, at_least=min(asked or 0.0, delay))

    def pause(self, seconds: float, at_least: float = 0.0) -> None:
        """Waits, or less when nudged; raises Interrupted as soon as the feed is told to end.

        Args:
            at_least: seconds that no nudge shortens: the server asked for them.
        """
        if not self._stop.wait(at_least):
            self._wake.wait(seconds - at_least)
        if self._stop.is_set():
            raise Interrupted

    def _error_text(self, answer: Answer) -> str:
        """The body of an error. It says what a 400 means: a cut one is asked for again."""
        try:
            text = answer.text()
            self._cut_errors = 0
            return text
        except ApiConnectionError:
            self._cut_errors += 1
            if self._cut_errors < CUT_ERRORS_LIMIT:
                raise
            return ""
        finally:
            answer.close()

    def _renew_token(self, error: TriggerRealtimeError) -> bool:
        """Once for each row of refusals: a token that is refused right away is no better.

        After an outage in between it may have been good, and have expired.
        """
        if not isinstance(error, (AuthenticationError, PermissionDeniedError)):
            self._may_renew = True
            return False
        if not self._may_renew or self._token is None:
            return False
        self._may_renew = False
        self._renewed = self._origin.token.renew(self._token)
        return self._renewed is not None

    def _headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        headers = dict(wire.REQUEST_HEADERS)
        if self._origin.preview_branch is not None:
            headers[wire.BRANCH] = self._origin.preview_branch
        headers.update(more or {})
        return headers
