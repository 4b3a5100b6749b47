"""Packets: a payload, output or metadata as text and a content type (docs/protocol.md, section 3).

What structures types, which few runs need, is imported when one does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from .._forks import in_child
from .._wire import json
from ..errors import PayloadError, TriggerRealtimeError
from ..models import LazyValue
from . import superjson

JSON = "application/json"
SUPER_JSON = "application/super+json"
STORE = "application/store"

_UNREAD: Any = object()


class Packet(NamedTuple):
    """A payload, an output or metadata as the server sends it.

    Attributes:
        data: the text; None or empty means no value, whatever the type.
        content_type: `application/json`, for example.
    """

    data: str | None
    content_type: str


Fetch = Callable[[str, str, str], Packet]


def media_type(content_type: str) -> str:
    """Return a content type in lower case, without its parameters."""
    if content_type == JSON:
        return JSON
    return content_type.partition(";")[0].strip().lower()


def decode(data: str | None, kind: str) -> Any:
    """Return the value of a packet's text.

    The text of `text/plain` and of any unknown type is the value itself.

    Raises:
        ValueError: the text does not fit its type, or is that of an `application/store` packet,
            which must be fetched first. The message holds none of the text.
    """
    if not data:
        return None
    if kind == JSON:
        return json.loads(data)
    if kind == SUPER_JSON:
        return superjson.decode(json.loads(data))
    if kind == STORE:
        raise ValueError("it is stored elsewhere and must be fetched")
    return data


class PacketValue(LazyValue):
    """A packet of a run. It is decoded, or fetched, when it is first read; then the value is kept.

    Equal to another one with equal text, content type and `type_`. A pickle does not hold `fetch`,
    and so holds the value of a stored packet that was read; any other is decoded anew. A copy has
    `fetch`, and decodes anew.

    Args:
        run_id: the public id of the run.
        field: `"payload"`, `"output"` or `"metadata"`.
        data: the text that the server sent.
        content_type: of the text.
        type_: what the value is structured to; None leaves it as it is.
        fetch: called with `run_id`, `field` and the path of an `application/store` packet, by
            the thread that reads; returns the stored packet.
    """

    __slots__ = ("_value", "content_type", "data", "fetch", "field", "run_id", "type_")

    def __init__(
        self,
        run_id: str,
        field: str,
        data: str | None,
        content_type: str,
        type_: Any = None,
        fetch: Fetch | None = None,
    ) -> None:
        self.run_id = run_id
        self.field = field
        self.data = data
        self.content_type = content_type
        self.type_ = type_
        self.fetch = fetch
        self._value = _UNREAD

    @property
    def packet(self) -> Packet:
        """The packet as the server sent it."""
        return Packet(self.data, self.content_type)

    def read(self) -> Any:
        """Return the value, one object for all reads and threads.

        Raises:
            PayloadError: it can't be fetched or decoded, or does not fit `type_`. The next read
                tries again.
        """
        if self._value is not _UNREAD:
            return self._value
        value = self._make()
        with _lock:
            if self._value is _UNREAD:
                self._value = value
            return self._value

    def _make(self) -> Any:
        data, content_type = self.data, self.content_type
        kind = media_type(content_type)
        if data and kind == STORE:
            data, content_type = self._fetched(data)
            kind = media_type(content_type)
        try:
            value = decode(data, kind)
            if value is None or self.type_ is None:
                return value
            from .typed import structure

            return structure(value, self.type_)
        except ValueError as error:
            raise self._error(str(error), Packet(data, content_type)) from error

    def _fetched(self, path: str) -> Packet:
        if self.fetch is None:
            raise self._error("it is stored elsewhere, and there is no client to fetch it")
        try:
            return self.fetch(self.run_id, self.field, path)
        except TriggerRealtimeError as error:
            raise self._error(f"it could not be fetched: {error}") from error
        except Exception as error:
            # Without its text, which may hold the presigned URL, as good as a token.
            raise self._error(f"it could not be fetched: {type(error).__name__}") from error

    def _error(self, problem: str, packet: Packet | None = None) -> PayloadError:
        packet = packet or self.packet
        return PayloadError(
            f"{self.field} of run {self.run_id}: {problem}",
            run_id=self.run_id,
            field=self.field,
            raw=packet.data,
            content_type=packet.content_type,
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PacketValue):
            return NotImplemented
        return self.packet == other.packet and self.type_ == other.type_

    def __hash__(self) -> int:
        return hash(self.packet)

    def __repr__(self) -> str:
        return f"PacketValue({self.run_id!r}, {self.field!r}, {self.content_type!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._value is not _UNREAD and media_type(self.content_type) == STORE:
            return _with_value, (self._arguments(), self._value)
        return PacketValue, self._arguments()

    def _arguments(self) -> tuple[str, str, str | None, str, Any]:
        return (self.run_id, self.field, self.data, self.content_type, self.type_)

    def __copy__(self) -> PacketValue:
        return PacketValue(*self._arguments(), self.fetch)

    def __deepcopy__(self, memo: Any) -> PacketValue:
        return self.__copy__()


def _with_value(arguments: tuple[str, str, str | None, str, Any], value: Any) -> PacketValue:
    packet = PacketValue(*arguments)
    packet._value = value
    return packet


# Held to publish a value, never while one is made, so one lock serves all values.
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


# Another thread of the parent may have held it at the fork.
in_child(_renew_lock)
