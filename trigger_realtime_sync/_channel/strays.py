"""Which runs of a channel are followed singly, because its feed does not tell them.

Source: docs/protocol.md, section 2, item 6, and section 1, "When a batch is complete".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .._feeds.run_feed import RunChanges
from .._feeds.stray_runs import StrayRuns
from ..errors import TriggerRealtimeError
from ..models import AnyRun
from .feeds import Feeds
from .requesters import Requesters
from .run_view import RunView
from .target import Target


class Strays:
    """The strays of one channel.

    Args:
        start_thread: starts a thread.
        on_changes: called with the changes of a stray, and with the row keys of those that lost a
            tag by which they are followed. Returns True to follow it on.
        on_lost: called when a stray can't be followed, with its id and the reason.
    """

    def __init__(
        self,
        target: Target,
        view: RunView,
        requesters: Requesters,
        feeds: Feeds,
        start_thread: Callable[[Callable[[], None], str], None],
        *,
        on_changes: Callable[[RunChanges, list[str]], bool],
        on_lost: Callable[[str, TriggerRealtimeError], None],
    ) -> None:
        self._target = target
        self._view = view
        self._on_changes = on_changes
        # The runs that the feed told, and tells no longer: their ids by row key.
        self._left: dict[str, str] = {}
        self._runs = StrayRuns(
            target.subject,
            make_requester=requesters.make,
            release=requesters.release,
            make_feed=feeds.of_run,
            start_thread=start_thread,
            on_changes=self._sort,
            on_lost=on_lost,
        )

    def ask(self, run_ids: Iterable[str]) -> None:
        """Ask for runs that the feed never shows, and follow those that have not finished."""
        self._runs.ask(run_ids)

    def follow_those_left(self, changes: RunChanges) -> None:
        """Follow the runs that the feed tells no longer, and leave those to it that it tells."""
        before = set(self._left.values())
        left = self._left
        if changes.missing is not None:
            left = {row_key: run.id for row_key, run in self._view.known(changes.missing).items()}
        if left:
            told_or_gone = changes.rows.keys() | set(changes.gone)
            left = {row_key: left[row_key] for row_key in left.keys() - told_or_gone}
        now, told = set(left.values()), {run.id for run in changes.rows.values()}
        self._runs.drop(told | (before - now))
        self._runs.follow(now - before)
        self._left = left

    def _sort(self, run_id: str, changes: RunChanges) -> bool:
        left = [row_key for row_key, run in changes.rows.items() if self._has_left(row_key, run)]
        return self._on_changes(changes, left)

    def _has_left(self, row_key: str, run: AnyRun) -> bool:
        before, tags = self._view.get(row_key), self._target.tags
        return before is not None and tags <= set(before.tags) and not tags <= set(run.tags)
