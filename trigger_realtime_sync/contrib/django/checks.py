"""System checks: settings that can't work are reported before the first run is followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from ... import ConfigurationError, RealtimeClient
from .._client import with_sharing
from . import conf

TOKEN_VARIABLES = ("TRIGGER_SECRET_KEY", "TRIGGER_ACCESS_TOKEN")


def check_settings(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    """Check the settings, without using the network."""
    try:
        names = set(conf.all_settings())
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="trigger_realtime.E001")]
    return [
        *_unknown(names - conf.CLIENT_OPTIONS - conf.OWN_OPTIONS),
        *_errors_of(_make_client, "trigger_realtime.E003"),
        *_errors_of(conf.keep_alive, "trigger_realtime.E004"),
        *_errors_of(conf.permission, "trigger_realtime.E005"),
        *_errors_of(conf.browser_url, "trigger_realtime.E006"),
        *_errors_of(conf.max_age, "trigger_realtime.E007"),
        *_errors_of(conf.relay_limits, "trigger_realtime.E008"),
        *_errors_of(conf.relay_owner, "trigger_realtime.E009"),
        *_no_token(),
        *_not_shared(),
    ]


def _unknown(names: set[Any]) -> list[checks.CheckMessage]:
    known = ", ".join(sorted(conf.CLIENT_OPTIONS | conf.OWN_OPTIONS))
    return [
        checks.Error(
            f"{conf.NAME}[{name!r}] is not a setting",
            hint=f"The settings are: {known}.",
            id="trigger_realtime.E002",
        )
        for name in sorted(names, key=str)
    ]


def _errors_of(read: Callable[[], object], id_: str) -> list[checks.CheckMessage]:
    try:
        read()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id=id_)]
    except (ConfigurationError, TypeError) as error:
        return [checks.Error(f"{conf.NAME}: {error}", id=id_)]
    return []


def _make_client() -> None:
    RealtimeClient(**with_sharing(conf.client_options())).close()


def _no_token() -> list[checks.CheckMessage]:
    if conf.client_options().get("access_token") or any(map(os.environ.get, TOKEN_VARIABLES)):
        return []
    return [
        checks.Warning(
            "There is no access token: runs can't be followed.",
            hint=f"Set {conf.NAME}['ACCESS_TOKEN'], or {' or '.join(TOKEN_VARIABLES)}.",
            id="trigger_realtime.W001",
        )
    ]


def _not_shared() -> list[checks.CheckMessage]:
    processes = os.environ.get("WEB_CONCURRENCY", "")
    if not processes.isdigit() or int(processes) <= 1 or conf.all_settings().get("SHARED"):
        return []
    return [
        checks.Warning(
            f"{processes} processes follow runs over a connection each, and the plan limits these.",
            hint=f"Set {conf.NAME}['SHARED'] to the URL of a Redis: docs/fleet.md.",
            id="trigger_realtime.W002",
        )
    ]
