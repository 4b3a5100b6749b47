"""The shared reading of one channel of a session (docs/protocol.md, section R9).

There is no run behind it: the channel goes on across all of its session's runs, and ends when that
is closed. The agent writes a record of it; where none is alive nothing is written, so the REST API
is asked now and then.
"""

from __future__ import annotations

import itertools
import logging

from .._clock import monotonic
from .._feeds.buffering import Buffering
from .._feeds.session_feed import SessionFeed
from .._http.call import Interrupted
from .._http.requester import Origin, Requester
from .._http.session_tokens import SessionTokenSource
from .._wire.names import session_path
from .._wire.session_stream import SessionCursor
from .._wire.session_turns import FRESH_TOKEN, SessionLife, Turn, turn_of
from .._wire.stream_end import Writer
from .._wire.stream_parts import Control, PartBatch
from ..errors import (
    AuthenticationError,
    PermissionDeniedError,
    TriggerRealtimeError,
)
from ..models import State
from .audience import ChannelReceiver
from .base_channel import BaseChannel, StartThread
from .part_types import failure_of, structured
from .run_view import RunView
from .stream_channel import MOST_FAILURES_WAITING
from .target import Target

logger = logging.getLogger("trigger_realtime_sync")

# Seconds between two questions whether the session is closed, and the most that one waits for its
# turn among those of the client.
ASK_SECONDS = 2.0
# Seconds before the first one: most sessions tell by their records whether they are closed.
FIRST_ASK_SECONDS = 1.0
LONGEST_WAIT = 5.0


