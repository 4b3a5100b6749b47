"""The shape of a request's body: what is refused with 400 (docs/protocol.md, section R1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._replies import Refused


def kind_of(value: Any) -> str:
    """Return JavaScript's name of the value's type, as validation errors have it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


class Problems:
    """What is wrong with a body, in the order in which it was found."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, message: str, path: str) -> None:
        self._found.append(f'{message} at "{path}"')

    def expect(self, value: Any, kinds: Sequence[str] | str, path: str) -> bool:
        """Return True if the value is of one of the kinds; note the problem otherwise.

        Args:
            value: `...` for none at all.
        """
        if value is ...:
            self.add("Required", path)
            return False
        kinds = [kinds] if isinstance(kinds, str) else kinds
        given = kind_of(value)
        if given in kinds:
            return True
        each = (f'Expected {kind}, received {given} at "{path}"' for kind in kinds)
        self._found.append(", or ".join(each))
        return False

    def expect_text(self, value: Any, longest: int, path: str) -> None:
        """Note a value that is no text, or a text that is too long."""
        if self.expect(value, "string", path) and len(value) > longest:
            self.add(f"String must contain at most {longest} character(s)", path)

    def expect_natural(
        self, value: Any, path: str, *, least: int = 0, most: int | None = None
    ) -> None:
        """Note what is no whole number, or too small or large a one."""
        if not self.expect(value, "number", path):
            return
        if value != int(value):
            self.add("Expected integer, received float", path)
        elif value < least:
            bound = f"than {least - 1}" if least else "than or equal to 0"
            self.add(f"Number must be greater {bound}", path)
        elif most is not None and value > most:
            self.add(f"Number must be less than or equal to {most}", path)

    def expect_fields(self, value: dict[str, Any], kinds: dict[str, Any], path: str) -> None:
        """Check those of the fields that are there."""
        for name, kind in kinds.items():
            if name in value:
                self.expect(value[name], kind, f"{path}.{name}")

    @property
    def text(self) -> str:
        return "; ".join(self._found)

    def refuse(self) -> None:
        """Refuse the request if anything is wrong.

        Raises:
            Refused: with all that is wrong.
        """
        if self._found:
            raise Refused(400, {"error": f"Validation error: {self.text}"})
