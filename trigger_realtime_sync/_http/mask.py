"""Secrets, and texts of the network without them. Pure."""

from __future__ import annotations

import base64
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from urllib.parse import unquote

from .._checks import HIDDEN
from .._checks import Secret as Secret

# A piece of a secret up to this many characters gives away no more than its kind, and is shown.
LONGEST_SHOWN = 8

_TO_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class Mask:
    """Hides secrets in text, whole and in pieces, with letters of either case.

    A server may echo what it was sent, a proxy may cut it short, and header names are made lower
    case.

    Args:
        secrets: what is hidden. Short ones only whole.
        hides_targets: whether also what was asked for is a secret, wherever a redirect leads.
    """

    def __init__(self, secrets: Iterable[str] = (), *, hides_targets: bool = False) -> None:
        self._secrets = tuple(secrets)
        self.hides_targets = hides_targets

    def hide(self, text: str) -> str:
        """Return the text without the secrets, in time linear in its length."""
        shown: list[str] = []
        end = 0
        for start, stop in self._places_in(text.translate(_TO_LOWER)):
            if start >= end:
                shown += [text[end:start], HIDDEN]
            end = max(end, stop)
        return "".join(shown) + text[end:]

    def _places_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield from where to where a piece of a secret goes, in order. They may overlap."""
        for start in range(len(text)):
            for size, pieces in self._pieces.items():
                if text[start : start + size] in pieces:
                    yield start, start + size

    @cached_property
    def _pieces(self) -> dict[int, set[str]]:
        """What to look for, by its length."""
        pieces: defaultdict[int, set[str]] = defaultdict(set)
        for secret in filter(None, self._secrets):
            text = secret.translate(_TO_LOWER)
            size = min(len(text), LONGEST_SHOWN + 1)
            pieces[size].update(text[at : at + size] for at in range(len(text) - size + 1))
        return dict(pieces)


def secrets_of_headers(headers: Mapping[str, str]) -> list[str]:
    """Return the values of a user's headers that may be keys. Short ones are words, as "true" is,
    which would be hidden where they mean something else."""
    return [text for text in headers.values() if len(text) > LONGEST_SHOWN]


def secrets_of_proxies(proxies: Mapping[str, str | None]) -> list[str]:
    """Return the passwords of proxies, as their URLs have them and as they are sent."""
    secrets: list[str] = []
    for url in filter(None, proxies.values()):
        user, _, password = url.rpartition("@")[0].rpartition("//")[2].partition(":")
        if password:
            plain = unquote(password)
            sent = base64.b64encode(f"{unquote(user)}:{plain}".encode()).decode()
            secrets += [password, plain, sent]
    return secrets
