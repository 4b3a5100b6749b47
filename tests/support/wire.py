"""Answers without a network: bytes in given pieces, read as a connection's."""

from __future__ import annotations

import io
from typing import Any

from trigger_realtime_sync._http.chunked import EagerResponse


class Wire:
    """A socket that brings bytes in given pieces, then the end of the connection."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    def makefile(self, mode: str) -> Any:
        return io.BufferedReader(Raw(self._pieces))  # type: ignore[type-var]


class Raw(io.RawIOBase):
    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        size = min(len(piece), len(buffer))
        buffer[:size] = piece[:size]
        if len(piece) > size:
            self._pieces.insert(0, piece[size:])
        return size


def answer(*pieces: bytes) -> EagerResponse:
    response = EagerResponse(Wire(*pieces))  # type: ignore[arg-type]
    response.begin()
    return response


def read_all(response: EagerResponse) -> None:
    while response.read1(65536):
        pass
