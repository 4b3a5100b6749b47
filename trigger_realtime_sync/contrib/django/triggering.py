"""Triggering what must not begin before the data is there that it needs.

    with transaction.atomic():
        order = Order.objects.create(…)
        trigger_on_commit("ship", {"order": order.pk}, idempotency_key=f"order-{order.pk}")

A task may run before the transaction has ended, and would not find the order; and it would run for
an order that was rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction

from ... import BatchItem, RunHandle, Task
from .client import get_client

# Those of a call, which an item of a batch does not have.
_OF_CALLS = ("call_timeout", "access_token")


def trigger_on_commit(
    task: Task[Any, Any] | str,
    *payload: Any,
    using: str | None = None,
    then: Callable[[RunHandle[Any, Any]], object] | None = None,
    robust: bool = False,
    **options: Any,
) -> None:
    """Trigger a run once the transaction is committed, or at once if there is none.

    Args:
        task, payload: as in `client.trigger`. The payload is encoded then: it must not change.
        using: the database whose transaction it is; the default one unless given.
        then: called with the handle, to keep its id say. The transaction is over then.
        robust: whether what is raised then is logged by Django, and keeps no later hook from being
            called. Otherwise it is raised by what committed: by the `atomic` block, or by the
            request with `ATOMIC_REQUESTS`.
        options: as in `client.trigger`. With an `idempotency_key` the same code can be run again.

    Nothing is triggered if the transaction is rolled back. If the trigger fails, the data is there
    and the run is not: keep what is still to be triggered in the database where that matters.

    Raises:
        ValueError, TypeError: an argument can't work: at once, and not after the commit.
    """
    if len(payload) > 1:
        raise TypeError("trigger_on_commit takes a task and one payload")
    # Checks all of them.
    BatchItem(task, *payload, **{k: v for k, v in options.items() if k not in _OF_CALLS})

    # A function, and no partial: Django names it in its log.
    def trigger() -> None:
        handle = get_client().trigger(task, *payload, **options)
        if then is not None:
            then(handle)

    transaction.on_commit(trigger, using=using, robust=robust)
