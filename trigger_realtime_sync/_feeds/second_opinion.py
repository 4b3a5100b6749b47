"""What REST says of runs on which Electric has been silent.

An Electric may be wrong for good: after a crash it tells the runs as they were when a shape began,
and says that it is up to date. So no feed of Electric is the last word over a run that REST calls
finished. Source: docs/protocol.md, section 2, item 7.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from .._clock import monotonic
from .._decode.rest_row import finished_columns
from .._decode.rows import Columns, RowDecoder
from .._http.rations import Rations
from .._http.requester import Requester
from .._wire.changes import Changes
from .._wire.names import ANOTHER_SHAPE, SKIP_COLUMNS, rest_run_path, run_path
from .._wire.row_judge import is_finished
from .._wire.shape_log import ShapeLog
from ..errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    TriggerRealtimeError,
)
from ..models import AnyRun
from .run_feed import POLL_HEADERS, RunChanges, RunFeed

logger = logging.getLogger("trigger_realtime_sync")

# Seconds without a row of a single run, drawn at random, after which REST is asked, ...
LEAST_SILENCE = 120.0
MOST_SILENCE = 240.0
# ... and the longest time between two requests, which doubles.
LONGEST_PAUSE = 600.0
# Seconds of silence of a run of a tag or batch.
SILENT_RUN_SECONDS = 600.0
# Seconds of silence in an answer: the feed waits for it.
PATIENCE = 10.0
# Seconds that a feed waits for its turn. Feeds that were started together are answered together, so
# that all of them would find the turn taken if they did not wait for it.
LONGEST_WAIT = 5.0


class RestOpinion:
    """Asks REST whether a run has finished, on any thread.

    Args:
        lend_requester: lends what sends the requests of one question, on the thread that asks.
        decoder: decodes the row.
        query: the parameters of the feed.
    """

    def __init__(
        self,
        lend_requester: Callable[[], AbstractContextManager[Requester]],
        decoder: RowDecoder,
        query: Mapping[str, str],
    ) -> None:
        self._lend_requester = lend_requester
        self._decoder = decoder
        self._query = {name: text for name, text in query.items() if name == SKIP_COLUMNS}

    def finished(
        self, run_id: str, row_key: str | None, log: ShapeLog[AnyRun], wait: float
    ) -> RunChanges | None:
        """Return the run if REST calls it finished, by the row of another shape where that says so
        too.

        Args:
            row_key: the key of its row, None if none ever came.
            log: what is known of it, besides.
            wait: seconds until REST may be asked.

        Raises:
            TriggerRealtimeError: REST can't be asked, or knows no such run.
            Interrupted: the requester was stopped.
        """
        key = row_key or f'"public"."TaskRun"/"{run_id.removeprefix("run_")}"'
        with self._lend_requester() as requester:
            requester.pause(wait)
            document = _ask(requester, rest_run_path(run_id))
            skipped = frozenset(self._query.get(SKIP_COLUMNS, "").split(","))
            finished = finished_columns(document, run_id, log.columns(key), skipped)
            if finished is None:
                return None
            logger.warning(
                "%s: run %s has finished, which the feed does not say",
                requester.label,
                run_id,
                extra={"run_id": run_id},
            )
            rows = self._rows(requester, run_id)
            if not rows:
                rows = {key: self._decoded(finished, log.told(key), requester)}
        return Changes(rows=rows)

    def _decoded(self, columns: Columns, last: AnyRun | None, requester: Requester) -> AnyRun:
        decode = self._decoder
        try:
            return decode.decode_over(columns, last) if last else decode.decode(columns)
        except ProtocolError as error:
            problem = requester.hide_token(str(error))
        raise ProtocolError(problem)

    def _rows(self, requester: Requester, run_id: str) -> dict[str, AnyRun]:
        """Return the run's finished row out of a snapshot of now, by its key; empty if it has
        none."""
        found: dict[str, AnyRun] = {}

        def keep(changes: RunChanges) -> bool:
            found.update((key, run) for key, run in changes.rows.items() if is_finished(run))
            return True

        query = {**self._query, **ANOTHER_SHAPE}
        feed = RunFeed(
            requester, run_path(run_id), query, self._decoder, run_id=run_id, on_changes=keep
        )
        try:
            feed.look()
        except TriggerRealtimeError as error:
            logger.info("%s: no other shape can be read: %s", requester.label, error)
        return found


def _ask(requester: Requester, path: str) -> object:
    try:
        return requester.get_json(path, POLL_HEADERS)
    except TriggerRealtimeError as error:
        if not requester.renew_token(error):
            raise
        return requester.get_json(path, POLL_HEADERS)


class RunOpinion:
    """When REST is asked about the one run of a feed."""

    def __init__(self, rest: RestOpinion, rations: Rations, run_id: str) -> None:
        self._rest = rest
        self._opinions = rations.opinions
        self._run_id = run_id
        self._ended = False
        self._pause = self._due = 0.0
        self._heard()

    def hasten(self) -> None:
        """Ask as soon as may be: the feed has said what a sound one does not say."""
        self._due = monotonic()

    def after(self, log: ShapeLog[AnyRun], changes: RunChanges) -> RunChanges | None:
        """Return the run if the feed is silent on it, and REST calls it finished. Call it after
        each answer."""
        if changes.rows:
            self._heard()
        if log.unmoved:
            self.hasten()
        now = monotonic()
        if self._ended or not log.electric or now < self._due:
            return None
        row_key, run = log.latest()
        if run is not None and is_finished(run):
            self._ended = True
            return None
        wait = self._opinions.reserve_within(now, LONGEST_WAIT)
        if wait is None:
            return None
        self._due = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        try:
            return self._rest.finished(self._run_id, row_key, log, wait)
        except (AuthenticationError, PermissionDeniedError, NotFoundError):
            self._ended = True
        except TriggerRealtimeError as error:
            logger.info("run %s: REST can't be asked: %s", self._run_id, error)
        return None

    def _heard(self) -> None:
        self._pause = random.uniform(LEAST_SILENCE, MOST_SILENCE)
        self._due = monotonic() + self._pause


class RunsOpinion:
    """When REST is asked about the runs of a tag or batch: the longest silent one first."""

    def __init__(self, rest: RestOpinion, rations: Rations) -> None:
        self._rest = rest
        self._rations = rations
        # The unfinished runs by row key, the longest silent one first, and since when.
        self._silent: dict[str, tuple[str, float]] = {}
        self._ended = False

    def hasten(self) -> None:
        """The runs of many are asked for in their turn."""

    def after(self, log: ShapeLog[AnyRun], changes: RunChanges) -> RunChanges | None:
        """Return a run if the feed is silent on it, and REST calls it finished. Call it after each
        answer."""
        now = monotonic()
        self._note(changes, now)
        if self._ended or not log.electric or not self._silent:
            return None
        row_key, (run_id, since) = next(iter(self._silent.items()))
        if now - since < SILENT_RUN_SECONDS or not self._rations.silent_runs.try_take(now):
            return None
        wait = self._rations.opinions.reserve_within(now, LONGEST_WAIT)
        if wait is None:
            return None
        self._hear(row_key, run_id, now)
        try:
            found = self._rest.finished(run_id, row_key, log, wait)
            if found is not None:
                del self._silent[row_key]
            return found
        except NotFoundError:
            del self._silent[row_key]
        except (AuthenticationError, PermissionDeniedError):
            self._ended = True
        except TriggerRealtimeError as error:
            logger.info("run %s: REST can't be asked: %s", run_id, error, extra={"run_id": run_id})
        return None

    def _note(self, changes: RunChanges, now: float) -> None:
        for row_key, run in changes.rows.items():
            if run.is_finished:
                self._silent.pop(row_key, None)
            else:
                self._hear(row_key, run.id, now)
        for row_key in (*changes.gone, *(changes.missing or ())):
            self._silent.pop(row_key, None)

    def _hear(self, row_key: str, run_id: str, now: float) -> None:
        self._silent.pop(row_key, None)
        self._silent[row_key] = (run_id, now)
