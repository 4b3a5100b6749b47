"""This project's client, calling: see `_caller`."""

from __future__ import annotations

import sys

if "--without-orjson" in sys.argv:
    sys.modules["orjson"] = None  # type: ignore[assignment]

from _caller import KILOBYTE, PAYLOAD, TAGS, TASK, measure

from trigger_realtime_sync import BatchItem, RealtimeClient


def main() -> None:
    kind, url, count = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
    with RealtimeClient(access_token="tr_dev_x", base_url=url) as client:

        def trigger() -> None:
            assert client.trigger(TASK, PAYLOAD, tags=TAGS).id

        def batch(number: int) -> None:
            items = [BatchItem(TASK, {"n": n, "text": KILOBYTE}) for n in range(number)]
            assert client.batch_trigger(items).run_count == number

        measure(kind, int(count), trigger, batch)


if __name__ == "__main__":
    main()
