"""Subscriptions that send the signals, one per process however often they are asked for.

Two calls get the same subscription if their targets and options are equal. A run that is watched
with other options too, or through its tag, sends its signals once for each of them.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from ... import Run, RunsSubscription, RunSubscription, StreamSubscription, Subscription
from .._source import SharedSource, shared
from .client import get_client
from .signals import part_received, run_completed, run_updated

SubscriptionT = TypeVar("SubscriptionT", bound=Subscription)


def watch_run(run_id: str, **options: Any) -> RunSubscription[Any, Any]:
    """Send `run_updated` and `run_completed` for a run, until it has finished.

    Args:
        run_id: the run (`run_…`).
        options: options of `RealtimeClient.subscribe_to_run`.
    """
    return _watch(shared(get_client().subscribe_to_run, run_id, **options))


def watch_tag(tag: str | Sequence[str], **options: Any) -> RunsSubscription[Any, Any]:
    """Send `run_updated` and `run_completed` for the runs with a tag, until it is cancelled.

    Args:
        tag: a tag, or several that a run must all have.
        options: options of `RealtimeClient.subscribe_to_runs_with_tag`.
    """
    return _watch(shared(get_client().subscribe_to_runs_with_tag, tag, **options))


def watch_batch(batch_id: str, **options: Any) -> RunsSubscription[Any, Any]:
    """Send `run_updated` and `run_completed` for the runs of a batch, until all have finished.

    Args:
        batch_id: the batch (`batch_…`).
        options: options of `RealtimeClient.subscribe_to_batch`.
    """
    return _watch(shared(get_client().subscribe_to_batch, batch_id, **options))


def watch_stream(run_id: str, key: str = "default", **options: Any) -> StreamSubscription[Any]:
    """Send `part_received` for a stream, and the signals of its run, until it has finished.

    Args:
        run_id: the run (`run_…`).
        key: the key of the stream.
        options: options of `RealtimeClient.subscribe_to_stream`.
    """
    source = shared(get_client().subscribe_to_stream, run_id, key, **options)
    return _watch(source, on_stream=functools.partial(_send_parts, run_id))


def _watch(source: SharedSource[SubscriptionT], **callbacks: Any) -> SubscriptionT:
    callbacks |= {"on_update": _send_updated, "on_complete": _send_completed}
    id_ = f"signals-{source.id}"
    with _lock:
        running = get_client().get(id_)
        return cast(SubscriptionT, running) if running is not None else source(**callbacks, id=id_)


# Without this lock two threads could both subscribe, and every signal would be sent twice.
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
