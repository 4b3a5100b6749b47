"""A page follows a run by itself, with what the official client gets from us."""

from __future__ import annotations

from trigger_realtime_sync.contrib.page import run_props
from trigger_realtime_sync.testing import RealtimeServer

KEY = "tr_dev_of_the_page"


def test_the_official_client_follows_the_run(official, connect):
    """By the token of a page, from its first state to its end."""
    with RealtimeServer() as server:
        client = connect(server, access_token=KEY)
        handle = client.trigger("t", {"a": 1})
        props = run_props(client, handle, base_url=server.url)
        told = official.subscribe(
            "run", props["baseURL"], props["runId"], token=props["accessToken"]
        )
        told.wait_for(runs=1)
        server.complete_run(handle.id, output={"done": True})
        told.wait_for(ended=True)
        assert told.runs[-1]["output"] == {"done": True}
