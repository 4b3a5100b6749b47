"""Everything that is no feed and no stream: each group of routes is asked in turn."""

from __future__ import annotations

from typing import Protocol

import attrs

from ._access import Caller
from ._observer import RecordedRequest
from ._packet_routes import PacketRoutes
from ._replies import Refused, Reply
from ._wait_token_routes import WaitTokenRoutes


class Routes(Protocol):
    """Some routes."""

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply | None:
        """Return the answer; None if the request is for other routes.

        Raises:
            Refused: with an error.
        """


class Api:
    """Answers what the feeds and the streams don't."""

    def __init__(self, packets: PacketRoutes, wait_tokens: WaitTokenRoutes, *more: Routes) -> None:
        self._packets = packets
        self._wait_tokens = wait_tokens
        self._groups: tuple[Routes, ...] = (packets, wait_tokens, *more)

    def answer(self, request: RecordedRequest, caller: Caller) -> Reply:
        """Return the answer of the first group that has one.

        Raises:
            Refused: with its error; there is no such route.
        """
        if request.method == "HEAD":
            request = attrs.evolve(request, method="GET")
        for group in self._groups:
            reply = group.answer(request, caller)
            if reply is not None:
                return reply
        raise Refused(404, {"error": "Not found"})

    def presigned(self, request: RecordedRequest) -> Reply:
        """Answer as the object store."""
        return self._packets.presigned(request)

    def callback(self, request: RecordedRequest) -> Reply:
        """Answer the URL of a wait token."""
        return self._wait_tokens.callback(request)
