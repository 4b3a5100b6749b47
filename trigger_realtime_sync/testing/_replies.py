"""Whole answers: a status, headers and a body, and the JSON in them."""

from __future__ import annotations

import json
from typing import Any

import attrs


@attrs.frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class Refused(Exception):
    """The request ends with this JSON error."""

    def __init__(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.reply = json_reply(status, value, headers)
        self.text = str(value.get("error")) if isinstance(value, dict) else ""


def to_json(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        # Lone surrogates are escaped, as JavaScript does.
        return json.dumps(value, separators=(",", ":")).encode()


def json_reply(status: int, value: Any, headers: dict[str, str] | None = None) -> Reply:
    content_type = {"content-type": "application/json; charset=utf-8"}
    return Reply(status, {**content_type, **(headers or {})}, to_json(value))


def not_found(*, retry: bool) -> Refused:
    """Return a 404 that says whether it makes sense to try again."""
    return Refused(404, {"error": "Not found"}, {"x-should-retry": "true" if retry else "false"})


def plain_text(status: int, text: str) -> Reply:
    return Reply(status, {"content-type": "text/plain;charset=UTF-8"}, text.encode())
