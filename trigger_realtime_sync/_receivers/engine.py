"""What a client owns: session, registry, token sources; closed, or made anew after a fork."""

from __future__ import annotations

import math
import threading
import weakref
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import attrs

from .. import _forks
from .._calls.memory import CallMemory
from .._channel.base_channel import BaseChannel
from .._channel.batch_channel import BatchChannel
from .._channel.channel import Channel
from .._channel.run_view import RunView
from .._channel.sources import NETWORK
from .._channel.target import Target
from .._feeds.buffering import Buffering
from .._http.fetches import Fetches
from .._http.open_calls import OpenCalls
from .._http.rations import Rations
from .._http.requester import Origin
from .._http.session import HttpOptions, Transport
from .._http.session_tokens import SessionTokens
from .._http.tokens import Token, TokenRecord, TokenSource, key_of
from ..config import RetryPolicy
from . import process
from .delivery import Callbacks
from .failure_reports import report_failure
from .receiver import Receiver
from .registry import Registry, Seat

if TYPE_CHECKING:
    from .._sharing.fleet import Fleet, Store


@attrs.frozen(kw_only=True)
class EngineOptions:
    """The options of the client that its engine needs.

    Attributes:
        shared: where a fleet shares what it reads, if it does.
        base_url: the client's own server.
        own_token: returns the client's own token, if it has one.
    """

    http: HttpOptions
    retry: RetryPolicy
    call_retry: RetryPolicy
    preview_branch: str | None
    max_cached: int
    stream_patience: float
    reports_failures: bool
    shared: Store | None = None
    base_url: str = ""
    own_token: Callable[[], Token | None] = lambda: None


def _import_what_streams_need() -> None:
    """Import what the first subscription to a stream needs, for the first client of the process.

    Later it may have no file descriptor left; earlier, whoever makes no client would pay for it.
    """
    with _forks.importing:
        from .._channel import session_channel, stream_channel  # noqa: F401


