"""Second opinions beside the feed: cut off, bounded, and asked no oftener than needed.

docs/protocol.md, section 2, item 7.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.raw import hold
from tests.support.settings import QUICK, TOKEN
from tests.support.shape import done, row
from tests.support.waiting import eventually
from trigger_realtime_sync import Timeouts
from trigger_realtime_sync._channel.requesters import Requesters
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync._feeds import second_opinion
from trigger_realtime_sync._feeds.second_opinion import RestOpinion, RunOpinion, RunsOpinion
from trigger_realtime_sync._http.call import Interrupted
from trigger_realtime_sync._http.rations import Rations
from trigger_realtime_sync._http.requester import Origin
from trigger_realtime_sync._http.session import HttpOptions, Transport
from trigger_realtime_sync._http.tokens import TokenSource
from trigger_realtime_sync._wire.changes import Changes
from trigger_realtime_sync._wire.shape_log import ShapeLog


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
            rest.finished(run_id, None, {}, 0.0)

    threads = [threading.Thread(target=ask, args=(f"run_{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(server.exchanges) == 4)
    requesters.stop()
    for thread in threads:
        thread.join(2)
    assert not any(thread.is_alive() for thread in threads)


def test_feeds_that_are_due_together_take_turns(monkeypatch):
    """Their polls end together, again and again: each waits a few seconds for its turn, so that not
    only one of them gets it. Who would wait longer tries again after its next poll."""
    monkeypatch.setattr(second_opinion, "LONGEST_WAIT", 2.0)
    waits = []

    class Rest:
        def finished(self, run_id: str, row_key: str, columns: Any, wait: float) -> None:
            waits.append(round(wait, 1))

    rations = Rations()
    log = ShapeLog(RowDecoder().decode)
    log.electric = True
    for n in range(10):
        opinion = RunOpinion(Rest(), rations, f"run_{n}")
        opinion.hasten()
        assert opinion.after(log, Changes()) is None
    assert waits == [0, 0.5, 1, 1.5, 2]


def test_a_run_that_rest_calls_finished_is_not_asked_for_again(monkeypatch):
    """Of the silent runs of a tag, those whose end REST told are silent for good."""
    monkeypatch.setattr(second_opinion, "SILENT_RUN_SECONDS", 0.0)
    asked = []

    class Rest:
        def finished(self, run_id: str, row_key: str, columns: Any, wait: float) -> Any:
            asked.append(run_id)
            return Changes(rows={row_key: RowDecoder().decode(done(run_id))})

    rations = Rations()
    log = ShapeLog(RowDecoder().decode)
    log.electric = True
    opinion = RunsOpinion(Rest(), rations)
    first = Changes(rows={"key": RowDecoder().decode(row("run_1"))})
    assert opinion.after(log, first)
    for _ in range(3):
        rations.silent_runs.__init__(0.1)
        rations.opinions.__init__(2.0)
        assert opinion.after(log, Changes()) is None
    assert asked == ["run_1"]
