"""The parts of a session's channel, until a turn of its agent is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from .._channel.part_store import StreamKey
from .._wire.session_turns import Turn, first_after, first_with
from .._wire.stream_parts import Control
from .part_updates import PartUpdates, T
from .registry import Seat

FindTurn = Callable[[Sequence[Turn]], Turn | None]


class TurnUpdates(PartUpdates[T]):
    """An iterator that ends with a turn; see `PartUpdates`.

    Args:
        find: returns the turn to end with, of those that are over; None as long as it is not.
    """

    def __init__(
        self, seat: Seat, stream: StreamKey, timeout: float | None, find: FindTurn
    ) -> None:
        super().__init__(seat, stream, timeout)
        self._find = find
        # The turns that were over when it was looked last.
        self._looked_at: tuple[Turn, ...] = ()

    def _take(self, seconds: float) -> tuple[object, object] | None:
        if self._was_over():
            return None
        item = super()._take(seconds)
        # It may have come with what says that the turn was over.
        return None if self._was_over() else item

    def _ends_with(self, control: Control) -> bool:
        turn = self._find(turns_of(self._seat, self._stream))
        if turn is None or turn.control.seq_num > control.seq_num:
            return False
        self._end_with(turn)
        return True

    def _was_over(self) -> bool:
        """End, and return True, if the turn was over before what there is to tell."""
        store = self._seat.view.parts
        turns = turns_of(self._seat, self._stream)
        if store is None or turns is self._looked_at:
            return False
        self._looked_at = turns
        turn = self._find(turns)
        if turn is None or store.keeps(self._stream, turn.control):
            return False
        self._end_with(turn)
        return True

    def _end_with(self, turn: Turn) -> None:
        self._seat.last_turn = turn
        self.close()


def next_turn(seat: Seat, stream: StreamKey) -> FindTurn:
    """Return what finds the next turn: the first one that is not over yet, or the one after that
    which an iterator has ended with."""
    turns = turns_of(seat, stream)
    last = seat.last_turn
    before = last if last in turns else turns[-1] if turns else None
    return partial(first_after, before=before)


def turn_that_took(number: int, sent_at: float | None) -> FindTurn:
    """Return what finds the turn that took a message in; see `first_with`."""
    return lambda turns: first_with(turns, number, sent_at)


def turns_of(seat: Seat, stream: StreamKey) -> tuple[Turn, ...]:
    """Return the turns of a channel that are over, in order."""
    store = seat.view.parts
    return () if store is None else store.turns(stream)
