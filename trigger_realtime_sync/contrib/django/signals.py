"""Signals, sent by the subscriptions of `watching`. The sender is `trigger_realtime_sync.Run`.

They are sent on threads of the client, one at a time and in order for each subscription. If a
receiver raises, Django logs it and calls the others.

- `run_updated(run)`: a run changed.
- `run_completed(run)`: a run finished, successfully or not. Runs that had finished before they were
  watched count too, so that a restart may send this again.
- `part_received(run_id, key, parts)`: new parts of a stream, in order.
"""

from __future__ import annotations

from django.dispatch import Signal

run_updated = Signal()
run_completed = Signal()
part_received = Signal()
