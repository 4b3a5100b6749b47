"""Checks of options: a bad one becomes a clear error at the call.

Each returns the value as it is used from then on. Options that only the client takes raise
ConfigurationError, the others ValueError.
"""

from __future__ import annotations

import errno
import functools
import inspect
import math
import os
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ._wire.names import ALWAYS_SENT, RUN_COLUMNS
from .errors import ConfigurationError, InvalidIdError

if TYPE_CHECKING:
    import ssl

# The longest wait, in seconds: beyond it, how far a wait can count differs between systems.
LONGEST = 366 * 86_400.0
HIDDEN = "***"
# How the tokens begin that `trigger.dev login` and the account's settings make.
PERSONAL_TOKEN = "tr_pat_"
# What the process or the system lacks for a moment: descriptors, or memory.
SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_CREATED_AT = re.compile(r"(?:[0-9]+(?:w|d|hr|h|m|s))+")
# Latin-1, as http.client sends it, with no blank at its ends, as requests wants it.
_HEADER_VALUE = re.compile(r"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class Secret(str):
    """A text that its repr does not show: what reports errors may print local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


def hidden(value: Any) -> Any:
    """Return a text as a secret, and anything else as it is."""
    return Secret(value) if isinstance(value, str) else value


def is_number(value: Any) -> bool:
    """Return whether this is a finite number, and no bool."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    # math.isfinite raises OverflowError for integers that are too large for a float.
    return -math.inf < value < math.inf


def check_base_url(value: Any, name: str = "base_url") -> str:
    """Return the URL without a trailing slash.

    One with credentials is refused, and not shown; nor is what may be a key: a query, or what is no
    URL, since a token may have been taken for one.
    """
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    text = value.strip()
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        parts = None
    if parts is None:
        # Out here, where it gets no context: that may quote a password.
        raise ConfigurationError(f"{name} is not a URL")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(f"{name} must not hold credentials: pass access_token instead")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine:
        raise ConfigurationError(f"{name} must be a URL that begins with http:// or https://")
    if "?" in text or "#" in text or _UNPRINTABLE.search(text) or " " in text:
        raise ConfigurationError(f"{name} must have no query, fragment, blank or control character")
    if not {".", ".."}.isdisjoint(parts.path.split("/")):
        raise ConfigurationError(f"{name} must have no '.' or '..' in its path: {value!r}")
    return text.rstrip("/")


def check_token(value: Any, name: str = "access_token") -> str:
    """Return the token as it goes into a header. The error never shows the value.

    A personal access token is refused: no endpoint of runs takes one.
    """
    value = hidden(value)
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}")
    token = Secret(value.strip())
    if not token:
        raise ConfigurationError(f"{name} is empty")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{name} holds a blank, a control or a non-ASCII character")
    if is_personal_token(token):
        raise ConfigurationError(
            f"{name} is a personal access token ({PERSONAL_TOKEN}…), which can't read runs:"
            f" use the environment's secret key or a public access token"
        )
    return token


def is_personal_token(value: Any) -> bool:
    """Return True for a personal access token."""
    return isinstance(value, str) and value.strip().startswith(PERSONAL_TOKEN)


def check_id(value: Any, name: str) -> str:
    """Accept any printable text as the id of a run, batch or stream: it is percent-encoded."""
    if _check_text(value, name) in (".", ".."):
        raise InvalidIdError(f"{name} must not be {value!r}: it would change the path")
    return str(value)


def check_io(value: Any) -> str:
    """Return which end of a session to read: what goes into its agent, or what comes out of it."""
    if value not in ("in", "out"):
        raise ValueError(f"io must be 'in' or 'out', not {value!r}")
    return str(value)


def check_key(value: Any) -> str:
    """Accept any text that a run may name as the key of a stream: it is percent-encoded."""
    if not isinstance(value, str):
        raise ValueError(f"key must be a string, not {type(value).__name__}")
    if not value:
        raise InvalidIdError("key is empty")
    _check_encodable(value, "key")
    return value


