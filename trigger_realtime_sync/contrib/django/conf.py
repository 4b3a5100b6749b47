"""The settings. They are read at each use, so that tests may override them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from .._client import CLIENT_OPTIONS as CLIENT_ARGUMENTS
from .._client import base_url_of
from ..sse import KEEP_ALIVE

NAME = "TRIGGER_REALTIME"
CLIENT_OPTIONS = frozenset(map(str.upper, CLIENT_ARGUMENTS))
OWN_OPTIONS = frozenset({"BROWSER_URL", "KEEP_ALIVE", "PERMISSION"})

Permission = Callable[..., bool]


def all_settings() -> Mapping[str, Any]:
    """Return the setting `TRIGGER_REALTIME`."""
    values = getattr(settings, NAME, {})
    if not isinstance(values, Mapping):
        raise ImproperlyConfigured(f"{NAME} must be a dictionary, not {type(values).__name__}")
    return values


def client_options() -> dict[str, Any]:
    """Return the settings that are options of `RealtimeClient`."""
    values = all_settings()
    return {name.lower(): values[name] for name in CLIENT_OPTIONS if values.get(name) is not None}


def keep_alive() -> float:
    """Return the seconds of silence after which a browser is sent a comment."""
    value = all_settings().get("KEEP_ALIVE", KEEP_ALIVE)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ImproperlyConfigured(f"{NAME}['KEEP_ALIVE'] must be more than 0 seconds: {value!r}")
    return value


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
    value = all_settings().get("PERMISSION", "trigger_realtime_sync.contrib.django.views.logged_in")
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as error:
            raise ImproperlyConfigured(f"{NAME}['PERMISSION']: {error}") from error
    if not callable(value):
        raise ImproperlyConfigured(f"{NAME}['PERMISSION'] must be a callable or a dotted path")
    if inspect.iscoroutinefunction(value):
        raise ImproperlyConfigured(f"{NAME}['PERMISSION'] must return a bool: it can't be async")
    return value
