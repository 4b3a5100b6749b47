"""The number of a message that was sent to a session."""

from __future__ import annotations


class SentNumber(int):
    """A number that knows when the sending of its message began, of `time.monotonic()`.

    A turn that was over before that did not take the message in, even where it does not say what it
    took in. In every other respect it is an int, and copies of it, by pickle say, are plain ones.
    """

    began: float | None = None

    @classmethod
    def of(cls, number: int, began: float) -> SentNumber:
        """Return the number of a message whose sending began then."""
        sent = cls(number)
        sent.began = began
        return sent

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)


def began_of(number: int) -> float | None:
    """Return when the sending of a message began, of `time.monotonic()`, if that is known."""
    return number.began if isinstance(number, SentNumber) else None
