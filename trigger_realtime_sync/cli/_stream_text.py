"""What is printed of a stream's parts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .. import TextJoiner
from ._output import json_line


class StreamText:
    """The text of one stream: texts join up, any other part is a line of JSON."""

    def __init__(self) -> None:
        self._joiner = TextJoiner()

    def feed(self, parts: Iterable[Any]) -> str:
        """Return what to print of these parts."""
        return "".join(map(self._of_part, parts))

    def end(self) -> str:
        """Return what to print when nothing more comes."""
        return self._joiner.end()

    def _of_part(self, part: Any) -> str:
        if isinstance(part, str):
            return self._joiner.feed([part])
        return self._joiner.end() + json_line(part)
