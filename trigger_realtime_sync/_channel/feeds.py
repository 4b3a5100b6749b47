"""The feeds of one channel: that of its target, and those of runs that are followed singly."""

from __future__ import annotations

from collections.abc import Callable

from .._decode.rows import RowDecoder
from .._feeds.run_feed import OnChanges, RunFeed
from .._feeds.second_opinion import PATIENCE, RestOpinion, RunOpinion, RunsOpinion
from .._feeds.sources import RunSource, SingleRunSource
from .._http.requester import Requester
from .._wire.names import SKIP_COLUMNS, run_path
from ..errors import ShapeStale
from .requesters import Requesters
from .run_view import RunView
from .target import Target


class Feeds:
    """Makes feeds, all of which judge by the same view of what was told last."""

    def __init__(
        self, target: Target, requesters: Requesters, decoder: RowDecoder, view: RunView
    ) -> None:
        self._target = target
        self._query = dict(target.query)
        self._decoder = decoder
        self._view = view
        self._rations = requesters.origin.rations
        self._rest = RestOpinion(lambda: requesters.lend(PATIENCE), decoder, self._query)

    def of_target(
        self,
        requester: Requester,
        on_changes: OnChanges,
        on_stale: Callable[[ShapeStale], None],
    ) -> RunSource:
        """Return what reads the target; for the arguments see `RunFeed`."""
        run_id = self._target.subject if self._target.is_single else None
        return RunFeed(
            requester,
            self._target.path,
            self._query,
            self._decoder,
            run_id=run_id,
            told=self._view.known,
            has_window=bool(self._target.tags),
            on_changes=on_changes,
            on_stale=on_stale,
            opinion=self._opinion(run_id),
        )

    def of_run(self, run_id: str, requester: Requester, on_changes: OnChanges) -> SingleRunSource:
        """Return what reads one of its runs."""
        query = {name: text for name, text in self._query.items() if name == SKIP_COLUMNS}
        return RunFeed(
            requester,
            run_path(run_id),
            query,
            self._decoder,
            run_id=run_id,
            told=self._view.known,
            on_changes=on_changes,
            opinion=self._opinion(run_id),
        )

    def _opinion(self, run_id: str | None) -> RunOpinion | RunsOpinion:
        if run_id is None:
            return RunsOpinion(self._rest, self._rations)
        return RunOpinion(self._rest, self._rations, run_id)
