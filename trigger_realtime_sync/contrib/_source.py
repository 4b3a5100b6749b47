"""What a relay relays: a way to subscribe, possibly shared by many browsers, or a subscription."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs

from .. import Subscription

SubscriptionT = TypeVar("SubscriptionT", bound=Subscription)

Source = Callable[..., Subscription] | Subscription


@attrs.frozen(eq=False)
class SharedSource(Generic[SubscriptionT]):
    """A source whose relays all join one subscription."""

    subscribe: Callable[..., SubscriptionT]
    _arguments: tuple[Any, ...] = attrs.field(repr=False)
    _options: dict[str, Any] = attrs.field(repr=False)

    @property
    def id(self) -> str:
        """The id of the subscription."""
        return self._options["id"]

    def __call__(self, **options: Any) -> SubscriptionT:
        return self.subscribe(*self._arguments, **{**self._options, **options})


def shared(
    subscribe: Callable[..., SubscriptionT], *arguments: Any, **options: Any
) -> SharedSource[SubscriptionT]:
    """Return a source that all browsers share: `shared(client.subscribe_to_run, run_id)`.

    Args:
        subscribe: a method of the client.
        arguments, options: passed to that method. Without an `id` among them, one is derived from
            them, so that calls with equal arguments join each other.

    However many relays have this source, there is one connection. It ends with the last relay.
    """
    options.setdefault("id", _derived_id(subscribe, arguments, options))
    return SharedSource(subscribe, arguments, options)


def has_streams(source: Callable[..., Subscription]) -> bool:
    """Return True if a source takes `on_stream`."""
    subscribe = source.subscribe if isinstance(source, SharedSource) else source
    return "on_stream" in inspect.signature(subscribe).parameters


def _derived_id(subscribe: Callable[..., Any], arguments: Any, options: dict[str, Any]) -> str:
    # Callers with different tokens must not meet, so the token is part of what is hashed.
    text = repr((arguments, sorted(options.items())))
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"sse-{getattr(subscribe, '__name__', 'subscribe')}-{digest[:32]}"
