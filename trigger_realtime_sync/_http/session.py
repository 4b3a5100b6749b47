"""The one requests session of a client."""

from __future__ import annotations

import io
import logging
import ssl
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import attrs
import requests
from requests.utils import select_proxy

from .._clock import monotonic
from .._version import __version__
from ..config import Timeouts
from ..errors import ApiConnectionError, ApiError, ConfigurationError, ConnectionUntrusted
from .adapter import WatchedAdapter
from .answer import NETWORK_ERRORS, Answer, connection_error, innermost
from .call import Call, calling
from .encoding import ACCEPTED
from .mask import Mask, secrets_of_headers, secrets_of_proxies
from .own_records import hide_secrets
from .prepared import MOST_REMEMBERED, RequestMaker, origin_of
from .proxies import mistake_in_proxy, proxies_of, refusal_of_proxy
from .retry import PROXY_REFUSED, ForeignAnswer

logger = logging.getLogger("trigger_realtime_sync")

# How many hosts' proxies are remembered: of the API, and of those that store large payloads.
MOST_ORIGINS = 100
USER_AGENT = f"trigger-realtime-sync/{__version__}"
# The errors of a request sent on a connection that the server had already closed.
HANGUPS = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)
# Node closes kept-alive connections after 5 s: what may not be sent twice takes a younger one.
MOST_IDLE_SECONDS = 3.0
# They come sooner than this; a later one means that the server gave up on the request itself.
STALE_SECONDS = 1.0


@attrs.frozen(kw_only=True)
class HttpOptions:
    """The client's options about HTTP."""

    timeouts: Timeouts
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    proxies: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    verify: bool | str | ssl.SSLContext = True


def _session_of_requests() -> type[requests.Session]:
    """Return the class of requests itself, whatever a cache for the whole process put in its place
    before this module was imported: it would answer live polls."""
    for kind in requests.Session.__mro__:
        if (kind.__module__, kind.__qualname__) == ("requests.sessions", "Session"):
            return kind
    return requests.Session


if TYPE_CHECKING:
    _BaseSession = requests.Session
else:
    _BaseSession = _session_of_requests()


class _Session(_BaseSession):
    """A session that sends private headers to no other host after a redirect.

    Args:
        private: names of headers for the API's own host alone, besides the token's.
    """

    def __init__(self, private: Iterable[str]) -> None:
        super().__init__()
        self._private = ("Authorization", *private)

    def rebuild_auth(self, prepared_request: Any, response: Any) -> None:
        """Drop the private headers if a redirect leads to another host; never look into .netrc."""
        headers = prepared_request.headers
        before, after = response.request.url, prepared_request.url
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            for name in self._private:
                headers.pop(name, None)

    def get_redirect_target(self, resp: Any) -> str | None:
        """Drop the body of a redirect, which requests would read to an end that may not come."""
        try:
            target = self._target_of(resp)
        except ValueError:
            resp.raw.close()
            raise
        if target:
            resp.raw.close()
            resp.raw = io.BytesIO()
        return target

    def _target_of(self, response: Any) -> str | None:
        """Return where a redirect leads.

        Raises:
            ValueError: to no URL of HTTP. What requests would raise later does not tell it from a
                mistake in the user's own.
        """
        target: str | None = super().get_redirect_target(response)
        if target:
            parts = urlsplit(urljoin(response.url, target))
            if parts.scheme not in ("http", "https") or parts.port == 0:
                raise ValueError
        return target


def _error_of_sending(error: Exception, call: Call, label: str) -> Exception:
    if isinstance(error, requests.TooManyRedirects):
        return ForeignAnswer(f"{label}: the server redirects in a circle")
    kind = type(error).__name__
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        # The adapter's ConfigurationError is a ValueError, which requests wraps.
        cause = error.args[0] if error.args else None
        if isinstance(cause, ConfigurationError):
            return cause
        return ConfigurationError(f"{label}: {kind}")
    if isinstance(error, NETWORK_ERRORS):
        return connection_error(error, call, label)
    return ForeignAnswer(f"{label}: the server redirects to what is no URL ({kind})")


def _at_first(error: Exception) -> Exception:
    """Return what a failure means before any request has worked."""
    if isinstance(error, ConnectionUntrusted):
        hint = "verify= takes the path of the authority's certificate"
        return ConfigurationError(f"{error}; {hint}")
    return error


