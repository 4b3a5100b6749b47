"""The client that the helpers for frameworks make."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from .. import RealtimeClient
from ..config import DEFAULT_BASE_URL, Secret
from ._browser_feeds import OwnFeed

CLIENT_OPTIONS = tuple(inspect.signature(RealtimeClient).parameters)


def hidden_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a client, with a token that is not shown in the local variables of a
    traceback: Django's debug page prints those, and what reports errors sends them away."""
    token = options.get("access_token")
    return {**options, "access_token": Secret(token)} if isinstance(token, str) else dict(options)


def base_url_of(options: Mapping[str, Any]) -> str:
    """Return where a client with these options finds the API."""
    named = options.get("base_url") or os.environ.get("TRIGGER_API_URL")
    return str(named or DEFAULT_BASE_URL)


def with_sharing(options: dict[str, Any]) -> dict[str, Any]:
    """Return options of a client of which `shared` may be the URL of a Redis.

    Raises:
        ConfigurationError: it can't be.
    """
    if not isinstance(options.get("shared"), str):
        return options
    from ..sharing import RedisSharing

    return {**options, "shared": RedisSharing(options["shared"])}


class ContextClient(RealtimeClient):
    """A client that runs each callback inside a context of its own.

    Args:
        context: returns the context manager for one call.
        options: see `RealtimeClient`.
    """

    def __init__(self, context: Callable[[], AbstractContextManager[Any]], **options: Any) -> None:
        self._context = context
        options = hidden_options(with_sharing(options))
        super().__init__(**options)

    def _around_callback(self, callback: Callable[..., object]) -> Callable[..., object]:
        # A relay's own callbacks only pass data on, once for each browser: a context is not needed.
        if isinstance(getattr(callback, "__self__", None), OwnFeed):
            return callback

        # Not by way of the client, which could not be dropped while the callback may be called.
        context = self._context

        @functools.wraps(callback)
        def in_context(*arguments: Any) -> object:
            with context():
                return callback(*arguments)

        return in_context
