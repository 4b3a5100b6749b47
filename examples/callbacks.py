"""React to every change of a run while the main thread does something else.

export TRIGGER_SECRET_KEY=tr_…
python callbacks.py run_1234
"""

import sys
import threading

from trigger_realtime_sync import RealtimeClient, Run, TriggerRealtimeError

ended = threading.Event()


def on_update(run: Run) -> None:
    print(f"{run.status:<10} {run.metadata}", flush=True)


def on_complete(run: Run) -> None:
    print(f"finished: {run.output}", flush=True)
    ended.set()


def on_error(error: TriggerRealtimeError) -> None:
    print(f"error: {error}", file=sys.stderr)
    # Other errors, such as one raised by a callback, do not end the subscription.
    if error.terminal:
        ended.set()


def main(run_id: str) -> None:
    with RealtimeClient() as client:
        client.subscribe_to_run(
            run_id, on_update=on_update, on_complete=on_complete, on_error=on_error
        )
        while not ended.wait(timeout=10):
            print("the main thread is free", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
