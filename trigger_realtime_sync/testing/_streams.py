"""The two stream formats (PROTOCOL, section 4)."""

from __future__ import annotations

from ._http import Exchange

Triple = tuple[int, dict[str, str], bytes]


class Streams:
    def serve(self, exchange: Exchange, run_id: str, key: str) -> Triple | None:
        return 404, {}, b""
