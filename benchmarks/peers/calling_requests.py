"""What one writes without a client: a session of requests. No retry, no check, no handle; the
command line is that of `_caller`."""

from __future__ import annotations

import json
import sys
import uuid

import requests
from _caller import KILOBYTE, PAYLOAD, TAGS, TASK, THREADS, measure
from requests.adapters import HTTPAdapter


def packet(value: object) -> tuple[str, dict[str, object]]:
    text = json.dumps({"json": value})
    return text, {"payloadType": "application/super+json", "payloadSize": len(text)}


def main() -> None:
    kind, url, count = sys.argv[1:4]
    session = requests.Session()
    session.mount("http://", HTTPAdapter(pool_maxsize=THREADS))
    session.headers["Authorization"] = "Bearer tr_dev_x"

    def trigger() -> None:
        text, options = packet(PAYLOAD)
        answer = session.post(
            f"{url}/api/v1/tasks/{TASK}/trigger",
            json={"payload": text, "options": {**options, "tags": TAGS}},
            headers={"x-trigger-request-idempotency-key": str(uuid.uuid4())},
        )
        answer.raise_for_status()
        assert answer.json()["id"]

    def batch(number: int) -> None:
        made = session.post(f"{url}/api/v3/batches", json={"runCount": number})
        made.raise_for_status()
        lines = []
        for n in range(number):
            text, options = packet({"n": n, "text": KILOBYTE})
            line = {"index": n, "task": TASK, "payload": text, "options": options}
            lines.append(json.dumps(line, separators=(",", ":")))
        answer = session.post(
            f"{url}/api/v3/batches/{made.json()['id']}/items",
            data="\n".join(lines).encode(),
            headers={"Content-Type": "application/x-ndjson"},
        )
        answer.raise_for_status()
        assert answer.json()["itemsAccepted"] == number

    measure(kind, int(count), trigger, batch)


if __name__ == "__main__":
    main()
