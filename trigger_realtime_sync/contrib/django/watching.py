"""Subscriptions that send the signals, each once per process however often it is asked for.

Which one it is, is the target with the options: a run that is watched with others as well, or that
carries a tag that is watched, is told of by each.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from ... import Run, RunsSubscription, RunSubscription, StreamSubscription, Subscription
from ..sse import shared
from .client import get_client
from .signals import part_received, run_completed, run_updated

SubscriptionT = TypeVar("SubscriptionT", bound=Subscription)


def watch_run(run_id: str, **options: Any) -> RunSubscription[Any, Any]:
    """Sends `run_updated` and `run_completed` for a run, until it has finished.

    Args:
        run_id: of the run.
        options: of `RealtimeClient.subscribe_to_run`.
    """
    return _watch(get_client().subscribe_to_run, run_id, **options)


def watch_tag(tag: str | Sequence[str], **options: Any) -> RunsSubscription[Any, Any]:
    """The same for the runs with a tag, or with all of several, until it is cancelled."""
    return _watch(get_client().subscribe_to_runs_with_tag, tag, **options)


def watch_batch(batch_id: str, **options: Any) -> RunsSubscription[Any, Any]:
    """The same for the runs of a batch, until all have finished."""
    return _watch(get_client().subscribe_to_batch, batch_id, **options)


def watch_stream(run_id: str, key: str = "default", **options: Any) -> StreamSubscription[Any]:
    """Sends `part_received` for a stream, and the signals of its run, until it has finished."""
    subscribe = get_client().subscribe_to_stream
    on_stream = functools.partial(_send_parts, run_id)
    return _watch(subscribe, run_id, key, on_stream=on_stream, **options)


def _watch(subscribe: Callable[..., SubscriptionT], *target: Any, **options: Any) -> SubscriptionT:
    callbacks = {"on_update": _send_updated, "on_complete": _send_completed}
    on_stream = options.pop("on_stream", None)
    source = shared(subscribe, *target, **options)
    if on_stream is not None:
        callbacks["on_stream"] = on_stream
    id_ = f"signals-{cast(Any, source).keywords['id']}"
    with _lock:
        running = get_client().get(id_)
        return cast(SubscriptionT, running) if running is not None else source(**callbacks, id=id_)


# Two threads that ask at once would join one subscription, and each be told what the signals tell.
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _send_updated(run: Run[Any, Any]) -> None:
    run_updated.send_robust(sender=Run, run=run)


def _send_completed(run: Run[Any, Any]) -> None:
    run_completed.send_robust(sender=Run, run=run)


def _send_parts(run_id: str, key: str, parts: list[Any]) -> None:
    part_received.send_robust(sender=Run, run_id=run_id, key=key, parts=parts)