class Engine:
    """Everything of a client that holds threads, locks or sockets."""

    def __init__(self, options: EngineOptions) -> None:
        _import_what_streams_need()
        self._options = options
        # What is known of the functions that give out tokens, as long as somebody holds them.
        self._records: weakref.WeakKeyDictionary[Any, TokenRecord] = weakref.WeakKeyDictionary()
        # The tokens that turns of sessions brought.
        self.session_tokens = SessionTokens()
        self._renew()
        process.watch(self)

    def _renew(self) -> None:
        self._transport = Transport(self._options.http)
        self._rations = Rations()
        self._fetches = Fetches()
        # A client that is closed inside of a call leaves its connections to that.
        self.open_calls = OpenCalls(self._transport.close)
        self.call_memory = CallMemory()
        self.registry = Registry(self._make_channel, self._options.max_cached)
        self._tokens: weakref.WeakValueDictionary[Any, TokenSource] = weakref.WeakValueDictionary()
        # By base URL. Channels are made by one thread at a time.
        self._buffering: defaultdict[str, Buffering] = defaultdict(Buffering)
        # Protects the token sources and records. Reentrant: a signal handler may make a call.
        self._tokens_lock = threading.RLock()
        self.fleet = self._new_fleet()

    def _new_fleet(self) -> Fleet | None:
        options = self._options
        if options.shared is None:
            return None
        # Imported here, because most clients share nothing.
        from .._sharing.fleet import Fleet, FleetOptions

        return Fleet(
            FleetOptions(
                store=options.shared,
                base_url=options.base_url,
                own_token=options.own_token,
                branch=options.preview_branch,
                patience=options.stream_patience,
                make_origin=self._target_origin,
                buffering=self._buffering.__getitem__,
                start_thread=self.registry.threads.start,
            )
        )

    def __repr__(self) -> str:
        return f"<Engine {self._options!r}>"

    def seat(
        self, target: Target, callbacks: Callbacks, throttle: float, *, stops_on_completion: bool
    ) -> Seat:
        """Return a new receiver's seat, which is not in the registry yet."""
        if self._options.reports_failures:
            callbacks = attrs.evolve(callbacks, report_failure=report_failure)
        receiver = Receiver(
            self.registry.pool,
            callbacks,
            throttle,
            stops_on_completion=stops_on_completion,
            label=target.label,
        )
        return Seat(self.registry, receiver, target)

    def stop(self) -> None:
        """Cancel everything, and refuse more. Takes no lock, and waits for nothing."""
        self.registry.closed = True
        self._fetches.stop()
        self.open_calls.close()
        self.registry.end(self.registry.all_seats(), is_inside=True)
        if self.fleet is not None:
            self.registry.janitor.put(self.fleet.stop)
        self.registry.janitor.put(self._transport.close)

    def close(self, deadline: float) -> list[str]:
        """Cancel everything, refuse more, and wait for the threads to end.

        Args:
            deadline: of `time.monotonic()`.

        Returns:
            The names of the threads that did not end in time.
        """
        registry = self.registry
        registry.closed = True
        self._fetches.stop()
        self.open_calls.close()
        registry.end(registry.all_seats(), is_inside=False)
        if self.fleet is not None:
            self.fleet.stop()
        left = registry.join(deadline)
        if self.fleet is not None:
            self.fleet.join(deadline)
        self._transport.close()
        return sorted(thread.name for thread in left)

    def after_fork(self) -> None:
        """In the child: be an empty engine; the subscriptions it inherited are cancelled."""
        parents = self.registry
        self.session_tokens = self.session_tokens.inherited()
        self._renew()
        parents.bequeath(self.registry)
        if self.registry.closed:
            self.open_calls.close()

    def _make_channel(self, target: Target, view: RunView) -> BaseChannel:
        # Both have been imported when this client was made.
        from .._channel.session_channel import SessionChannel
        from .._channel.stream_channel import StreamChannel

        origin = self._target_origin(target)
        patience, buffering = self._options.stream_patience, self._buffering[target.base_url]
        if target.is_session:
            tokens = self.session_tokens.source(target.base_url, target.subject, origin.token)
            origin = attrs.evolve(origin, token=tokens)
            return SessionChannel(target, origin, view, patience, buffering)
        sources = NETWORK if self.fleet is None else self.fleet.sources(target)
        if target.streams is not None:
            return StreamChannel(target, origin, view, patience, buffering, sources)
        if target.is_batch:
            return BatchChannel(target, origin, view, sources)
        return Channel(target, origin, view, sources)

    def _target_origin(self, target: Target) -> Origin:
        """Return where a target is asked for."""
        return self._origin(target.base_url, target.token, self._options.retry, target.absent_until)

    def session_was_closed(self, base_url: str, names: Collection[str]) -> None:
        """Let those who read a session learn that it is closed: the server may never tell them.

        Args:
            names: its id and its external id.
        """
        for seat in self.registry.all_seats():
            target, channel = seat.target, seat.channel
            is_theirs = target.subject in names and target.base_url == base_url
            if is_theirs and target.is_session:
                from .._channel.session_channel import SessionChannel

                assert channel is None or isinstance(channel, SessionChannel)
                if channel is not None:
                    channel.was_closed()

    def call_origin(self, base_url: str, token: Token) -> Origin:
        """Return where calls go, on any thread."""
        return self._origin(base_url, token, self._options.call_retry)

    def _origin(
        self, base_url: str, token: Token, retry: RetryPolicy, absent_until: float = -math.inf
    ) -> Origin:
        return Origin(
            transport=self._transport,
            base_url=base_url,
            token=self._token_source(token),
            retry=retry,
            preview_branch=self._options.preview_branch,
            rations=self._rations,
            fetches=self._fetches,
            absent_until=absent_until,
        )

    def _token_source(self, token: Token) -> TokenSource:
        """Return the one source of each callable, so that one thread renews the token for all."""
        if not callable(token):
            return TokenSource(token)
        key = key_of(token)
        with self._tokens_lock:
            source = self._tokens.get(key)
            if source is None:
                source = self._tokens[key] = TokenSource(token, self._record_of(token))
            return source

    def _record_of(self, token: Token) -> TokenRecord:
        try:
            return self._records.setdefault(token, TokenRecord())
        except TypeError:
            # It can't be hashed, or referenced weakly: its source alone remembers.
            return TokenRecord()
