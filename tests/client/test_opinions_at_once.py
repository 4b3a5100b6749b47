"""Second opinions beside the feed: cut off, bounded, and asked no oftener than needed.

docs/protocol.md, section 2, item 7.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.raw import hold
from tests.support.settings import QUICK, TOKEN
from tests.support.waiting import eventually
from trigger_realtime_sync import Timeouts
from trigger_realtime_sync._channel.requesters import Requesters
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync._feeds.second_opinion import RestOpinion
from trigger_realtime_sync._http.call import Interrupted
from trigger_realtime_sync._http.requester import Origin
from trigger_realtime_sync._http.session import HttpOptions, Transport
from trigger_realtime_sync._http.tokens import TokenSource


def requesters_of(server: Any) -> Requesters:
    origin = Origin(
        transport=Transport(HttpOptions(timeouts=Timeouts())),
        base_url=server.url,
        token=TokenSource(TOKEN),
        retry=QUICK,
    )
    return Requesters(origin, "tag a")


def test_all_that_ask_at_once_are_cut_off(raw):
    """The feed and the runs that are followed singly ask on threads of their own; the end of the
    channel reaches each of them, though REST answers none."""
    server = raw(hold())
    requesters = requesters_of(server)
    rest = RestOpinion(lambda: requesters.lend(10.0), RowDecoder(), {})

    def ask(run_id: str) -> None:
        with pytest.raises(Interrupted):
            rest.finished(run_id, None, {})

    threads = [threading.Thread(target=ask, args=(f"run_{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(server.exchanges) == 4)
    requesters.stop()
    for thread in threads:
        thread.join(2)
    assert not any(thread.is_alive() for thread in threads)
