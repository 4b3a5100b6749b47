"""The channel of a session: a v2 stream with control records (docs/protocol.md, section R9).

A control record has no body, and says all in headers. Agents before 4.5 wrote some of them as data,
`{"type": "trigger:turn-complete"}`: those are told like the others, with headers made of their
fields. After each turn the agent trims what came before it, so records that are gone are no loss.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .positions import PositionV2
from .s2_records import mark_of, texts_of_headers
from .stream_cursor import StreamCursor
from .stream_parts import Control, PartBatch
from .stream_v2 import StreamV2

CONTROL = "trigger-control"
# How the `type` of a control record begins that was written as data.
CONTROL_TYPE = "trigger:"
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")


class SessionStream(StreamV2):
    """Makes parts and control records of the events of a session's channel; see `StreamV2`."""

    def _take_control(self, record: dict[str, Any], again: bool, out: PartBatch) -> None:
        headers = texts_of_headers(record)
        # No id tells two of them apart: the time of the write does.
        mark = f"{mark_of(record)[0]} {sorted(headers.items())}"
        if not again and self._told.is_again(mark):
            return
        name = headers.pop(CONTROL, "")
        if name:
            seq_num = record["seq_num"]
            out.append(Control(name, headers, seq_num, self.position(), is_past=again))

    def _take_value(self, value: Any, out: PartBatch) -> None:
        if not _is_control(value):
            super()._take_value(value, out)
            return
        name = value["type"].removeprefix(CONTROL_TYPE)
        if name:
            out.append(Control(name, _headers_of(value), self._next - 1, self.position()))

    def _are_parts(self, values: list[Any]) -> bool:
        return not any(map(_is_control, values))

    def _report_trimmed(self, seq_num: int, out: PartBatch) -> None:
        """Report nothing: the agent trimmed turns that are over."""


class SessionCursor(StreamCursor):
    """Reads on in a channel of a session, which has no other format than v2; see `StreamCursor`."""

    @classmethod
    def restore(cls, last_event_id: str) -> StreamCursor:
        cursor = super().restore(last_event_id)
        if cursor.version != "v2":
            raise ValueError("not a last_event_id of a session")
        return cursor

    def open(self, version: str | None) -> bool:
        return super().open(version or "v2")

    def _make_v2(
        self, position: PositionV2 | None, *, is_wish: bool = False, wants_all: bool = True
    ) -> StreamV2:
        return SessionStream(position, is_wish=is_wish, wants_all=wants_all)


def _is_control(value: Any) -> bool:
    kind = value.get("type") if type(value) is dict else None
    return type(kind) is str and kind.startswith(CONTROL_TYPE)


def _headers_of(value: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a control record that was written as data, as headers name them:
    `publicAccessToken` is `public-access-token`."""
    headers: dict[str, str] = {}
    for field, field_value in value.items():
        if field != "type" and field_value is not None:
            text = field_value if isinstance(field_value, str) else json.dumps(field_value)
            headers[_CAPITAL.sub(r"-\1", field).lower()] = text
    return headers
