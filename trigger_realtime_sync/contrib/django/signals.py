"""Signals, sent by the subscriptions of `watching`. The sender is `trigger_realtime_sync.Run`.

They are sent on a thread of the client, one at a time and in order for each subscription. A
receiver that raises is logged by Django, and keeps no other from being told.

- `run_updated(run)`: a run changed.
- `run_completed(run)`: a run has finished, well or not. Also for one that had already finished
  when it was subscribed to: after a restart it may come again.
- `part_received(key, parts, run_id)`: new parts of a stream, in order.
"""

from __future__ import annotations

from django.dispatch import Signal

run_updated = Signal()
run_completed = Signal()
part_received = Signal()
