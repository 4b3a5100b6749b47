"""Wait until a run has finished, and print its output.

export TRIGGER_SECRET_KEY=tr_…
python wait_for_completion.py run_1234
"""

import sys

from trigger_realtime_sync import RealtimeClient, RunFailed, WaitTimeout


def main(run_id: str) -> int:
    with RealtimeClient() as client:
        subscription = client.subscribe_to_run(run_id)
        try:
            print(subscription.result(timeout=300))
        except RunFailed as failure:
            print(f"{failure.run.status}: {failure.error}", file=sys.stderr)
            return 1
        except WaitTimeout:
            print("still not finished after five minutes", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