def _check_text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string, not {type(value).__name__}")
    if not value.strip():
        raise InvalidIdError(f"{name} is empty")
    if _UNPRINTABLE.search(value):
        raise InvalidIdError(f"{name} holds a control character: {value!r}")
    _check_encodable(value, name)
    return value


def _check_encodable(value: str, name: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidIdError(f"{name} holds a lone surrogate: {value!r}") from None


def check_tags(value: Any) -> tuple[str, ...]:
    """Return the tags, of which a run must carry all. Their order means nothing to the server."""
    tags = [value] if isinstance(value, str) else value
    if not isinstance(tags, Iterable):
        raise ValueError(f"tag must be a string or a list of strings, not {type(value).__name__}")
    checked = tuple(_check_tag(tag) for tag in tags)
    if not checked:
        raise ValueError("tag is an empty list: name at least one")
    return tuple(dict.fromkeys(checked))


def _check_tag(tag: Any) -> str:
    _check_text(tag, "tag")
    if "," in tag:
        raise InvalidIdError(f"tag {tag!r} holds a comma: the server can't be asked for it")
    if "\\" in tag or '"' in tag:
        raise InvalidIdError(
            f"tag {tag!r} holds a backslash or a double quote: the server refuses it"
        )
    return str(tag)


def check_created_at(value: Any) -> str | None:
    """Return how far back to look for runs, as the server spells it: `"90m"`, `"1d12h"`."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        seconds = math.ceil(value.total_seconds())
        if seconds <= 0:
            raise ValueError(f"created_at must be more than 0 seconds, not {value!r}")
        return f"{seconds}s"
    if not isinstance(value, str) or not _CREATED_AT.fullmatch(value):
        raise ValueError(
            f"created_at must be a duration such as '90m' or '1d' (w, d, h, hr, m, s),"
            f" or a timedelta, not {value!r}"
        )
    return value


def check_skip_columns(value: Any) -> tuple[str, ...]:
    """Return the names of the columns to skip. Takes fields of `Run` and names of the server."""
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Iterable):
        raise ValueError(f"skip_columns must be names of columns, not {type(value).__name__}")
    return tuple(dict.fromkeys(_check_column(name) for name in names))


def _check_column(name: Any) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"skip_columns must hold names of columns, not {name!r}")
    column = RUN_COLUMNS.get(name, name)
    if column in ALWAYS_SENT:
        raise ValueError(f"skip_columns: {name!r} is always sent")
    return column


def check_throttle(value: Any, name: str = "throttle_in_ms") -> float:
    """Return milliseconds as seconds."""
    if not is_number(value) or not 0 <= value <= LONGEST * 1000:
        raise ValueError(
            f"{name} must be a number of at least 0 milliseconds, at most a year, not {value!r}"
        )
    return float(value) / 1000


def check_timeout(value: Any, name: str = "timeout") -> float | None:
    """Return seconds to wait, or None for no bound."""
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value >= 0:
        raise ValueError(f"{name} must be None or at least 0 seconds, not {value!r}")
    return float(value) if value < LONGEST else None


def check_call_timeout(value: Any, name: str = "call_timeout") -> float:
    """Return seconds for a call.

    Raises:
        ValueError: they are not more than 0.
    """
    if not is_number(value) or not 0 < value <= LONGEST:
        raise ValueError(f"{name} must be more than 0 seconds, at most a year, not {value!r}")
    return float(value)


def check_seconds(value: Any, name: str) -> float:
    """Return seconds, at least 0, as an option of the client."""
    if not is_number(value) or not 0 <= value <= LONGEST:
        raise ConfigurationError(
            f"{name} must be a number of at least 0 seconds, at most a year, not {value!r}"
        )
    return float(value)


def check_count(value: Any, name: str, *, least: int = 1, most: int | None = None) -> int:
    """Return a whole number within bounds."""
    too_large = most is not None and isinstance(value, int) and value > most
    if not isinstance(value, int) or isinstance(value, bool) or value < least or too_large:
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {bounds}, not {value!r}")
    return value


def check_flag(value: Any, name: str) -> bool:
    """Return a bool: a text such as `"no"` would count as True."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return value


def check_callback(value: Any, name: str) -> None:
    """Accept a callable or None, but no coroutine or generator function: its call runs nothing."""
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be callable or None, not {type(value).__name__}")
    if is_async(value):
        raise TypeError(
            f"{name} is an async function, and this client calls plain ones, on threads of its own:"
            f" pass a function that hands over to your loop, with"
            f" asyncio.run_coroutine_threadsafe(…, loop)"
        )
    if is_generator(value):
        raise TypeError(
            f"{name} is a generator function: a call of it runs nothing. Pass a function without"
            f" yield"
        )


def is_async(value: Any) -> bool:
    """Return True for what returns a coroutine, or an async generator, when it is called."""
    return any(
        inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one)
        for one in _functions_of(value)
    )


