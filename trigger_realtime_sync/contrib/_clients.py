"""A client whose callbacks run inside what a framework needs around them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .. import RealtimeClient
from ._feeds import Feed

CALLBACKS = ("on_update", "on_stream", "on_error", "on_complete")
SUBSCRIBING = (
    "subscribe_to_run",
    "subscribe_to_runs_with_tag",
    "subscribe_to_batch",
    "subscribe_to_run_with_streams",
    "subscribe_to_runs_with_streams",
    "subscribe_to_stream",
)

Around = Callable[[], AbstractContextManager[Any]]


class SurroundedClient(RealtimeClient):
    """A `RealtimeClient` that runs each callback inside `around()`."""

    def __init__(self, *arguments: Any, around: Around, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._around = around


def _surrounded(around: Around, callback: Callable[..., object]) -> Callable[..., object]:
    # A relay's own callbacks only pass things on, once for each browser.
    if isinstance(getattr(callback, "__self__", None), Feed):
        return callback

    @functools.wraps(callback)
    def inside(*arguments: Any) -> object:
        with around():
            return callback(*arguments)

    return inside


def _with_surrounded_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def subscribe(self: SurroundedClient, *arguments: Any, **options: Any) -> Any:
        for name in CALLBACKS:
            if callable(options.get(name)):
                options[name] = _surrounded(self._around, options[name])
        return method(self, *arguments, **options)

    return subscribe


if not TYPE_CHECKING:
    # Every signature, with its overloads, stays as it is.
    for _name in SUBSCRIBING:
        _method = getattr(RealtimeClient, _name)
        setattr(SurroundedClient, _name, _with_surrounded_callbacks(_method))
