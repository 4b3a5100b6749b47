"""The client: options, wiring, and the public methods."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

from ._channel.batch_channel import BatchChannel
from ._channel.channel import Channel
from ._channel.run_view import RunView
from ._channel.target import Target
from ._checks import (
    check_base_url,
    check_count,
    check_headers,
    check_id,
    check_proxies,
    check_throttle,
    check_token,
    check_verify,
)
from ._http.requester import Origin
from ._http.session import HttpOptions, Transport
from ._http.tokens import Token, TokenSource, token_from_environment
from ._receivers import process as _lifetime
from ._receivers.handle import Subscription
from ._receivers.registry import Registry, SubscriptionMap
from ._subscribe import HandleT, SubscribeMethods
from .config import DEFAULT_BASE_URL, RetryPolicy, Timeouts
from .errors import ClientClosed, ConfigurationError
from .models import Task

logger = logging.getLogger("trigger_realtime_sync")

# How long `close()` waits for its threads in all: those that read end at once, and one that is in
# a callback of the user's can't be waited for.
CLOSE_SECONDS = 2.0
CANCEL_GRACE = 0.02


class RealtimeClient(SubscribeMethods):
    """Follows runs of Trigger.dev live. Safe from any thread; make one and keep it.

    Args:
        access_token: a secret key (`tr_…`) or a public access token; or a callable that returns
            one, called before each request, so keep it cheap, and once more when the server
            refused the token. Default: `TRIGGER_ACCESS_TOKEN`, then `TRIGGER_SECRET_KEY`.
        base_url: of the API. Default: `TRIGGER_API_URL`, then `https://api.trigger.dev`.
        throttle_in_ms: the least time between two rounds of callbacks of a subscription.
        preview_branch: the name of a preview branch.
        retry: how long to wait between attempts when the network or the server fails.
        timeouts: for connecting, and for the silence on a connection.
        max_cached: how many ids the last known state is remembered for.
        headers: sent along with every request to the API.
        proxies: as in requests.
        verify: as in requests: True, False, or the path of a CA bundle.

    Raises:
        ConfigurationError: an option or environment variable can't work.

    Nothing is sent before the first subscription. As a context manager, it closes at the end.
    """

    def __init__(
        self,
        access_token: Token | None = None,
        *,
        base_url: str | None = None,
        throttle_in_ms: float = 0,
        preview_branch: str | None = None,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 (frozen)
        timeouts: Timeouts = Timeouts(),  # noqa: B008 (frozen)
        max_cached: int = 1000,
        headers: Mapping[str, str] | None = None,
        proxies: Mapping[str, str] | None = None,
        verify: bool | str = True,
    ) -> None:
        self._token = _check_token_option(access_token)
        self._base_url = _base_url_option(base_url)
        self._throttle = _configured(check_throttle, throttle_in_ms)
        self._preview_branch = _check_branch(preview_branch)
        if not isinstance(retry, RetryPolicy):
            raise ConfigurationError(f"retry must be a RetryPolicy, not {type(retry).__name__}")
        if not isinstance(timeouts, Timeouts):
            raise ConfigurationError(f"timeouts must be Timeouts, not {type(timeouts).__name__}")
        self._retry = retry
        self._max_cached = _configured(check_count, max_cached, "max_cached", least=0)
        self._http = HttpOptions(
            timeouts=timeouts,
            headers=check_headers(headers),
            proxies=check_proxies(proxies),
            verify=check_verify(verify),
        )
        self._reset()
        self.subscriptions: Mapping[str, Subscription] = SubscriptionMap(lambda: self._registry)
        """The running subscriptions by id: live, and read-only."""
        _lifetime.watch(self)

    # The registry.

    def get(self, id: str) -> Subscription | None:
        """The running subscription of this id, or None."""
        return self.subscriptions.get(id)

    def cancel(self, id: str) -> bool:
        """Cancels every handle of this id. Whether there was one."""
        return bool(_settle(self._registry.cancel(id)))

    def cancel_all(self) -> None:
        """Cancels everything; the client can be used again."""
        _settle(self._registry.cancel_all())

    def clear_cache(self, id: str | None = None) -> None:
        """Drops what is cached under this id, or all. What runs delivers its next snapshot anew."""
        self._registry.forget(id)

    # The end.

    def close(self) -> None:
        """Cancels everything and waits for the threads to end, for two seconds at the most.

        Idempotent. A thread that is inside a callback of yours ends when the callback returns.
        """
        left = self._close(CLOSE_SECONDS)
        if left:
            logger.warning("close() left threads that did not end in time: %s", ", ".join(left))

    def _close(self, seconds: float) -> list[str]:
        """Returns the names of the threads that did not end in time."""
        registry = self._registry
        with registry.lock:
            registry.closed = True
            handles = registry.cancel_all()
        deadline = time.monotonic() + seconds
        _settle(handles)
        left = registry.join(deadline)
        self._transport.close()
        return sorted(thread.name for thread in left)

    def __enter__(self) -> RealtimeClient:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RealtimeClient {self._base_url} subscriptions={len(self.subscriptions)}>"

    # Wiring.

    def _reset(self) -> None:
        """Everything that holds threads, locks or sockets: made new in a forked child."""
        self._transport = Transport(self._http)
        self._registry = Registry(self._make_channel, self._max_cached)
        self._sources: weakref.WeakValueDictionary[Any, TokenSource] = weakref.WeakValueDictionary()
        self._sources_lock = threading.Lock()

    def _after_fork(self) -> None:
        """In the child: an empty client; the handles it inherited are cancelled."""
        closed = self._registry.closed
        self._registry.abandon()
        self._reset()
        self._registry.closed = closed

    def _target(
        self,
        *,
        base_url: str | None,
        access_token: Token | None,
        tasks: Sequence[Task[Any, Any]] | None,
        **what: Any,
    ) -> Target:
        if self._registry.closed:
            raise ClientClosed("the client is closed")
        if tasks is not None and not isinstance(tasks, (list, tuple)):
            raise ValueError(f"tasks must be a list of Task, not {type(tasks).__name__}")
        for task in tasks or ():
            if not isinstance(task, Task):
                raise ValueError(f"task must be a Task, not {type(task).__name__}")
        token = _check_token_option(access_token) or self._token or token_from_environment()
        if token is None:
            raise ConfigurationError(
                "no access_token: pass one to RealtimeClient or to the subscription,"
                " or set TRIGGER_ACCESS_TOKEN or TRIGGER_SECRET_KEY"
            )
        url = self._base_url if base_url is None else check_base_url(base_url)
        return Target(base_url=url, token=token, tasks=tuple(tasks or ()), **what)

    def _add(self, handle: HandleT, id_: str | None, target: Target, enabled: bool) -> HandleT:
        if id_ is not None:
            check_id(id_, "id")
        self._registry.add(handle, id_, target, enabled=enabled)
        return handle

    def _make_channel(self, target: Target, view: RunView) -> Channel:
        origin = Origin(
            transport=self._transport,
            base_url=target.base_url,
            token=self._token_source(target.token),
            retry=self._retry,
            preview_branch=self._preview_branch,
        )
        if target.streams is not None:
            from ._channel.stream_channel import StreamingChannel

            return StreamingChannel(target, origin, view)
        if target.is_batch:
            return BatchChannel(target, origin, view)
        return Channel(target, origin, view)

    def _token_source(self, token: Token) -> TokenSource:
        """One for each callable, so that one thread renews the token for all."""
        if not callable(token):
            return TokenSource(token)
        # A callable that can't be hashed is itself only; its source keeps it, and so its id.
        try:
            hash(token)
            key: Any = token
        except TypeError:
            key = id(token)
        with self._sources_lock:
            source = self._sources.get(key)
            if source is None:
                source = self._sources[key] = TokenSource(token)
            return source

    def _throttle_of(self, throttle_in_ms: float | None) -> float:
        return self._throttle if throttle_in_ms is None else check_throttle(throttle_in_ms)


def _settle(handles: list[Subscription]) -> list[Subscription]:
    """Waits a moment for callbacks that were running: none begins after this."""
    deadline = time.monotonic() + CANCEL_GRACE
    for handle in handles:
        handle._mailbox.wait_for_turn_to_end(deadline)
    return handles


def _check_token_option(token: Any) -> Token | None:
    if token is None or callable(token):
        return token  # type: ignore[no-any-return]
    return check_token(token)


def _base_url_option(base_url: Any) -> str:
    if base_url is not None:
        return check_base_url(base_url)
    if os.environ.get("TRIGGER_API_URL"):
        return check_base_url(os.environ["TRIGGER_API_URL"], "TRIGGER_API_URL")
    return DEFAULT_BASE_URL


def _check_branch(branch: Any) -> str | None:
    if branch is None:
        return None
    if (
        not isinstance(branch, str)
        or not branch
        or not branch.isprintable()
        or not branch.isascii()
    ):
        raise ConfigurationError(f"preview_branch must be the name of a branch, not {branch!r}")
    return branch


def _configured(check: Callable[..., Any], *arguments: Any, **bounds: Any) -> Any:
    try:
        return check(*arguments, **bounds)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
