"""The settings. They are read at each use, so that tests may override them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils.module_loading import import_string

from .._client import CLIENT_OPTIONS as CLIENT_ARGUMENTS
from .._client import base_url_of, hidden_options
from ..sse import KEEP_ALIVE, MAX_AGE, RelayLimits

NAME = "TRIGGER_REALTIME"
CLIENT_OPTIONS = frozenset(map(str.upper, CLIENT_ARGUMENTS))
RELAY_BOUNDS = ("MAX_RELAYS", "MAX_RELAYS_PER_USER")
OWN_OPTIONS = frozenset(
    {"BROWSER_URL", "KEEP_ALIVE", "MAX_AGE", *RELAY_BOUNDS, "PERMISSION", "RELAY_OWNER"}
)

Permission = Callable[..., bool | Awaitable[bool]]
Owner = Callable[[HttpRequest], object]


def all_settings() -> Mapping[str, Any]:
    """Return the setting `TRIGGER_REALTIME`."""
    values = getattr(settings, NAME, {})
    if not isinstance(values, Mapping):
        raise ImproperlyConfigured(f"{NAME} must be a dictionary, not {type(values).__name__}")
    return values


def client_options() -> dict[str, Any]:
    """Return the settings that are options of `RealtimeClient`."""
    values = all_settings()
    return hidden_options(
        {name.lower(): values[name] for name in CLIENT_OPTIONS if values.get(name) is not None}
    )


def keep_alive() -> float:
    """Return the seconds of silence after which a browser is sent a comment."""
    return _seconds("KEEP_ALIVE", all_settings().get("KEEP_ALIVE", KEEP_ALIVE))


def max_age() -> float | None:
    """Return the seconds after which a browser is asked again whether it may; None for never."""
    value = all_settings().get("MAX_AGE", MAX_AGE)
    return None if value is None else _seconds("MAX_AGE", value)


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ImproperlyConfigured(f"{NAME}[{name!r}] must be more than 0 seconds: {value!r}")
    return value


def relay_limits() -> RelayLimits:
    """Return how many relays may be open, in this process and of one user."""
    usual = RelayLimits()
    per_process, per_owner = map(all_settings().get, RELAY_BOUNDS, attrs.astuple(usual))
    try:
        return RelayLimits(per_process, per_owner)
    except ValueError as error:
        raise ImproperlyConfigured(f"{NAME}: {' and '.join(RELAY_BOUNDS)}: {error}") from error


def relay_owner() -> Owner:
    """Return the function that says whose a request is."""
    return _function("RELAY_OWNER", "trigger_realtime_sync.contrib.django.views.request_owner")


def browser_url() -> str:
    """Return the URL of the API as browsers reach it; by default as the client does."""
    value = all_settings().get("BROWSER_URL")
    if value is None:
        return base_url_of(client_options())
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        raise ImproperlyConfigured(f"{NAME}['BROWSER_URL'] must be a URL, not {value!r}")
    return value


def permission() -> Permission:
    """Return the function that decides who may see runs."""
    return _function("PERMISSION", "trigger_realtime_sync.contrib.django.views.logged_in")


def _function(name: str, usual: str) -> Callable[..., Any]:
    value = all_settings().get(name, usual)
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as error:
            raise ImproperlyConfigured(f"{NAME}[{name!r}]: {error}") from error
    if not callable(value):
        raise ImproperlyConfigured(f"{NAME}[{name!r}] must be a callable or a dotted path")
    return value
