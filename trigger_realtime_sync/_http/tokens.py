"""The tokens of the requests: where they come from, and what happens when one is refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable

import attrs

from .._checks import check_token, is_personal_token
from ..errors import (
    ApiConnectionError,
    AuthenticationError,
    ConfigurationError,
    PermissionDeniedError,
    TriggerRealtimeError,
)
from .renewals import Renewal, Waiter

Token = str | Callable[[], str]

# In the order of the official client, whose command line takes a personal token from the second.
ENVIRONMENT = ("TRIGGER_SECRET_KEY", "TRIGGER_ACCESS_TOKEN")


@attrs.frozen(eq=False)
class SameToken:
    """Stands for a token function that can't be hashed, and so equals only itself.

    Whoever remembers it keeps the function: another one could have its place in memory otherwise.
    """

    _token: Token = attrs.field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SameToken) and other._token is self._token

    def __hash__(self) -> int:
        return id(self._token)


def key_of(token: Token) -> Hashable:
    """Return what a token is known by in a dictionary."""
    try:
        hash(token)
    except TypeError:
        return SameToken(token)
    return token


def token_from_environment() -> str | None:
    """Return the token of the first environment variable that is set, or None."""
    for name in ENVIRONMENT:
        if os.environ.get(name):
            return check_token(os.environ[name], name)
    return None


@attrs.define
class TokenRecord:
    """What is remembered of a function, for as long as anybody holds it.

    Attributes:
        worked: whether it has returned a token. A failure after that is no mistake in it.
    """

    worked: bool = False


class TokenSource:
    """A fixed token, or a function that is called for one before each request. Thread-safe.

    Args:
        token: one of both.
        record: what is remembered of the function.
    """

    def __init__(self, token: Token, record: TokenRecord | None = None) -> None:
        self._token = token if callable(token) else check_token(token)
        self._record = record or TokenRecord()
        # By the refused token, so that one thread asks for all. No lock is held around the
        # function: a signal handler inside of it could not take it.
        self._renewals: dict[str, Renewal] = {}
        # The last refused token and its replacement.
        self._renewed: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"TokenSource({'a callable' if callable(self._token) else '***'})"

    def current(self, *, on_users_thread: bool = False) -> str:
        """Return the token for the next request.

        Args:
            on_users_thread: whether what the function raises and is no `Exception`, Ctrl-C say, is
                raised as it is. A reading thread that it ended would leave its waiters waiting.

        Raises:
            ConfigurationError: the function raised one. Or it has not worked yet, and raised, or
                returned something that is no token; or it returned a personal access token.
            ApiConnectionError: it fails for now: it has worked before, or raised an OSError.
        """
        if callable(self._token):
            return self._ask(self._token, on_users_thread)
        return self._token

    def renew(self, refused: str, waiter: Waiter, *, on_users_thread: bool = False) -> str | None:
        """Return another token than the one that the server refused, or None; see `current`.

        If several threads were refused the same token, one calls the function for all of them.

        Args:
            waiter: how the others wait for it; for what that raises see `Waiter.wait_for`.
        """
        if not callable(self._token):
            return None
        mine = Renewal()
        try:
            while True:
                if self._renewed is not None and self._renewed[0] == refused:
                    return self._renewed[1]
                # Atomic, as dict.pop below.
                renewal = self._renewals.setdefault(refused, mine)
                if renewal is mine or renewal.thread == mine.thread:
                    return self._renew(self._token, refused, on_users_thread)
                waiter.wait_for(renewal)
                self._forget(refused, renewal)
        finally:
            mine.is_over = True
            self._forget(refused, mine)
            mine.end()

    def _forget(self, refused: str, renewal: Renewal) -> None:
        """Let the next thread ask, unless another one does already."""
        if self._renewals.get(refused) is renewal:
            self._renewals.pop(refused, None)

    def _renew(
        self, function: Callable[[], str], refused: str, on_users_thread: bool
    ) -> str | None:
        replacement = self._ask(function, on_users_thread)
        if replacement == refused:
            # Not remembered: the function may have another token after the next refusal.
            return None
        self._renewed = refused, replacement
        return replacement

    def _ask(self, function: Callable[[], str], on_users_thread: bool) -> str:
        try:
            returned = function()
        except ConfigurationError:
            raise
        except BaseException as error:
            if on_users_thread and not isinstance(error, Exception):
                raise
            failure = self._failure(error)
            if failure is error:
                raise
            raise failure from error
        problem = None
        try:
            token = check_token(returned, "what access_token returned")
        except ConfigurationError as error:
            if not self._record.worked or is_personal_token(returned):
                raise
            problem = str(error)
        if problem is not None:
            raise ApiConnectionError(problem)
        self._record.worked = True
        return token

    def _failure(self, error: BaseException) -> BaseException:
        """Return the error to raise for one that the function raised."""
        kind = type(error).__name__
        if self._record.worked or isinstance(error, OSError):
            return ApiConnectionError(f"access_token could not get a token: {kind}")
        if isinstance(error, TriggerRealtimeError):
            return error
        return ConfigurationError(f"access_token raised {kind}")


class CurrentToken:
    """The token of one thread's requests, replaced once when the server refuses it.

    Args:
        on_users_thread: see `TokenSource.current`.
        ends_at: a moment of `time.monotonic()` until which another thread's question for the same
            token is waited for; None for no bound.
    """

    def __init__(
        self, source: TokenSource, *, on_users_thread: bool = False, ends_at: float | None = None
    ) -> None:
        self._source = source
        self._waiter = Waiter(ends_at)
        self._on_users_thread = on_users_thread
        self._sent: str | None = None
        self._replacement: str | None = None
        self._may_renew = True

    def stop(self) -> None:
        """End the wait for another thread, and refuse all later ones. Safe from any thread, and in
        a signal handler."""
        self._waiter.stop()

    def take(self) -> str:
        """Return the token for the next request; for errors see `TokenSource.current`."""
        token = self._replacement or self._source.current(on_users_thread=self._on_users_thread)
        self._sent, self._replacement = token, None
        return token

    def accepted(self) -> None:
        """Allow the next refusal to renew the token again."""
        self._may_renew = True

    def renew_after(self, error: TriggerRealtimeError) -> bool:
        """Replace a refused token, at most once per run of consecutive 401 and 403.

        If the new token is refused too, another one would not help. After an outage in between it
        might: the refused token may have been good, and have expired.

        Returns:
            True if there is a new token, so that the request should be sent again at once.

        Raises:
            ApiConnectionError, ConfigurationError: see `TokenSource.current` and `Waiter.wait_for`.
            Interrupted: `stop` was called.
        """
        if not isinstance(error, (AuthenticationError, PermissionDeniedError)):
            self._may_renew = True
            return False
        if not self._may_renew or self._sent is None:
            return False
        self._replacement = self._source.renew(
            self._sent, self._waiter, on_users_thread=self._on_users_thread
        )
        # Not before: a function that fails now may have another token when it is asked again.
        self._may_renew = False
        return self._replacement is not None
