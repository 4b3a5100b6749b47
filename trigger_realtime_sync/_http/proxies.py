"""Which proxy a request takes, and what is wrong with one."""

from __future__ import annotations

import re

import requests
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from .answer import innermost

# How http.client says that a proxy refused CONNECT.
_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})")


def proxies_of(given: dict[str, str], origin: str) -> dict[str, str]:
    """Return the proxies for an origin: the user's, completed by those of the environment."""
    return {**get_environ_proxies(origin, no_proxy=given.get("no_proxy")), **given}


def mistake_in_proxy(error: Exception, url: str, proxies: dict[str, str]) -> str | None:
    """Return why the proxy of a request can't be used, without its URL, or None if that is not why
    the request failed."""
    if not isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema)):
        return None
    proxy = select_proxy(url, proxies)
    if not proxy:
        return None
    try:
        parts = parse_url(prepend_scheme_if_needed(proxy, "http"))  # type: ignore[no-untyped-call]
    except LocationParseError:
        return "the proxy's URL is no URL"
    if not parts.host:
        return "the proxy's URL names no host"
    if (parts.scheme or "").startswith("socks"):
        return "a SOCKS proxy needs the package PySocks: pip install 'requests[socks]'"
    if parts.scheme not in ("http", "https"):
        return "the proxy is neither an HTTP nor a SOCKS proxy"
    return None


def refusal_of_proxy(error: Exception) -> int | None:
    """Return the status with which a proxy refused a connection to the server, or None."""
    inner = innermost(error)
    match = _REFUSED.match(str(inner)) if isinstance(inner, OSError) else None
    return None if match is None else int(match[1])
