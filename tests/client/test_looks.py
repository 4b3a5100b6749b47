"""One look at a run that is followed in turn (docs/protocol.md, section 2, items 6 and 7)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.raw import Exchange, RawServer, by_poll, reply
from tests.support.settings import QUICK, TOKEN
from tests.support.shape import done, headers, message, row
from trigger_realtime_sync import RetryPolicy, Timeouts
from trigger_realtime_sync._decode.rows import RowDecoder
from trigger_realtime_sync._feeds.run_feed import RunFeed
from trigger_realtime_sync._http.requester import Origin, Requester
from trigger_realtime_sync._http.retry import Rotated
from trigger_realtime_sync._http.session import HttpOptions, Transport
from trigger_realtime_sync._http.tokens import TokenSource
from trigger_realtime_sync._wire.changes import Changes
from trigger_realtime_sync._wire.names import run_path

UP_TO_DATE = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "1"}}


class Opinion:
    """Knows that the run has finished, once it was asked so often."""

    def __init__(self, asked: int) -> None:
        self._left = asked

    def hasten(self) -> None:
        """Not told apart."""

    def after(self, log: Any, changes: Any) -> Any:
        self._left -= 1
        return Changes(rows={"the row": RowDecoder().decode(done())}) if self._left == 0 else None


class Look:
    """A feed, and the states of the run that it told."""

    def __init__(
        self, server: RawServer, retry: RetryPolicy = QUICK, opinion: Opinion | None = None
    ) -> None:
        origin = Origin(
            transport=Transport(HttpOptions(timeouts=Timeouts())),
            base_url=server.url,
            token=TokenSource(TOKEN),
            retry=retry,
        )
        self.requester = Requester(origin, "run run_1")
        self.told: list[str] = []
        self._follows_on = opinion is None
        self.feed = RunFeed(
            self.requester,
            run_path("run_1"),
            {},
            RowDecoder(),
            run_id="run_1",
            on_changes=self._keep,
            opinion=opinion,
        )

    def _keep(self, changes: Any) -> bool:
        self.told += [run.status.value for run in changes.rows.values()]
        return self._follows_on or "COMPLETED" not in self.told


@pytest.fixture
def look() -> Callable[..., Look]:
    return Look


def test_a_look_that_asks_again_tells_what_it_read(raw, look):
    """Where an answer ends within a transaction, the log is read on at the old offset; what the
    first answer said is told all the same."""
    change = message(done(), "update")
    change["headers"]["lsn"] = "7"
    server = raw(
        reply(200, headers("0_0"), [message(row())]),
        reply(200, headers("0_inf"), [UP_TO_DATE]),
        reply(200, headers("7_0"), [change, UP_TO_DATE]),
    )
    feed = look(server)
    assert feed.feed.look()
    assert feed.feed.look()
    assert [exchange.query["offset"] for exchange in server.exchanges[2:]] == ["0_inf", "0_inf"]
    assert feed.told == ["EXECUTING", "COMPLETED"]


def test_a_look_is_paced_where_the_server_is_never_up_to_date(raw, look):
    """Electric may answer `[]`, and not up to date: few requests, and the look ends."""
    server = raw(reply(200, headers("0_0"), []))
    feed, began = look(server, RetryPolicy(initial_delay=0.01, max_delay=0.1)), time.monotonic()
    with pytest.raises(Rotated):
        feed.feed.look()
    assert len(server.exchanges) <= 10
    assert time.monotonic() - began > 0.3


def test_a_look_that_starts_again_and_again_is_tried_later(raw, look):
    """Two restarts end the look; that passes, so that the run is looked at later."""

    def refuse(exchange: Exchange) -> None:
        exchange.answer(409, {}, [{"headers": {"control": "must-refetch"}}])

    server = raw(refuse)
    feed = look(server)
    with pytest.raises(Rotated) as caught:
        feed.feed.look()
    assert len(server.exchanges) == 2
    assert feed.requester.delay_after(caught.value) >= 0


def test_a_look_asks_for_a_second_opinion(raw, look):
    """A run that is followed in turn may be one that Electric never tells the end of, too."""
    server = raw(reply(200, headers("0_inf"), [message(row()), UP_TO_DATE]))
    feed = look(server, opinion=Opinion(asked=2))
    assert feed.feed.look()
    assert not feed.feed.look()
    assert feed.told == ["EXECUTING", "COMPLETED"]


def test_a_feed_that_fails_asks_for_a_second_opinion(raw, look):
    """REST may know of the end while the feed is down for hours."""
    server = raw(
        by_poll(reply(200, headers("0_inf"), [message(row()), UP_TO_DATE]), reply(503)),
    )
    feed = look(server, opinion=Opinion(asked=3))
    feed.feed.run()
    assert feed.told == ["EXECUTING", "COMPLETED"]