class SessionChannel(BaseChannel):
    """Reads one channel until its session is closed.

    Args:
        target, view: see `BaseChannel`.
        origin: its token is one of a session.
        patience: seconds for which the end of a closed session's channel is sought.
        buffering: what is known of proxies on the way to the server.
    """

    def __init__(
        self, target: Target, origin: Origin, view: RunView, patience: float, buffering: Buffering
    ) -> None:
        super().__init__(target, origin, view)
        assert target.streams is not None
        assert view.parts is not None
        assert isinstance(origin.token, SessionTokenSource)
        self.parts = view.parts
        self._tokens = origin.token
        self._key = target.streams.key or ""
        self._stream = (target.subject, self._key)
        self._type = dict(target.streams.types).get(self._key)
        self._failures = itertools.count()
        self._life = SessionLife()
        # About the questions whether it is closed; protected by the channel's lock.
        self._is_asking = False
        self._asks_again = False
        self._may_ask = True
        self._asks_from = 0.0
        self._requester = self._requesters.make(self._on_trouble)
        position = self.parts.position(self._stream)
        cursor = (
            target.streams.cursor() if position is None else SessionCursor.restore(str(position))
        )
        assert isinstance(cursor, SessionCursor)
        self._feed = SessionFeed(
            self._requester,
            target.label,
            self._key,
            target.path,
            cursor,
            timeout=target.streams.timeout,
            patience=patience,
            on_parts=self._on_parts,
            writer=lambda: self._life.writer,
            on_idle=self.ask_whether_closed,
            on_answer=self._on_answer,
            buffering=buffering,
        )

    def start(self, start_thread: StartThread) -> None:
        super().start(start_thread)
        self._start_thread(self._read, f"session-feed {self.target.label}")
        self._start_asking(FIRST_ASK_SECONDS)

    def stop(self) -> None:
        super().stop()
        self.parts.close()

    def _welcome(self, receiver: ChannelReceiver) -> None:
        for subject, key in self.parts.streams():
            receiver.notify_parts(subject, key)

    # On the reading thread.

    def _read(self) -> None:
        try:
            while not self._feed.step():
                pass
        except Interrupted:
            return
        except TriggerRealtimeError as error:
            # Whoever keeps the error should not keep all that was read, which its frames hold.
            self._audience.fail(error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 (it is logged)
            self._audience.fail(self._requester.unforeseen(error))
        else:
            self._end()

    def _end(self) -> None:
        with self._lock:
            for receiver in self._audience:
                receiver.notify_complete("", None)
        self._audience.end_all()

    def _on_answer(self) -> None:
        with self._lock:
            self._state = State.LIVE

    def _on_parts(self, batch: PartBatch, size: int) -> None:
        controls = [item for item in batch.items if isinstance(item, Control)]
        values, positions, problems = structured(batch, self._type)
        label = self.target.label
        failures = [failure_of(label, self._key, part, problem, None) for part, problem in problems]
        with self._lock:
            if self._audience.ended or self._requester.stopped:
                return
            turns = self._new_turns(controls)
            self._state = State.LIVE
            self.parts.append(self._stream, values, positions, size, batch.position, turns)
            for failure in failures:
                number = next(self._failures) % MOST_FAILURES_WAITING
                for receiver in self._audience:
                    receiver.notify_failure(f"{self._key}\0{number}", failure)
            for receiver in self._audience:
                if values:
                    receiver.notify_parts(*self._stream)
        for failure in failures:
            logger.error("%s", failure)
        self.parts.wait_for_room(self._stream)

    def _new_turns(self, controls: list[Control]) -> list[Turn]:
        """Take control records, and return the turns that they end."""
        known = self.parts.turns(self._stream)
        last = known[-1].control.seq_num if known else -1
        turns: list[Turn] = []
        for control in controls:
            self._life.take(control)
            turn = turn_of(control, monotonic())
            if turn is None:
                continue
            if FRESH_TOKEN in control.headers:
                self._tokens.replace(control.headers[FRESH_TOKEN])
            if not control.is_past or control.seq_num > last:
                turns.append(turn)
        return turns

    # Whether it is closed: on any thread, and on one that asks.

    def was_closed(self) -> None:
        """Note that this client closed the session, or one of its name in another environment."""
        with self._lock:
            self._asks_from, self._asks_again = 0.0, self._is_asking
            if not self._may_ask:
                self._life.closed()
        if self._may_ask:
            self.ask_whether_closed()
        else:
            self._requester.nudge()

    def ask_whether_closed(self) -> None:
        """Ask the REST API whether the session is closed, unless it was asked just now."""
        self._start_asking(0.0)

    def _start_asking(self, pause: float) -> None:
        with self._lock:
            busy = self._is_asking or not self._may_ask or monotonic() < self._asks_from
            if busy or self._audience.ended or self._life.writer is not Writer.WORKING:
                return
            self._is_asking = True
        requester = self._requesters.make()
        name = f"session-state {self.target.subject}"
        self._start_thread(lambda: self._ask(requester, pause), name)

    def _ask(self, requester: Requester, pause: float) -> None:
        is_closed, may_ask = False, True
        try:
            requester.pause(pause)
            is_closed = self._is_closed(requester)
        except Interrupted:
            return
        except (AuthenticationError, PermissionDeniedError):
            # A public token: the stream alone tells.
            may_ask = False
        except TriggerRealtimeError as error:
            logger.info("%s: whether it is closed is not known: %s", self.target.label, error)
        except Exception as error:  # noqa: BLE001 (it is logged)
            requester.unforeseen(error, "asking whether it is closed")
        finally:
            self._requesters.release(requester)
            with self._lock:
                self._is_asking, self._may_ask = False, self._may_ask and may_ask
                self._asks_from = monotonic() + ASK_SECONDS
                again, self._asks_again = self._asks_again and not is_closed, False
                if is_closed:
                    self._life.closed()
            if is_closed:
                self._requester.nudge()
            elif again:
                self.was_closed()

    def _is_closed(self, requester: Requester) -> bool:
        wait = requester.rations.opinions.reserve_within(monotonic(), LONGEST_WAIT)
        if wait is None or self._life.writer is not Writer.WORKING:
            return False
        requester.pause(wait)
        session = requester.get_json(session_path(self.target.subject))
        return isinstance(session, dict) and session.get("closedAt") is not None
