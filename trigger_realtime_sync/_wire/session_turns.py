"""What the control records of a session say: which turns are over, and whether it is closed.

Pure. Source: docs/protocol.md, section R9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from .stream_end import Writer
from .stream_parts import Control

TURN_COMPLETE = "turn-complete"
SESSION_CLOSED = "session-closed"
# Headers of `turn-complete`.
FRESH_TOKEN = "public-access-token"
TOOK_IN = "session-in-event-id"


@attrs.frozen(eq=False)
class Turn:
    """A turn that is over.

    Attributes:
        control: the record of its end.
        took_in: the highest number of `in` that it took in; None where it does not say.
        arrived: when the record came, of `time.monotonic()`.
    """

    control: Control
    took_in: int | None
    arrived: float


def turn_of(control: Control, arrived: float) -> Turn | None:
    """Return the turn that a control record ends, or None if it is about something else."""
    if control.name != TURN_COMPLETE:
        return None
    number = control.headers.get(TOOK_IN, "").strip()
    is_number = number.isascii() and number.isdigit() and len(number) <= 16
    return Turn(control, int(number) if is_number else None, arrived)


def first_after(turns: Sequence[Turn], before: Turn | None) -> Turn | None:
    """Return the first turn after another one, or None if there is none; None: the first of all.
    Those that were told before do not count."""
    follows = before is None
    for turn in turns:
        if follows and not turn.control.is_past:
            return turn
        follows = follows or turn is before
    return None


def first_with(turns: Sequence[Turn], number: int, sent_at: float | None) -> Turn | None:
    """Return the turn that took in a number of `in`, or None if none has.

    A turn below the number is an earlier one. One that names none may be: it is, if it was told
    before the message was sent, or if later ones name theirs, since then it is a first one, which
    took nothing in.

    Args:
        turns: those that are over, in order.
        sent_at: when the sending began, of `time.monotonic()`; None if that is not known.
    """
    names_from = max((n for n, turn in enumerate(turns) if turn.took_in is not None), default=-1)
    for n, turn in enumerate(turns):
        if turn.took_in is not None:
            if turn.took_in >= number:
                return turn
        elif n > names_from and not turn.control.is_past and _may_follow(turn, sent_at):
            return turn
    return None


def _may_follow(turn: Turn, sent_at: float | None) -> bool:
    return sent_at is None or turn.arrived >= sent_at


class SessionLife:
    """Whether a session is closed, and so whether more may come of its channels."""

    def __init__(self) -> None:
        self._writer = Writer.WORKING

    @property
    def writer(self) -> Writer:
        """What is known of whoever writes the channel."""
        return self._writer

    def take(self, control: Control) -> None:
        """Take a control record, one that was told before too: a close is final.

        Its own record is the agent's last word. Where the end of a turn tells of it, that may still
        follow.
        """
        if control.name == SESSION_CLOSED:
            self._writer = Writer.GONE
        elif control.name == TURN_COMPLETE and _is_true(control.headers, SESSION_CLOSED):
            self.closed()

    def closed(self) -> None:
        """Note that the session is closed, as the server says. Its agent may not have ended."""
        if self._writer is Writer.WORKING:
            self._writer = Writer.UNCERTAIN


def _is_true(headers: Mapping[str, str], name: str) -> bool:
    return headers.get(name, "").strip().lower() == "true"