def is_generator(value: Any) -> bool:
    """Return True for what returns a generator when it is called."""
    return any(map(inspect.isgeneratorfunction, _functions_of(value)))


def _functions_of(value: Any) -> list[Any]:
    """Return what a call may run: itself, or the `__call__` of its class."""
    while isinstance(value, functools.partial):
        value = value.func
    return [value, type(value).__call__] if callable(value) else [value]


def check_headers(value: Any) -> dict[str, str]:
    """Return headers as they may stand in a request. The error never shows a value."""
    headers = _check_mapping(value, "headers")
    for name, text in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise ConfigurationError(f"headers: {name!r} is not the name of a header")
        if not isinstance(text, str) or not _HEADER_VALUE.fullmatch(text):
            raise ConfigurationError(f"headers: the value of {name} can't stand in a header")
    return headers


def check_proxies(value: Any) -> dict[str, str] | None:
    """Return proxy URLs by scheme or host, as requests takes them. The error never shows a URL,
    which may hold credentials."""
    proxies = _check_mapping(value, "proxies")
    for name, url in proxies.items():
        if not isinstance(name, str):
            raise ConfigurationError(f"proxies: {name!r} is neither a scheme nor a host")
        # None: no proxy, whatever the environment says.
        if url is not None and (not isinstance(url, str) or _UNPRINTABLE.search(url)):
            raise ConfigurationError(f"proxies: what stands for {name} is not a URL")
    return proxies or None


def _check_mapping(value: Any, name: str) -> dict[Any, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a mapping, not {type(value).__name__}")
    return dict(value or {})


def check_verify(value: Any) -> bool | str | ssl.SSLContext:
    """Return True, False, the path of a file or directory of certificates, or a context."""
    import ssl

    if isinstance(value, (bool, ssl.SSLContext)):
        return value
    if not isinstance(value, (str, os.PathLike)) or not os.path.exists(value):
        raise ConfigurationError(
            f"verify must be a bool, an existing path or an ssl.SSLContext, not {value!r}"
        )
    path = os.fspath(value)
    if os.path.isfile(path):
        _check_certificates(path)
    return path


def _check_certificates(path: str) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:
        if error.errno in SHORTAGES:
            # They will be read when they are needed.
            return
        raise ConfigurationError(
            f"verify: the certificates of {path!r} can't be read: {type(error).__name__}"
        ) from None


def check_branch(value: Any, name: str = "preview_branch") -> str | None:
    """Return the name of a preview branch as it goes into a header, or None."""
    if value is None:
        return None
    branch = value.strip() if isinstance(value, str) else ""
    if not branch or not (branch.isprintable() and branch.isascii()):
        raise ConfigurationError(f"{name} must be the name of a branch, not {value!r}")
    return branch


def check_type(value: Any, kind: type[Any], rule: str) -> Any:
    """Return an instance of a class; `rule` begins the error otherwise."""
    if not isinstance(value, kind):
        raise ConfigurationError(f"{rule}, not {type(value).__name__}")
    return value
