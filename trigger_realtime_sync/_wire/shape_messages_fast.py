"""The messages of a snapshot, without a look at each: the fast twin of `check_messages`. Pure."""

from __future__ import annotations

from typing import Any

import attrs

from .names import LSN
from .shape_messages import control_of, is_message, up_to_date_of


@attrs.frozen
class Inserts:
    """The messages of an answer that only inserts rows, each once, as a snapshot does.

    Attributes:
        rows: the columns by row key.
        up_to_date: the headers of the `up-to-date` that ends the answer, None without one.
    """

    rows: dict[str, dict[str, Any]]
    up_to_date: dict[str, Any] | None = None

    def messages(self) -> list[Any]:
        """Return the messages one by one, as in any other answer."""
        messages: list[Any] = [
            {"key": row_key, "value": value, "headers": {"operation": "insert"}}
            for row_key, value in self.rows.items()
        ]
        return messages if self.up_to_date is None else [*messages, {"headers": self.up_to_date}]


def only_inserts(messages: Any) -> Inserts | None:
    """Return the rows if every message is an insert of a snapshot, else None, without judging
    validity."""
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
            if headers["operation"] != "insert" or "control" in headers or LSN in headers:
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
    return Inserts(rows, up_to_date_of(messages))
