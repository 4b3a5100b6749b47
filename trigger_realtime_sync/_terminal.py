"""Text that may go to a terminal, which text from the network must not control. Pure."""

from __future__ import annotations

import re

# Control characters but for tab and line end, and a return that begins no line end; the line ends
# of Unicode; and what changes the direction of text, which would show it in another order.
_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_DIRECTIONS = r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_UNSAFE = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}]|\r(?!\n)")
_BLANKS = re.compile(r"\s+")


def safe(text: str) -> str:
    """Replace what would control a terminal."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Return safe text on one line."""
    return safe(_BLANKS.sub(" ", text)).strip()


def safe_json(text: str) -> str:
    """Return JSON that stands for the same value, and controls no terminal.

    Encoders that don't keep to ASCII escape only what must be: all below U+0020.
    """
    return _UNSAFE.sub(lambda character: f"\\u{ord(character[0]):04x}", text)
