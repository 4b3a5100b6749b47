"""What a relay relays: a way to subscribe, possibly shared by many browsers, or a subscription."""

from __future__ import annotations

import functools
import hashlib
import inspect
import itertools
import typing
import weakref
from collections.abc import Callable, Hashable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Generic, TypeVar

import attrs

from .. import RealtimeClient, Subscription
from ..config import Secret

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
            them, so that calls with equal arguments join each other. Functions, as token functions
            are, and other objects are equal if `==` says so, whatever they are called.

    However many relays have this source, there is one connection. It ends with the last relay.
    """
    if isinstance(options.get("access_token"), str):
        # What reports errors may print these options.
        options["access_token"] = Secret(options["access_token"])
    options.setdefault("id", _derived_id(subscribe, arguments, options))
    return SharedSource(subscribe, arguments, options)


def has_streams(source: Callable[..., Subscription]) -> bool:
    """Return True if a source takes `on_stream`."""
    subscribe = source.subscribe if isinstance(source, SharedSource) else source
    return "on_stream" in inspect.signature(subscribe).parameters


def upstream_of(source: Callable[..., Subscription]) -> Hashable:
    """Return what sources that share a subscription have in common, or None for one of its own."""
    if not isinstance(source, SharedSource):
        return None
    return id(getattr(source.subscribe, "__self__", source.subscribe)), source.id


def _derived_id(subscribe: Callable[..., Any], arguments: Any, options: dict[str, Any]) -> str:
    while isinstance(subscribe, functools.partial):
        arguments = (*subscribe.args, *arguments)
        options = {**subscribe.keywords, **options}
        subscribe = subscribe.func
    name = getattr(subscribe, "__name__", "subscribe")
    # Callers with different tokens must not meet, so the token is part of what is hashed.
    text = _text_of([_who_subscribes(subscribe), arguments, options])
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"sse-{name}-{digest[:32]}"


def _who_subscribes(subscribe: Callable[..., Any]) -> Any:
    """Return what tells one way to subscribe from another: a name for a method of the client, whose
    ids are its own."""
    owner = getattr(subscribe, "__self__", None)
    if owner is None:
        return subscribe
    name = getattr(subscribe, "__name__", "")
    return name if isinstance(owner, RealtimeClient) else (name, owner)


# Values whose text says all of them. That of a subclass, which may hide a part, is not asked for.
_TEXTS: tuple[Any, ...] = (str, bytes, int, float, datetime, date, timedelta, type(None))


def _text_of(value: Any) -> str:
    """Return a text that equal values share, and no others. `repr` promises neither."""
    for kind in _TEXTS:
        if isinstance(value, kind):
            return str(kind.__repr__(value))
    if isinstance(value, Mapping):
        pairs = sorted(f"{_text_of(name)}: {_text_of(item)}" for name, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text_of, value))}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(_text_of, value)))}}}"
    origin = typing.get_origin(value)
    if origin is not None:
        # `list[int]`, which is another object each time.
        return f"{_text_of(origin)}{_text_of(typing.get_args(value))}"
    return _numbers.text_of(value)


class Numbers:
    """Numbers for objects that equal each other, a token function say.

    A number is forgotten with its object. What is subscribed keeps the objects that it was
    subscribed with, so nobody else gets the number of one that is in use.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._next = itertools.count()

    def text_of(self, value: Any) -> str:
        """Return the number of an object as text."""
        try:
            return f"#{self._known.setdefault(value, next(self._next))}"
        except TypeError:
            # It can't be hashed, or referenced weakly: it equals only itself.
            return f"@{id(value)}"


_numbers = Numbers()
