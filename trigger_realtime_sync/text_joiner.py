"""Text from the parts of a stream, where JavaScript writers may have split a character."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["TextJoiner"]


class TextJoiner:
    """Joins the parts of one stream into text that can be printed and encoded.

    A JavaScript string is cut between any two of its UTF-16 units. So a writer that streams text in
    pieces may send one half of an emoji at the end of a part, and the other half in the next one.
    Parts are delivered exactly as they were written; printed one by one, such halves raise
    `UnicodeEncodeError`. Source: docs/protocol.md, section 4, "Text in parts".

    One for each stream of each run. Not safe to use from several threads at once: the callbacks of
    one subscription never are.

        joined = TextJoiner()
        ...
        print(joined.feed(parts), end="")  # in on_stream
        ...
        print(joined.end())  # when the stream is over
    """

    def __init__(self) -> None:
        self._half = ""

    def feed(self, parts: Iterable[str]) -> str:
        """Return the text of these parts, but for half a character at its end, which is kept.

        A half whose other half does not follow becomes U+FFFD.

        Raises:
            TypeError: a part is no text.
        """
        text = self._half + "".join(parts)
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        return _whole(text.removesuffix(self._half))

    def end(self) -> str:
        """Return what is left: U+FFFD for half a character, or else nothing."""
        half, self._half = self._half, ""
        return _whole(half)


def _whole(text: str) -> str:
    """Return the text with pairs of halves joined, and U+FFFD for each half that stands alone."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