class Transport:
    """Sends the requests of a client. Safe from any thread."""

    def __init__(self, options: HttpOptions) -> None:
        self._options = options
        # Whether a TLS handshake has succeeded, or the API answered without TLS. It is only ever
        # set, so no lock is needed.
        self._has_worked = False
        self._session = _Session(options.headers)
        self._session.max_redirects = 5
        # Looked up in the environment once for each host, and after a failure: requests would
        # search all of it for each request, a quarter of the time that a request takes.
        self._session.trust_env = False
        self._proxies = lru_cache(MOST_ORIGINS)(partial(proxies_of, dict(options.proxies or {})))
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update(
            {
                "User-Agent": USER_AGENT,
                "Accept-Encoding": ACCEPTED,
                # For caches in this process as well as those on the way.
                "Cache-Control": "no-store",
                **options.headers,
            }
        )
        self._requests = RequestMaker(self._session.headers, options.headers)
        self._masks = lru_cache(MOST_REMEMBERED)(self._make_mask)
        hide_secrets()
        adapter = WatchedAdapter(options.verify)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    @property
    def timeouts(self) -> Timeouts:
        """The client's option."""
        return self._options.timeouts

    def get(
        self,
        url: str,
        *,
        call: Call,
        label: str,
        token: str | None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float | None = None,
        resend: bool = True,
        head_timeout: float | None = None,
    ) -> Answer:
        """Send a GET and return when the headers arrived.

        Args:
            head_timeout: seconds to wait for the headers; `Timeouts.read` if that is less.
            label: names the request in errors.
            token: None for the URL of a third party, which gets none of the user's headers either.
            patience: seconds of silence, if fewer than `Timeouts.read`.
            resend: whether it may be sent again if the server had closed the kept-alive connection.
                The server may have received it nevertheless.

        Raises:
            ApiConnectionError: the server can't be reached, or the answer broke off.
            ApiError: the proxy refuses to connect to it, by a 407.
            ConfigurationError: its certificate is not trusted, or its proxy can't be used, and no
                request has ever worked.
            ForeignAnswer: it redirects to nowhere.
            Interrupted: the call was cut off.
        """
        call.check()
        timeouts = self._options.timeouts
        silence = timeouts.read if patience is None else min(patience, timeouts.read)
        wait = silence if head_timeout is None else min(head_timeout, silence)
        call.begin()
        call.mask = self._mask(url, token)
        proxies = self._proxies(origin_of(url))
        try:
            response = self._send(
                self._requests.make(url, token, query or {}, headers or {}),
                call,
                resend,
                stream=True,
                timeout=(min(timeouts.connect, wait), wait),
                proxies=proxies,
                # The adapter's context has the rest.
                verify=self._options.verify is not False,
            )
        except (*NETWORK_ERRORS, ValueError) as error:
            call.release()
            self._has_worked |= call.trusted
            # A network that was joined or left meanwhile may need another proxy, or none.
            self._proxies.cache_clear()
            self._masks.cache_clear()
            failure = self._failure(error, call, label, url, proxies)
        else:
            self._has_worked |= call.trusted or (token is not None and response.ok)
            if wait < silence:
                call.set_silence(silence)
            return Answer(response, call, label)
        # Out here, where it gets no context: that would quote what the network said.
        raise failure

    def _mask(self, url: str, token: str | None) -> Mask:
        """Return what hides the secrets of a request: without a token, its URL is one."""
        origin = origin_of(url)
        if token is None:
            target = url[len(origin) :]
            return Mask([target, *secrets_of_proxies(self._proxies(origin))], hides_targets=True)
        return self._masks(origin, token)

    def _make_mask(self, origin: str, token: str) -> Mask:
        secrets = secrets_of_headers(self._options.headers)
        return Mask([token, *secrets, *secrets_of_proxies(self._proxies(origin))])

    def send(
        self,
        method: str,
        url: str,
        *,
        call: Call,
        label: str,
        token: str | None,
        body: bytes | None,
        headers: Mapping[str, str],
        ends_at: float,
        silence: float,
    ) -> Answer:
        """Send a request of a call once, and return when the headers arrived. Nothing is followed.

        Args:
            token, label: as in `get`.
            ends_at: a moment of `time.monotonic()`, after which nothing is waited for.
            silence: seconds to wait for the headers.

        Raises:
            ApiConnectionError: the server can't be reached, or the answer broke off.
            Interrupted: the call was cut off.
        """
        call.check()
        call.begin()
        call.mask = self._mask(url, token)
        call.most_idle, call.ends_at = MOST_IDLE_SECONDS, ends_at
        request = self._requests.make_call(method, url, token, headers, body)
        proxies = self._proxies(origin_of(url))
        try:
            with calling(call):
                response = self._session.get_adapter(url).send(
                    request,
                    stream=True,
                    timeout=(self._options.timeouts.connect, silence),
                    proxies=proxies,
                    verify=self._options.verify is not False,
                )
        except (*NETWORK_ERRORS, ValueError) as error:
            call.release()
            self._has_worked |= call.trusted
            self._proxies.cache_clear()
            self._masks.cache_clear()
            failure = self._failure(error, call, label, url, proxies)
        else:
            self._has_worked |= call.trusted or (token is not None and response.ok)
            return Answer(response, call, label)
        # Out here, where it gets no context: that would quote what the network said.
        raise failure

    def _failure(
        self, error: Exception, call: Call, label: str, url: str, proxies: dict[str, str]
    ) -> Exception:
        """Return the exception to raise for a request that was not answered."""
        if refusal_of_proxy(error) == PROXY_REFUSED:
            why = "the proxy wants a user and a password"
            return ApiError(f"{label}: HTTP {PROXY_REFUSED}: {why}", status=PROXY_REFUSED)
        mistake = mistake_in_proxy(error, url, proxies)
        if mistake is None:
            problem = _error_of_sending(error, call, label)
            return problem if self._has_worked else _at_first(problem)
        is_given = select_proxy(url, dict(self._options.proxies or {})) is not None
        is_final = is_given or not self._has_worked
        return (ConfigurationError if is_final else ApiConnectionError)(f"{label}: {mistake}")

    def _send(
        self, request: requests.PreparedRequest, call: Call, resend: bool, **options: Any
    ) -> requests.Response:
        """Send the request, again and at once if the server had closed the kept-alive connection.

        A server may do that at any time. Each such attempt uses up one kept connection, so the loop
        ends. (A poll that is cut off after it was held is a failure.) Nothing tells this from an
        answer that was lost at once, so a live poll is not sent again.
        """
        while True:
            sent = monotonic()
            try:
                with calling(call):
                    return self._session.send(request, allow_redirects=True, **options)
            except NETWORK_ERRORS as error:
                at_once = monotonic() - sent < STALE_SECONDS
                was_closed = call.reused and at_once and isinstance(innermost(error), HANGUPS)
                if not was_closed or call.interrupted or call.nudged:
                    raise
                if not resend:
                    call.hung_up = True
                    raise

    def close(self) -> None:
        """Close the kept-alive connections. Calls in progress must be interrupted first."""
        self._session.close()
