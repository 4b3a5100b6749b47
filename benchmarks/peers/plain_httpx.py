"""httpx, and httpx-sse as its README shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import _plain
import httpx
import httpx_sse


def session() -> _plain.Get:
    one = httpx.Client(headers=_plain.HEADERS, timeout=45)

    def get(url: str, query: dict[str, str]) -> tuple[Any, Any]:
        response = one.get(url, params=query)
        return response.json(), response.headers

    return get


def events(url: str) -> Iterator[Any]:
    with (
        httpx.Client(headers=_plain.HEADERS, timeout=45) as client,
        httpx_sse.connect_sse(client, "GET", url) as source,
    ):
        yield from source.iter_sse()


if __name__ == "__main__":
    _plain.main(session, events)
