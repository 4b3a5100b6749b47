"""The messages of a snapshot, without a look at each: the fast twin of `check_messages`. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from .shape_messages import control_of, is_last, is_message


@attrs.frozen
class Inserts:
    """The messages of an answer that only inserts rows, each once, as a snapshot does.

    Attributes:
        rows: the columns by row key.
        is_last: whether the answer is up to date at its end.
    """

    rows: dict[str, dict[str, Any]]
    is_last: bool

    def messages(self) -> list[Any]:
        """Return the messages one by one, as in any other answer."""
        messages: list[Any] = [
            {"key": row_key, "value": value, "headers": {"operation": "insert"}}
            for row_key, value in self.rows.items()
        ]
        return [*messages, {"headers": {"control": "up-to-date"}}] if self.is_last else messages


def only_inserts(messages: Any) -> Inserts | None:
    """Return the rows if every message is an insert, else None, without judging validity."""
    if not isinstance(messages, list):
        return None
    rows: dict[str, dict[str, Any]] = {}
    controls = []
    try:
        for message in messages:
            if "key" not in message:
                controls.append(message)
                continue
            headers = message["headers"]
            if headers["operation"] != "insert" or "control" in headers:
                return None
            rows[message["key"]] = message["value"]
    except (TypeError, LookupError):
        return None
    if not rows or len(rows) + len(controls) < len(messages):
        return None
    if set(map(type, rows)) != {str} or set(map(type, rows.values())) != {dict}:
        return None
    if not all(map(is_message, controls)) or "must-refetch" in map(control_of, controls):
        return None
    return Inserts(rows, is_last(messages))
