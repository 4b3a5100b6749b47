"""Runs that belong to what is followed, but that its feed does not tell: each has its own feed.

A feed stops telling a run that its window has left behind, or that is beyond the largest snapshot,
and it never shows a run that a batch reused. Source: docs/protocol.md, section 2, item 6, and
section 1, "When a batch is complete".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress

import attrs

from .._clock import monotonic
from .._http.call import Interrupted
from .._http.requester import Requester
from ..errors import TriggerRealtimeError
from .run_feed import RunChanges
from .sources import SingleRunSource

logger = logging.getLogger("trigger_realtime_sync")

# How many strays are asked for side by side, and then followed by live polls, which are limited.
MOST_LIVE = 4
# The others are asked for in turn, not live: seconds between two requests, and between two for one
# run.
TURN_SECONDS = 1.0
RUN_SECONDS = 10.0

OnChanges = Callable[[RunChanges], bool]
MakeFeed = Callable[[str, Requester, OnChanges], SingleRunSource]


@attrs.define(eq=False)
class _Stray:
    """One run.

    Attributes:
        ready: when it may be asked for again after a failure, by the monotonic clock.
        due: when its turn comes again.
        ended: whether it is to be followed no longer.
    """

    run_id: str
    requester: Requester
    feed: SingleRunSource = attrs.field(init=False)
    ready: float = 0.0
    due: float = 0.0
    ended: bool = False


class StrayRuns:
    """Follows runs singly, each until it has finished.

    Args:
        label: names the threads.
        make_requester: makes the requester of one run, or of the thread that takes turns. The owner
            stops it to end everything.
        release: takes back a requester that is not needed any more.
        make_feed: makes the feed of a run.
        start_thread: starts a thread.
        on_changes: called with the changes of a run, on the thread that reads it. Returns True to
            follow it on.
        on_lost: called when a run can't be followed, with its id and the reason.
    """

    def __init__(
        self,
        label: str,
        *,
        make_requester: Callable[[], Requester],
        release: Callable[[Requester], None],
        make_feed: MakeFeed,
        start_thread: Callable[[Callable[[], None], str], None],
        on_changes: Callable[[str, RunChanges], bool],
        on_lost: Callable[[str, TriggerRealtimeError], None],
    ) -> None:
        self._label = label
        self._make_requester = make_requester
        self._release = release
        self._make_feed = make_feed
        self._start_thread = start_thread
        self._on_changes = on_changes
        self._on_lost = on_lost
        # Protects everything below.
        self._lock = threading.Lock()
        self._strays: dict[str, _Stray] = {}
        self._new: list[_Stray] = []
        self._waiting: list[_Stray] = []
        self._followers = 0
        self._takes_turns = False

    def __len__(self) -> int:
        return len(self._strays)

    def ask(self, run_ids: Iterable[str]) -> None:
        """Look at each of these runs as soon as may be, then follow those that have not finished.
        Safe from any thread."""
        self._add(run_ids, self._new)

    def follow(self, run_ids: Iterable[str]) -> None:
        """Follow these runs too, if any, and those that wait for a thread. Safe from any thread."""
        self._add(run_ids, self._waiting)

    def _add(self, run_ids: Iterable[str], queue: list[_Stray]) -> None:
        with self._lock:
            for run_id in run_ids:
                if run_id not in self._strays:
                    stray = self._strays[run_id] = self._make(run_id)
                    queue.append(stray)
        self._start_threads()

    def drop(self, run_ids: Iterable[str]) -> None:
        """Follow these runs no longer: their feed tells them again. Safe from any thread."""
        if not self._strays:
            return
        with self._lock:
            dropped = [self._strays.pop(one) for one in run_ids if one in self._strays]
        for stray in dropped:
            stray.ended = True
            stray.requester.stop()
            self._release(stray.requester)

    def _make(self, run_id: str) -> _Stray:
        stray = _Stray(run_id, self._make_requester())
        stray.feed = self._make_feed(
            run_id, stray.requester, lambda changes: self._tell(stray, changes)
        )
        return stray

    def _start_threads(self) -> None:
        with self._lock:
            jobs = len(self._new) + len(self._waiting)
            new = min(MOST_LIVE - self._followers, jobs)
            self._followers += new
            turns = jobs > new and not self._takes_turns
            self._takes_turns |= turns
        for _ in range(new):
            self._start_thread(self._follow_some, f"stray-runs {self._label}")
        if turns:
            self._start_thread(self._take_turns, f"stray-turns {self._label}")

    # On the threads that follow a run each.

    def _follow_some(self) -> None:
        with suppress(Interrupted):
            while (stray := self._take()) is not None:
                self._safely(self._follow, stray)

    def _take(self) -> _Stray | None:
        """Return a run to look at, else one to follow; None, and the thread ends, without."""
        with self._lock:
            for strays in (self._new, self._waiting):
                while strays:
                    stray = strays.pop(0)
                    if not stray.ended:
                        return stray
            self._followers -= 1
            return None

    def _follow(self, stray: _Stray) -> None:
        if self._has_new():
            # All are looked at once before any of them is followed.
            self._look(stray)
            return
        try:
            stray.requester.pause(stray.ready - monotonic())
            stray.feed.run()
            self._end(stray)
        except Interrupted:
            if not stray.ended:
                raise
        except TriggerRealtimeError as error:
            self._lose(stray, error)

    def _has_new(self) -> bool:
        with self._lock:
            return bool(self._new)

    # On the thread that takes turns.

    def _take_turns(self) -> None:
        pacer = self._make_requester()
        try:
            while (stray := self._next_in_turn(pacer)) is not None:
                before = stray.feed.requests
                self._safely(self._look, stray)
                # A live poll may have become free while no run waited for it.
                self._start_threads()
                pacer.pause(TURN_SECONDS * max(1, stray.feed.requests - before))
        except Interrupted:
            pass
        finally:
            self._release(pacer)

    def _next_in_turn(self, pacer: Requester) -> _Stray | None:
        """Return the next run to look at, when it is due; None, and the thread ends, without."""
        while True:
            with self._lock:
                stray = self._first_in_turn()
                if stray is None:
                    self._takes_turns = False
                    return None
                wait = stray.due - monotonic()
                if wait <= 0:
                    (self._new if stray in self._new else self._waiting).remove(stray)
                    return stray
            # Another thread may take it meanwhile.
            pacer.pause(min(wait, TURN_SECONDS))

    def _first_in_turn(self) -> _Stray | None:
        strays = [one for one in (*self._new, *self._waiting) if not one.ended]
        return min(strays, key=lambda stray: stray.due, default=None)

    # On either.

    def _safely(self, work: Callable[[_Stray], None], stray: _Stray) -> None:
        """Let what nobody foresaw cost this run, and not the thread of all."""
        try:
            work(stray)
        except Interrupted:
            raise
        except Exception as error:  # noqa: BLE001 (it is logged)
            self._lose(
                stray, stray.requester.unforeseen(error, f"the reader of run {stray.run_id}")
            )

    def _look(self, stray: _Stray) -> None:
        """Look at a run once, and put it back if it is to be followed on."""
        try:
            goes_on = stray.feed.look()
            stray.requester.succeeded()
            pause = 0.0
        except Interrupted:
            if not stray.ended:
                raise
            return
        except TriggerRealtimeError as error:
            try:
                pause = stray.requester.delay_after(error)
                goes_on = True
            except TriggerRealtimeError as last:
                self._lose(stray, last)
                return
        if not goes_on:
            self._end(stray)
            return
        now = monotonic()
        stray.ready, stray.due = now + pause, now + max(pause, RUN_SECONDS)
        with self._lock:
            if not stray.ended:
                self._waiting.append(stray)

    def _tell(self, stray: _Stray, changes: RunChanges) -> bool:
        if stray.ended:
            return False
        return not changes or self._on_changes(stray.run_id, changes)

    def _lose(self, stray: _Stray, error: TriggerRealtimeError) -> None:
        if not stray.ended:
            self._end(stray)
            self._on_lost(stray.run_id, error)

    def _end(self, stray: _Stray) -> None:
        stray.ended = True
        with self._lock:
            if self._strays.get(stray.run_id) is stray:
                del self._strays[stray.run_id]
        self._release(stray.requester)
