"""Show all runs with a tag in the terminal, until Ctrl-C.

export TRIGGER_SECRET_KEY=tr_…
python tag_dashboard.py user:7
"""

import sys
from collections import Counter

from trigger_realtime_sync import RealtimeClient, Run

CLEAR = "\x1b[2J\x1b[H"


def line(run: Run) -> str:
    seconds = (run.duration_ms or 0) / 1000
    return f"{run.id:<30} {run.task_identifier:<20} {run.status:<10} {seconds:6.1f} s"


def dashboard(runs: list[Run]) -> str:
    counts = Counter(run.status.value for run in runs)
    head = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return "\n".join([head, "", *map(line, runs)])


def main(tag: str) -> None:
    with RealtimeClient() as client:
        subscription = client.subscribe_to_runs_with_tag(
            tag, created_at="6h", skip_columns=["payload", "output"]
        )
        # Changes during a redraw coalesce, so that this never falls behind.
        for _ in subscription.updates():
            print(CLEAR + dashboard(subscription.runs), flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        pass
