"""The settings, read when they are asked for."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from ..sse import KEEP_ALIVE

NAME = "TRIGGER_REALTIME"
CLIENT_OPTIONS = frozenset(
    {
        "ACCESS_TOKEN",
        "BASE_URL",
        "THROTTLE_IN_MS",
        "PREVIEW_BRANCH",
        "RETRY",
        "TIMEOUTS",
        "MAX_CACHED",
        "HEADERS",
        "PROXIES",
        "VERIFY",
    }
)
OWN_OPTIONS = frozenset({"KEEP_ALIVE", "PERMISSION"})

Permission = Callable[..., bool]


def all_settings() -> Mapping[str, Any]:
    """The dictionary `TRIGGER_REALTIME`."""
    values = getattr(settings, NAME, {})
    if not isinstance(values, Mapping):
        raise ImproperlyConfigured(f"{NAME} must be a dictionary, not {type(values).__name__}")
    return values


def client_options() -> dict[str, Any]:
    """Those of `RealtimeClient`."""
    values = all_settings()
    return {name.lower(): values[name] for name in CLIENT_OPTIONS if values.get(name) is not None}


def keep_alive() -> float:
    """Seconds between comments to a browser."""
    value = all_settings().get("KEEP_ALIVE", KEEP_ALIVE)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ImproperlyConfigured(f"{NAME}['KEEP_ALIVE'] must be more than 0 seconds: {value!r}")
    return value


def permission() -> Permission:
    """Who may see runs."""
    value = all_settings().get("PERMISSION", "trigger_realtime_sync.contrib.django.views.logged_in")
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as error:
            raise ImproperlyConfigured(f"{NAME}['PERMISSION']: {error}") from error
    if not callable(value):
        raise ImproperlyConfigured(f"{NAME}['PERMISSION'] must be a callable or a dotted path")
    if inspect.iscoroutinefunction(value):
        raise ImproperlyConfigured(f"{NAME}['PERMISSION'] must answer at once: it can't be async")
    return value
