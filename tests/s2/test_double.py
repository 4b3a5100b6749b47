"""The test server's v2 streams against S2 itself: the same appends and reads, the same events."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from tests.s2.process import CREATING, S2, STRICT, trim_record
from tests.s2.route import Route
from trigger_realtime_sync.testing import RealtimeServer

# How long a trim takes, which S2 does in the background, and how often to look for it.
TRIM_SECONDS, LOOK_SECONDS = 10.0, 0.05
TIMESTAMP = "<timestamp>"


def part(number: int, text: str = "") -> dict[str, Any]:
    return {"body": json.dumps({"data": f"{number}{text}", "id": f"id{number}"})}


def parts(*numbers: int) -> list[dict[str, Any]]:
    return [part(number) for number in numbers]


CONTROL = {"headers": [["trigger-control", "turn-complete"], ["public-access-token", "x"]]}
FENCE = {"headers": [["", "fence"]], "body": "token"}
LARGE = "x" * 700_000
TEXTS = ["é ✓ 😀", "\u2028\u2029\x00\x01\x1f\x7f\t\r\n\\/\"'<>&", "", " "]


@attrs.frozen
class Side:
    """One of the two: how it is written to, and where it is read."""

    url: str
    write: Callable[..., Any]
    delete: Callable[[], Any]
    run_id: str

    def read(self, seen: threading.Event | None = None, **headers: str) -> Any:
        """Return the events of one body; `seen` is set at its first ping."""
        url = urlsplit(self.url)
        names = {name.replace("_", "-"): text for name, text in headers.items()}
        with closing(http.client.HTTPConnection(url.hostname, url.port, timeout=30)) as opened:
            path = f"/realtime/v1/streams/{self.run_id}/s"
            opened.request("GET", path, headers={"Authorization": "Bearer tr_x", **names})
            answer = opened.getresponse()
            if answer.status != 200:
                return answer.status, answer.read()
            assert answer.headers["x-stream-version"] == "v2"
            return [_told(block, seen) for block in _blocks(answer)]

    def follow(self, *writes: Callable[[], Any], **headers: str) -> Any:
        """Read, and write each of these once the reader follows."""
        seen = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(self.read, seen, **headers)
            assert seen.wait(10)
            for write in writes:
                write()
                time.sleep(0.05)
            return reading.result(30)


def _blocks(answer: http.client.HTTPResponse) -> Iterator[list[str]]:
    lines: list[str] = []
    for raw in answer:
        line = raw.decode().rstrip("\n")
        if line:
            lines.append(line)
        else:
            yield lines
            lines = []
    assert lines == [], "a body ended within an event"


def _told(block: list[str], seen: threading.Event | None) -> dict[str, Any]:
    event: dict[str, Any] = dict(line.split(": ", 1) for line in block)
    if event["data"] != "[DONE]":
        event["data"] = json.loads(event["data"], object_pairs_hook=_without_time)
    if seen is not None and event.get("event") == "ping":
        seen.set()
    return event


def _without_time(pairs: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    # As pairs: the order of the fields is compared too. The time of an empty stream is 0.
    return [(k, TIMESTAMP if k == "timestamp" and v else v) for k, v in pairs]


@pytest.fixture
def both(shared_s2: S2) -> Iterator[Callable[..., Any]]:
    """Does the same to the test server and to S2, and compares what it returns."""
    with RealtimeServer() as creating, RealtimeServer(creates_streams=False) as strict:

        def make(do: Callable[[Side], Any], *, basin: str = CREATING) -> Any:
            double = creating if basin == CREATING else strict
            run_id = double.create_run()
            with Route(shared_s2, double, basin) as route:
                theirs = Side(
                    route.url,
                    lambda *records: shared_s2.append(run_id, "s", *records, basin=basin),
                    lambda: shared_s2.delete(run_id, "s", basin=basin),
                    run_id,
                )
                real = do(theirs)
            ours = Side(
                double.url,
                lambda *records: double.append_records(run_id, "s", *records),
                lambda: double.delete_stream(run_id, "s"),
                run_id,
            )
            assert do(ours) == real
            return real

        yield make


def names(events: list[dict[str, Any]]) -> list[str]:
    return [event.get("event", event["data"]) for event in events]


@pytest.mark.parametrize(
    "headers",
    [
        {"Timeout_Seconds": "0"},
        {"Timeout_Seconds": "1"},
        {"Timeout_Seconds": " 1.9 s"},
        {"Timeout_Seconds": "soon"},
        {"Timeout_Seconds": "-1"},
        {"Timeout_Seconds": "601"},
        {"Timeout_Seconds": "0", "Last_Event_ID": "1"},
        {"Timeout_Seconds": "0", "Last_Event_ID": "4"},
        {"Timeout_Seconds": "1", "Last_Event_ID": "4"},
        {"Timeout_Seconds": "1", "Last_Event_ID": "49"},
        {"Timeout_Seconds": "0", "Last_Event_ID": "999999999999999"},
        {"Timeout_Seconds": "0", "Last_Event_ID": "1795414762693-0"},
        {"Timeout_Seconds": "0", "Last_Event_ID": "4,5,99"},
        {"Timeout_Seconds": "0", "Last_Event_ID": "18446744073709551615"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_what_is_asked_for(both, headers):
    """Every position, and every wait, of a stream of five records in two appends."""

    def do(side):
        side.write(*parts(0, 1, 2))
        side.write(*parts(3, 4))
        return side.read(**headers)

    both(do)


def test_records_of_every_kind(both):
    """Parts in any script, commands, control records, and what is empty: names and sizes."""

    def do(side):
        side.write(*(part(n, text) for n, text in enumerate(TEXTS)))
        side.write(CONTROL, FENCE, {"body": ""}, {"headers": [["k", "é"]], "body": "no envelope"})
        side.write(part(9), part(9))
        return side.read(Timeout_Seconds="0")

    assert names(both(do)) == ["batch", "[DONE]"]


def test_batches_are_split_by_count_and_by_size(both):
    """A thousand records, or a mebibyte, in the backlog; the appends do not matter there."""

    def do(side):
        for first in range(0, 1500, 500):
            side.write(*parts(*range(first, first + 500)))
        for number in range(3):
            side.write(part(number, LARGE))
        return side.read(Timeout_Seconds="0")

    assert names(both(do)) == ["batch"] * 4 + ["[DONE]"]


def test_what_is_written_while_it_is_read(both):
    """A ping where the backlog ends, then a batch for each append, with its end as tail."""

    def do(side):
        side.write(*parts(0))
        writes = [parts(1, 2), parts(3), [CONTROL, FENCE], [part(4, "é")]]
        return side.follow(
            *(lambda records=records: side.write(*records) for records in writes),
            Timeout_Seconds="1",
        )

    assert names(both(do)) == ["batch", "ping", *["batch"] * 4, "[DONE]"]


def test_a_stream_that_is_written_to_later(both):
    """Reading created it."""
    told = both(lambda side: side.follow(lambda: side.write(*parts(0)), Timeout_Seconds="1"))
    assert names(told) == ["ping", "batch", "[DONE]"]


def test_a_stream_that_was_trimmed(both):
    """What is left begins with the number that the command names; positions below it too."""

    def do(side):
        side.write(*parts(*range(6)))
        side.write(trim_record(4))
        side.write(*parts(6))
        wait_for_first(side, 4)
        return [side.read(Timeout_Seconds="0", Last_Event_ID=last) for last in ("", "1", "3", "5")]

    both(do)


def test_a_trim_beyond_itself(both):
    """It reaches as far as its own number, and no later record."""

    def do(side):
        side.write(*parts(0, 1))
        side.write(trim_record(100), part(3))
        wait_for_first(side, 3)
        return side.read(Timeout_Seconds="0")

    both(do)


def test_a_trim_while_it_is_read(both):
    """Readers are sent the command like any record."""

    def do(side):
        side.write(*parts(0, 1, 2))
        return side.follow(lambda: side.write(trim_record(2)), Timeout_Seconds="1")

    assert names(both(do)) == ["batch", "ping", "batch", "[DONE]"]


def test_a_stream_that_is_deleted_while_it_is_read(both):
    """A command that trims everything, an error, and a proper end without `[DONE]`."""

    def do(side):
        side.write(*parts(0, 1))
        return side.follow(side.delete, Timeout_Seconds="5")

    assert names(both(do)) == ["batch", "ping", "batch", "error"]


def test_a_stream_that_was_deleted(both):
    """A new one, which begins at 0 and says nothing of the one before."""

    def do(side):
        side.write(*parts(0, 1))
        side.delete()
        empty = side.read(Timeout_Seconds="1", Last_Event_ID="1")
        side.write(*parts(7))
        return empty, side.read(Timeout_Seconds="0")

    both(do)


def test_an_absent_stream_in_a_basin_that_does_not_create(both):
    """A failure like any other, until it is written to; deleted, it is absent again."""

    def do(side):
        absent = side.read(Timeout_Seconds="1")
        side.write(*parts(0))
        there = side.read(Timeout_Seconds="0")
        side.delete()
        return absent, there, side.read(Timeout_Seconds="1")

    absent, _, again = both(do, basin=STRICT)
    assert absent == again == (500, b'{"error":"Internal Server Error"}')


def wait_for_first(side: Side, number: int) -> None:
    """Wait until the first record that is left is this one."""
    end = time.monotonic() + TRIM_SECONDS
    while True:
        batch = side.read(Timeout_Seconds="0")[0]["data"]
        if dict(dict(batch)["records"][0])["seq_num"] == number:
            return
        assert time.monotonic() < end, "nothing was trimmed"
        time.sleep(LOOK_SECONDS)
