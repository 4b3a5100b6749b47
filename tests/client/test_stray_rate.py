"""Runs that a feed tells no longer are asked for in turn (docs/protocol.md, section 2, item 6)."""

from __future__ import annotations

from tests.support.raw import Exchange
from tests.support.shape import UP_TO_DATE, headers, message, row
from tests.support.waiting import eventually

RUNS = [message(row(f"run_{n}")) for n in range(40)]
REFETCH = [{"headers": {"control": "must-refetch"}}]


class Rotating:
    """Answers a tag's feed, once with all runs and then with none, and each of the runs."""

    def __init__(self) -> None:
        self.rotated = False
        self.looks: list[str] = []
        self.held: list[str] = []

    def __call__(self, exchange: Exchange) -> None:
        name = exchange.path.rpartition("/")[2]
        if name == "runs":
            self._answer_tag(exchange)
        elif exchange.live:
            self.held.append(name)
            exchange.hold()
        else:
            self.looks.append(name)
            exchange.answer(200, headers(), [message(row(name)), UP_TO_DATE])

    def _answer_tag(self, exchange: Exchange) -> None:
        if not exchange.live:
            exchange.answer(200, headers(), [*([] if self.rotated else RUNS), UP_TO_DATE])
        elif self.rotated:
            exchange.hold()
        else:
            self.rotated = True
            exchange.answer(409, {}, REFETCH)


def test_runs_that_left_the_window_are_asked_for_in_turn(raw, connect):
    """Four are followed by live polls, and all others one a second: a rotation that leaves out
    hundreds makes no burst of requests."""
    answering = Rotating()
    subscription = connect(raw(answering)).subscribe_to_runs_with_tag("a")
    eventually(lambda: len(answering.held) == 4, "four are followed by live polls")
    assert len(answering.looks) <= 4 + 3
    assert len(subscription.runs) == len(RUNS)
