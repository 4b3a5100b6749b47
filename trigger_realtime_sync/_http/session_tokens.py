"""Tokens that the turns of a session bring, in place of the one that was given for it.

A session's public token lives an hour; each turn brings the next one (docs/protocol.md, section
R9). A secret key is never replaced.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from .._checks import check_token
from .._wire.public_token import SECRET_KEY, issued_at
from ..errors import ConfigurationError
from .mask import Secret
from .renewals import Waiter
from .tokens import TokenSource

# Of the sessions that a client has read.
MOST_REMEMBERED = 1_000

# The server, the session, and the token that was given.
_Key = tuple[str, str, str]


class SessionTokens:
    """The newest token of each session that a client has read. Safe from any thread."""

    def __init__(self) -> None:
        # Protects the tokens.
        self._lock = threading.Lock()
        self._fresh: OrderedDict[_Key, Secret] = OrderedDict()

    def get(self, key: _Key) -> Secret | None:
        """Return the token to use in place of the one that was given, if there is one."""
        with self._lock:
            return self._fresh.get(key)

    def put(self, key: _Key, token: str) -> None:
        """Use a token from now on, unless the one in use was made later."""
        with self._lock:
            before, made = issued_at(self._fresh.get(key, key[2])), issued_at(token)
            if before is not None and made is not None and made < before:
                return
            self._fresh[key] = Secret(token)
            self._fresh.move_to_end(key)
            if len(self._fresh) > MOST_REMEMBERED:
                self._fresh.popitem(last=False)

    def drop(self, key: _Key, token: str) -> bool:
        """Use a token no longer: it was refused. Return True if it was in use."""
        with self._lock:
            if self._fresh.get(key) != token:
                return False
            del self._fresh[key]
            return True

    def inherited(self) -> SessionTokens:
        """Return the same tokens for a forked child, where nobody may hold the lock."""
        heir = SessionTokens()
        heir._fresh.update(self._fresh.copy())
        return heir

    def source(self, base_url: str, session_id: str, given: TokenSource) -> SessionTokenSource:
        """Return the source of the tokens for one session."""
        return SessionTokenSource(self, base_url, session_id, given)


class SessionTokenSource(TokenSource):
    """The token that was given for a session, until a turn brings a newer one. Thread-safe."""

    def __init__(
        self, tokens: SessionTokens, base_url: str, session_id: str, given: TokenSource
    ) -> None:
        self._tokens = tokens
        self._place = (base_url, session_id)
        self._given = given
        self._last_given: str | None = None

    def __repr__(self) -> str:
        return f"SessionTokenSource({self._given!r})"

    def current(self, *, on_users_thread: bool = False) -> str:
        given = self._given.current(on_users_thread=on_users_thread)
        self._last_given = given
        return self._tokens.get((*self._place, given)) or given

    def renew(self, refused: str, waiter: Waiter, *, on_users_thread: bool = False) -> str | None:
        given = self._last_given or refused
        if self._tokens.drop((*self._place, given), refused):
            return given if given != refused else None
        fresh = self._tokens.get((*self._place, given))
        if fresh is not None:
            # It came while the refused one was on its way.
            return fresh
        return self._given.renew(refused, waiter, on_users_thread=on_users_thread)

    def replace(self, token: str) -> None:
        """Use a token that a turn brought in place of a public one that was given."""
        given = self._last_given
        if given is None or given.startswith(SECRET_KEY):
            return
        try:
            token = check_token(token, "the token of a turn")
        except ConfigurationError:
            return
        if not token.startswith(SECRET_KEY):
            self._tokens.put((*self._place, given), token)
