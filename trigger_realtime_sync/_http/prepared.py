"""The requests of a client, each made from a similar one that requests prepared before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from urllib.parse import urlencode

import requests
from requests.auth import AuthBase

from .mask import Secret

# How many requests are remembered: one for each host and token. Few are needed; the bound keeps
# tokens that are renewed again and again from filling the memory.
MOST_REMEMBERED = 100


class BearerAuth(AuthBase):
    """Sets the token. Passed as `auth`, so that no .netrc can replace it."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = Secret(f"Bearer {self._token}")
        return request


class RequestMaker:
    """Makes requests. Safe from any thread.

    Args:
        headers: sent with each request.
        private: names of those that are for the API's own host alone, as the token is.
    """

    def __init__(self, headers: Mapping[str, str | bytes], private: Collection[str]) -> None:
        self._headers = dict(headers)
        self._public = {name: text for name, text in headers.items() if name not in private}
        self._root = lru_cache(MOST_REMEMBERED)(self._prepare_root)

    def make_call(
        self,
        method: str,
        url: str,
        token: str | None,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> requests.PreparedRequest:
        """Return a request of any method, with a body whose length it tells."""
        request = self.make(url, token, {}, headers)
        request.method = method
        request.body = body or None
        if method != "GET":
            request.headers["Content-Length"] = str(len(body or b""))
        return request

    def make(
        self, url: str, token: str | None, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> requests.PreparedRequest:
        """Return the GET that `prepare` would return, mostly by a shorter way.

        Only the path and the query differ between the requests to one host; preparing the rest
        again takes a quarter of the time that a request takes.
        """
        if token is None or not url.isascii():
            return self.prepare(url, token, query, headers)
        origin = origin_of(url)
        root = self._root(origin, token)
        request = root.copy()
        request.headers.update(headers)
        request.url = f"{str(root.url)[:-1]}{url[len(origin) :]}"
        if query:
            request.url += f"?{urlencode(query)}"
        return request

    def _prepare_root(self, origin: str, token: str) -> requests.PreparedRequest:
        return self.prepare(f"{origin}/", token, {}, {})

    def prepare(
        self, url: str, token: str | None, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> requests.PreparedRequest:
        """Return a new request. Without a token it is one to a third party."""
        auth = None if token is None else BearerAuth(token)
        common = self._public if token is None else self._headers
        return requests.Request(
            "GET", url, {**common, **headers}, params=query, auth=auth
        ).prepare()


def origin_of(url: str) -> str:
    """Return the scheme and the host of a URL."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
