"""One requests session for a client, and answers that are read to a proven end."""

from __future__ import annotations

import io
import logging
import ssl
import time
from collections.abc import Iterable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlencode

import attrs
import requests
from requests.auth import AuthBase
from requests.utils import get_environ_proxies

from .._version import __version__
from ..config import Timeouts
from ..errors import ConfigurationError, ProtocolError
from .answer import NETWORK_ERRORS, Answer, connection_error, innermost
from .call import Call, calling
from .connections import WatchedAdapter

logger = logging.getLogger("trigger_realtime_sync")

# Hosts whose proxies are remembered: the API's, and those that store large payloads.
MOST_ORIGINS = 100
USER_AGENT = f"trigger-realtime-sync/{__version__}"


# What a request meets on a connection that the server has closed, and how soon.
HANGUPS = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)
STALE_SECONDS = 1.0


class BearerAuth(AuthBase):
    """Sets the token at the last moment. As `auth`, so that a .netrc can't replace it."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@attrs.frozen(kw_only=True)
class HttpOptions:
    """What the user said of HTTP."""

    timeouts: Timeouts
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    proxies: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    verify: bool | str = True


class _Session(requests.Session):
    """Args:
    private: names of headers that are for the API's own host, as the token is.
    """

    def __init__(self, private: Iterable[str]) -> None:
        super().__init__()
        self._private = ("Authorization", *private)

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        """After a redirect: the token stays on its host. requests would look into .netrc here."""
        headers = prepared_request.headers
        before, after = response.request.url, prepared_request.url
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            for name in self._private:
                headers.pop(name, None)

    def get_redirect_target(self, resp: Any) -> str | None:
        """requests would read the body of a redirect to its end, though there be none."""
        target: str | None = super().get_redirect_target(resp)
        if target is not None:
            resp.raw.close()
            resp.raw = io.BytesIO()
        return target


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


class Transport:
    """The one session of a client. Safe from any thread."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        self._session = _Session(options.headers)
        self._session.max_redirects = 5
        # What it would take from the environment is looked up here, once for each host: requests
        # searches the whole environment for each request, a quarter of the time that one takes.
        self._session.trust_env = False
        self._proxies: dict[str, dict[str, str]] = {}
        self._prepared: dict[tuple[str, str], requests.PreparedRequest] = {}
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update({"User-Agent": USER_AGENT, **options.headers})
        self._headers = {str(name): text for name, text in self._session.headers.items()}
        adapter = WatchedAdapter(options.verify)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    @property
    def timeouts(self) -> Timeouts:
        """What the user allows."""
        return self._options.timeouts

    def get(
        self,
        url: str,
        *,
        call: Call,
        source: str,
        token: str | None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends a GET and returns when the headers arrived.

        Without a token the user's own headers stay at home too: the URL is of a third party.

        Raises:
            ApiConnectionError: the server can't be reached, or the answer broke off.
            Interrupted: the call was cut off.
        """
        call.check()
        timeouts = self._options.timeouts
        try:
            response = self._send(
                self._prepare(url, token, query or {}, headers or {}),
                call,
                stream=True,
                timeout=(timeouts.connect, timeouts.read),
                proxies=self._proxies_of(url),
                verify=self._options.verify,
            )
        except requests.TooManyRedirects:
            call.release()
            raise ProtocolError(f"{source}: the server redirects in a circle") from None
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            call.release()
            # What a ValueError below becomes.
            cause = error.args[0] if error.args else None
            if isinstance(cause, ConfigurationError):
                raise cause from None
            raise ConfigurationError(f"{source}: {type(error).__name__}") from None
        except NETWORK_ERRORS as error:
            call.release()
            raise connection_error(error, call, source) from None
        except ValueError as error:
            call.release()
            raise ProtocolError(
                f"{source}: the server redirects to what is no URL ({type(error).__name__})"
            ) from None
        answer = Answer(response, call, source)
        if "," in answer.headers.get("content-encoding", ""):
            # Nobody asked for more than one; each multiplies what a few bytes unpack to.
            answer.close()
            raise ProtocolError(f"{source}: the answer has more than one content-encoding")
        return answer

    def _prepare(
        self,
        url: str,
        token: str | None,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> requests.PreparedRequest:
        if token is None:
            kept = {n: text for n, text in self._headers.items() if n not in self._options.headers}
            return requests.Request("GET", url, {**kept, **headers}, params=query).prepare()
        if not url.isascii():
            return self._prepare_for_api(url, token, query, headers)
        # All but the path and the query is as before; to find that out anew takes a quarter of
        # the time that a request takes.
        origin = _origin(url)
        known = self._prepared.get((origin, token))
        if known is None:
            if len(self._prepared) >= MOST_ORIGINS:
                self._prepared.clear()
            known = self._prepare_for_api(f"{origin}/", token, {}, {})
            self._prepared[origin, token] = known
        request = known.copy()
        request.headers.update(headers)
        request.url = f"{str(known.url)[:-1]}{url[len(origin) :]}"
        if query:
            request.url += f"?{urlencode(query)}"
        return request

    def _prepare_for_api(
        self, url: str, token: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> requests.PreparedRequest:
        names = {**self._headers, **headers}
        return requests.Request("GET", url, names, params=query, auth=BearerAuth(token)).prepare()

    def _send(
        self, request: requests.PreparedRequest, call: Call, **options: Any
    ) -> requests.Response:
        """Again and at once, when a kept connection turns out to be closed: a server may do that
        at any time, without a word. Each time uses up such a connection. (One that is cut off
        after it was held is no such thing.)"""
        while True:
            sent = time.monotonic()
            try:
                with calling(call):
                    return self._session.send(request, allow_redirects=True, **options)
            except NETWORK_ERRORS as error:
                at_once = time.monotonic() - sent < STALE_SECONDS
                was_closed = call.reused and at_once and isinstance(innermost(error), HANGUPS)
                if not was_closed or call.interrupted or call.nudged:
                    raise

    def _proxies_of(self, url: str) -> dict[str, str]:
        """The user's, and of the environment's those that the user does not name."""
        origin = _origin(url)
        proxies = self._proxies.get(origin)
        if proxies is None:
            given = dict(self._options.proxies or {})
            proxies = {**get_environ_proxies(url, no_proxy=given.get("no_proxy")), **given}
            if len(self._proxies) >= MOST_ORIGINS:
                self._proxies.clear()
            self._proxies[origin] = proxies
        return proxies

    def close(self) -> None:
        """Closes the kept-alive connections. Calls under way must be interrupted first."""
        self._session.close()
