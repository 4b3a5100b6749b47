"""The usual events of the two formats, cut out of their text without a look at each line.

The fast twin of sseclient-py, which reads every other event; the tests compare the two. Measured
over the whole way from bytes to parts, sseclient-py would make v1 streams three times as dear, and
v2 streams dearer by 20 % to 70 % for batches of up to ten records, 10 % to 30 % for batches of a
thousand, and 50 % for a record of 1 MiB, of which it makes ten copies.
"""

from __future__ import annotations

import re
from typing import TypeAlias

Event: TypeAlias = tuple[str | None, str, str]
"""An event's id (None if it has none), its data, and its name ("message" if it has none). A bare
tuple, because there are many and this is what the regular expression below makes."""

_V1 = re.compile(r"id: ([^\n]*)\ndata: ([^\n]*)\n\n")
_V1_OVERHEAD = len("id: \ndata: \n\n")


def usual_events(text: str) -> list[Event] | None:
    """Return the events of a text in which all are framed as v1 parts, or all as v2 batches.

    Returns None for any other text.
    """
    return _v1_events(text) if text.startswith("id: ") else _v2_events(text)


def _v1_events(text: str) -> list[Event] | None:
    found = _V1.findall(text)
    # The matches are all of the text if their lengths add up to its length.
    length = sum([len(ident) + len(data) for ident, data in found])
    if length + len(found) * _V1_OVERHEAD != len(text):
        return None
    return [(ident, data, "message") for ident, data in found]


def _v2_events(text: str) -> list[Event] | None:
    events: list[Event] = []
    at = 0
    while at < len(text):
        name_ends = text.find("\n", at)
        ident_ends = text.find("\n", name_ends + 1)
        data_ends = text.find("\n", ident_ends + 1)
        if not (
            text.startswith("event: ", at)
            and text.startswith("id: ", name_ends + 1)
            and text.startswith("data: ", ident_ends + 1)
            and text.startswith("\n", data_ends + 1)
            and name_ends > at + len("event: ")
        ):
            return None
        name = text[at + len("event: ") : name_ends]
        ident = text[name_ends + 1 + len("id: ") : ident_ends]
        events.append((ident, text[ident_ends + 1 + len("data: ") : data_ends], name))
        at = data_ends + len("\n\n")
    return events
