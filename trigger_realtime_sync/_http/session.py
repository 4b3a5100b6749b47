"""One requests session for a client, and answers that are read to a proven end."""

from __future__ import annotations

import http.client
import io
import logging
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlencode

import attrs
import requests
import urllib3.exceptions
from requests.auth import AuthBase
from requests.utils import get_environ_proxies

from .._version import __version__
from ..config import Timeouts
from ..errors import ApiConnectionError, ConfigurationError, ProtocolError
from .connections import Call, Interrupted, Nudged, WatchedAdapter, calling

logger = logging.getLogger("trigger_realtime_sync")

READ_SIZE = 65536
# Larger than the snapshots that servers send in one answer (Electric cuts at about 10 MB, native at
# 1,000 runs): a thousand runs of 256 KB each. A stored packet of so much takes three times that of
# memory, a snapshot as servers send it, which is parsed as it arrives, little more.
MAX_BODY = 256 << 20
# Hosts whose proxies are remembered: the API's, and those that store large payloads.
MOST_ORIGINS = 100
USER_AGENT = f"trigger-realtime-sync/{__version__}"

NETWORK_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


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


class Answer:
    """A response whose headers have arrived. Read it to its end, or close it."""

    def __init__(self, response: requests.Response, call: Call, source: str) -> None:
        self._raw: Any = response.raw
        self._response = response
        self._call = call
        self._source = source
        self.status: int = response.status_code
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.framed = (
            "content-length" in self.headers
            or "chunked" in self.headers.get("transfer-encoding", "").lower()
            or self.status == 204
        )

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, decoded. Ends only where the body proved to be whole.

        Raises:
            ApiConnectionError: the body was cut, or silent for longer than `Timeouts.read`.
            Interrupted: the call was cut off.
        """
        while data := self._read():
            yield data
        self._call.check()
        if self._raw.length_remaining not in (0, None):
            raise ApiConnectionError(f"{self._source}: the body is shorter than its Content-Length")

    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.body_chunks())

    def body_chunks(self) -> Iterator[bytes]:
        """The same as it arrives, up to `MAX_BODY` bytes."""
        size = 0
        for chunk in self.chunks():
            size += len(chunk)
            if size > MAX_BODY:
                raise ProtocolError(
                    f"{self._source}: the body is larger than {MAX_BODY} bytes;"
                    f" skip_columns makes it smaller"
                )
            yield chunk

    def text(self, limit: int = 10_000) -> str:
        """The start of the body, for an error."""
        parts: list[bytes] = []
        size = 0
        for chunk in self.chunks():
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        return b"".join(parts)[:limit].decode("utf-8", "replace")

    def limit_silence(self, seconds: float) -> None:
        """Of what is left of the body, in place of a longer `Timeouts.read`."""
        self._call.limit_silence(seconds)

    def close(self) -> None:
        """Gives the connection back if the body was read to its end, else drops it."""
        self._call.release()
        self._response.close()

    def _read(self) -> bytes:
        try:
            return self._raw.read1(READ_SIZE, decode_content=True) or b""
        except NETWORK_ERRORS as error:
            raise connection_error(error, self._call, self._source) from None


def connection_error(error: Exception, call: Call, source: str) -> Exception:
    """What to raise for a failure below HTTP: Interrupted where we caused it ourselves."""
    if call.interrupted:
        return Interrupted()
    if call.nudged:
        return Nudged()
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ConfigurationError(
            f"{source}: the server's certificate is not trusted ({cause.verify_message});"
            f" verify= takes the path of the authority's certificate"
        )
    return ApiConnectionError(f"{source}: {_in_a_few_words(cause)}")


def _innermost(error: BaseException) -> BaseException:
    """The first cause: the outer ones repeat the whole URL."""
    inner: BaseException = error
    seen = {id(inner)}
    while True:
        below = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(below, BaseException):
            below = inner.__cause__ or inner.__context__
        if not isinstance(below, BaseException) or id(below) in seen:
            break
        seen.add(id(below))
        inner = below
    return inner


def _in_a_few_words(inner: BaseException) -> str:
    if isinstance(inner, (TimeoutError, requests.Timeout)):
        return "timed out"
    if isinstance(inner, (urllib3.exceptions.HTTPError, http.client.HTTPException)):
        # Some quote what the server sent.
        return type(inner).__name__
    return f"{type(inner).__name__}: {inner}"[:300]


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
                was_closed = call.reused and at_once and isinstance(_innermost(error), HANGUPS)
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
