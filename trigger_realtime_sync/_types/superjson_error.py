"""JavaScript's Error, which payloads and outputs may hold, and a type may name."""

from __future__ import annotations

from typing import Any


class SuperJSONError(Exception):
    """A JavaScript Error inside a payload or output: a value, which is not raised.

    Attributes:
        name: the name of its class, for example `"TypeError"`.
        message: its message.
        cause: its cause, any value, or None.
    """

    def __init__(self, message: str = "", *, name: str = "Error", cause: Any = None) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.cause = cause

    def __repr__(self) -> str:
        return f"SuperJSONError({self.message!r}, name={self.name!r})"
