"""What a client calls with: its server, its tokens and its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from .._checks import check_call_timeout
from .._http.open_calls import OpenCalls
from .._http.requester import Origin
from .._http.tokens import Token, TokenSource, key_of
from .caller import Caller
from .memory import CallMemory
from .request import Deadline, Reply, Request
from .spans import Spans

if TYPE_CHECKING:
    from .._http.session_tokens import SessionTokens

ReadT = TypeVar("ReadT")


class Engine(Protocol):
    """What a client owns. A fork replaces all of it, so it is asked at each call."""

    open_calls: OpenCalls
    call_memory: CallMemory

    @property
    def session_tokens(self) -> SessionTokens:
        """The tokens that turns of sessions brought."""

    def call_origin(self, base_url: str, token: Token) -> Origin:
        """Return where calls go."""

    def session_was_closed(self, base_url: str, names: Collection[str]) -> None:
        """Let those who read a session learn that it is closed."""


@attrs.frozen(kw_only=True)
class Calls:
    """Makes the calls of a client.

    Attributes:
        engine: what the client owns.
        base_url: of the API.
        token: returns the token to use: the one given, or the client's.
        seconds: for one call, unless it says otherwise.
        absent_until: a moment of `time.monotonic()` before which a 404 means "not yet".
        spans: see `Caller`.
    """

    engine: Engine = attrs.field(repr=False)
    base_url: str
    token: Callable[[Token | None], Token] = attrs.field(repr=False)
    seconds: float
    absent_until: float = -math.inf
    spans: Spans | None = attrs.field(default=None, repr=False)

    def bounded(self, call_timeout: float | None, access_token: Token | None) -> BoundedCalls:
        """Return what makes the requests of one call.

        Raises:
            ValueError: an option can't work.
            ConfigurationError: there is no token.
        """
        seconds = self.seconds if call_timeout is None else check_call_timeout(call_timeout)
        token = self.token(access_token)
        caller = Caller(
            origin=self.engine.call_origin(self.base_url, token),
            open_calls=self.engine.open_calls,
            spans=self.spans,
        )
        return BoundedCalls(
            caller=caller,
            deadline=Deadline.after(seconds),
            token=token,
            memory=self.engine.call_memory,
            absent_until=self.absent_until,
        )


@attrs.frozen(kw_only=True)
class BoundedCalls:
    """The requests of one call, which share its deadline."""

    caller: Caller
    deadline: Deadline
    token: Token = attrs.field(repr=False)
    memory: CallMemory = attrs.field(repr=False)
    absent_until: float

    @property
    def key(self) -> tuple[str, Hashable]:
        """What the memory knows the server and the token by."""
        return self.caller.origin.base_url, key_of(self.token)

    def current_token(self) -> str:
        """Return the token that a request would send now; for errors see `Caller.token`."""
        return self.caller.token(self.deadline)

    def with_token(self, token: TokenSource) -> BoundedCalls:
        """Return calls with the same deadline and another token."""
        origin = attrs.evolve(self.caller.origin, token=token)
        return attrs.evolve(self, caller=attrs.evolve(self.caller, origin=origin))

    def retried_at_most(self, count: int) -> BoundedCalls:
        """Return calls with the same deadline and fewer attempts."""
        policy = self.caller.origin.retry
        if policy.max_retries is not None:
            count = min(count, policy.max_retries)
        retry = attrs.evolve(policy, max_retries=count)
        origin = attrs.evolve(self.caller.origin, retry=retry)
        return attrs.evolve(self, caller=attrs.evolve(self.caller, origin=origin))

    def ask(self, request: Request, read: Callable[[Reply], ReadT]) -> ReadT:
        """Send a request about a run that may be too new to be known; for errors see
        `Caller.call`."""
        return self.send(attrs.evolve(request, absent_until=self.absent_until), read)

    def send(self, request: Request, read: Callable[[Reply], ReadT]) -> ReadT:
        """Send a request; for errors see `Caller.call`."""
        return self.caller.call(request, self.deadline, read)
