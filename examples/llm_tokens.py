"""Print the tokens that a task streams, as they arrive.

export TRIGGER_SECRET_KEY=tr_…
python llm_tokens.py run_1234 openai
"""

import sys

from trigger_realtime_sync import RealtimeClient, TextJoiner


def main(run_id: str, key: str = "default") -> None:
    with RealtimeClient() as client:
        stream = client.subscribe_to_stream(run_id, key, part_type=str)
        # A token may end inside an emoji; the rest of it comes with the next one.
        joined = TextJoiner()
        for token in stream.updates():
            print(joined.feed([token]), end="", flush=True)
        run = stream.wait_for_completion()
        print(f"{joined.end()}\n[{run.status if run is not None else 'ended'}]")


if __name__ == "__main__":
    main(*sys.argv[1:])
