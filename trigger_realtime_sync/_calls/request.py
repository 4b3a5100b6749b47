"""What a call asks for, what it was answered, and until when it may take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

import attrs

from .._clock import monotonic
from .._encode.jwt import is_public_token
from .._http.retry import UnreadableAnswer
from .._wire.json import loads
from ..errors import ApiError

JSON = "application/json"
NO_CONTENT = 204


class Repeat(Enum):
    """What may be done when a server may have done what it was asked for, but did not say so.

    Source: docs/protocol.md, section R1.
    """

    # Asked again after the usual wait: twice is as good as once.
    SAFE = "safe"
    # Asked again once the server has surely finished with the first request, and so remembers it.
    LATER = "later"
    # Never asked again.
    NEVER = "never"


@attrs.frozen
class Deadline:
    """When a call has to end: a moment of `time.monotonic()`."""

    moment: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline in so many seconds."""
        return cls(monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds until then; less than 0 afterwards."""
        return self.moment - monotonic()


@attrs.frozen(kw_only=True)
class Request:
    """One request, but for the server and the token.

    Attributes:
        label: names it in errors and logs.
        headers: of its own, beside those of all calls.
        repeat: what a lost answer means.
        is_named: whether the server is told an id of the request, the same for all attempts.
        absent_until: a moment of `time.monotonic()` before which a 404 means "not yet".
        presigned_url: where it goes instead, to a third party: without the token.
        is_final: whether no other attempt can help this error, though it may help others.
    """

    method: str
    path: str
    label: str
    body: bytes | None = attrs.field(default=None, repr=False)
    content_type: str = JSON
    query: Mapping[str, str] = attrs.field(factory=dict)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    repeat: Repeat = Repeat.SAFE
    is_named: bool = True
    absent_until: float = -math.inf
    presigned_url: str | None = attrs.field(default=None, repr=False)
    is_final: Callable[[ApiError], bool] = lambda error: False


@attrs.frozen
class Reply:
    """A success. Its headers may hold a token, and are never shown.

    Attributes:
        token: that was sent.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    label: str
    token: str | None = attrs.field(default=None, repr=False)

    @property
    def by_public_token(self) -> bool:
        """Whether a public token was sent."""
        return self.token is not None and is_public_token(self.token)

    def json(self) -> dict[str, Any]:
        """Return the object in the body.

        Raises:
            UnreadableAnswer: there is none.
        """
        try:
            document = loads(self.body)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise UnreadableAnswer(f"{self.label}: the body is no JSON object")
        return document

    def text_of(self, name: str) -> str:
        """Return a text of the object in the body.

        Raises:
            UnreadableAnswer: it is missing.
        """
        value = self.json().get(name)
        if not isinstance(value, str) or not value:
            raise UnreadableAnswer(f"{self.label}: the answer has no {name}")
        return value


def acknowledged(reply: Reply) -> None:
    """Read nothing of a reply but that it is the server's: the status says the rest.

    Raises:
        UnreadableAnswer: it is something else, a page of a proxy's say.
    """
    if reply.status != NO_CONTENT:
        reply.json()
