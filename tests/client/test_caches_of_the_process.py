"""A cache that someone installed for all of requests answers nothing of ours."""

from __future__ import annotations

from tests.support import scripts
from tests.support.raw import by_path, reply
from tests.support.shape import answer, done, locate

STORED = {"output": "packets/x.json", "outputType": "application/store"}

SCRIPT = """
import sys
import requests

class Cached(requests.Session):
    # As requests_cache.install_cache() does: a subclass in the place of the class.
    def send(self, request, **options):
        raise AssertionError("a cache was asked")

requests.Session = requests.sessions.Session = Cached

from trigger_realtime_sync import RealtimeClient

with RealtimeClient("tr_x", base_url=sys.argv[1]) as client:
    print(client.wait_for_completion(sys.argv[2], timeout=10).status.value)
"""


def test_a_class_in_the_place_of_the_session_of_requests(server):
    """Put there before this package is imported: it would be asked instead of the server."""
    run_id = server.create_run()
    server.complete_run(run_id)
    ran = scripts.run(SCRIPT, server.url, run_id)
    assert ran.lines() == ["COMPLETED"], ran.err


def test_every_request_says_that_nothing_may_be_stored(raw, connect):
    """Polls, streams, lists of runs, and packets with what they are fetched from."""
    steps = {
        "/realtime/v1/streams/": reply(200, {"content-type": "text/event-stream"}),
        "/realtime/v1/batches/": answer({**done(), **STORED}),
        "/api/v2/batches/": reply(200, {}, {"runs": ["run_1"], "runCount": 1}),
        "/realtime/v1/runs/": answer(done()),
        "/packets/": locate,
        "/store": reply(200, {"content-type": "application/json"}, [1]),
    }
    server = raw(by_path(steps, locate))
    client = connect(server)
    (run,) = client.subscribe_to_batch("batch_1").wait_for_completion(10)
    assert run.output == [1]
    client.subscribe_to_stream("run_1", "s").wait_for_completion(10)
    paths = {one.path for one in server.exchanges}
    assert len(paths) == 6
    assert {one.headers.get("cache-control") for one in server.exchanges} == {"no-store"}
