"""Where the token of each request comes from."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from .._checks import check_token
from ..errors import ApiConnectionError, ConfigurationError, TriggerRealtimeError

Token = str | Callable[[], str]

ENVIRONMENT = ("TRIGGER_ACCESS_TOKEN", "TRIGGER_SECRET_KEY")


def token_from_environment() -> str | None:
    """The first that is set, or None."""
    for name in ENVIRONMENT:
        if os.environ.get(name):
            return check_token(os.environ[name], name)
    return None


class TokenSource:
    """A fixed token, or a function that is asked for one before each request."""

    def __init__(self, token: Token) -> None:
        self._provider = token if callable(token) else None
        self._fixed = None if callable(token) else check_token(token)
        self._lock = threading.Lock()
        self._refused: str | None = None
        self._replacement: str | None = None

    def __repr__(self) -> str:
        return f"TokenSource({'a callable' if self._provider else '***'})"

    def current(self) -> str:
        """The token for the next request.

        Raises:
            ConfigurationError: the callable raised, or returned what is not a token.
            ApiConnectionError: the callable raised an OSError: it could not reach its own source.
        """
        if self._fixed is not None:
            return self._fixed
        return self._ask()

    def renew(self, refused: str) -> str | None:
        """Another token than the one that the server refused, or None.

        However many threads were refused the same token, one asks, and the others take what it got.
        """
        if self._provider is None:
            return None
        with self._lock:
            if self._refused == refused:
                return self._replacement
            replacement = self._ask()
            if replacement == refused:
                # Not for ever: the next one who is refused it may ask again.
                return None
            self._refused, self._replacement = refused, replacement
            return replacement

    def _ask(self) -> str:
        assert self._provider is not None
        try:
            token = self._provider()
        except TriggerRealtimeError:
            raise
        except OSError as error:
            raise ApiConnectionError(
                f"access_token could not get a token: {type(error).__name__}"
            ) from error
        except BaseException as error:
            # Whatever it is: a reading thread that just ended would leave its waiters for ever.
            raise ConfigurationError(f"access_token raised {type(error).__name__}") from error
        return check_token(token, "what access_token returned")
