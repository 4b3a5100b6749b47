"""requests, and sseclient-py as its README shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import _plain
import requests
import sseclient


def session() -> _plain.Get:
    one = requests.Session()
    one.headers.update(_plain.HEADERS)

    def get(url: str, query: dict[str, str]) -> tuple[Any, Any]:
        response = one.get(url, params=query)
        return response.json(), response.headers

    return get


def events(url: str) -> Iterator[Any]:
    response = requests.get(url, stream=True, headers=_plain.HEADERS)
    yield from sseclient.SSEClient(response).events()


if __name__ == "__main__":
    _plain.main(session, events)
