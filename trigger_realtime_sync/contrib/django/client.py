"""The client of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import close_old_connections, reset_queries

from ... import RealtimeClient
from .._client import ContextClient
from . import conf

_clients: dict[str, RealtimeClient] = {}


def get_client() -> RealtimeClient:
    """Return the client of this process. It is made on first use.

    Database connections that are too old or broken are closed before and after each callback, as
    Django does for each request.

    Raises:
        ConfigurationError: a setting can't work.
    """
    # No lock, which a fork could leave locked: if two threads make a client, one is unused.
    return _clients.get("default") or _clients.setdefault("default", _make_client())


def _make_client() -> RealtimeClient:
    return ContextClient(database_connections, **conf.client_options())


@contextmanager
def database_connections() -> Iterator[None]:
    """Do what Django does at the start and at the end of a request."""
    reset_queries()
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def on_setting_changed(*, setting: str, **more: Any) -> None:
    """Drop the client, for tests that override the settings."""
    if setting == conf.NAME:
        client = _clients.pop("default", None)
        if client is not None:
            client.close()
