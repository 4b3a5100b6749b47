"""The client of this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import close_old_connections, reset_queries

from ... import RealtimeClient
from .._clients import SurroundedClient
from . import conf

_clients: dict[str, RealtimeClient] = {}


def get_client() -> RealtimeClient:
    """The client of this process, made when it is first asked for.

    Around its callbacks database connections are closed when they are too old or broken, as Django
    does around requests.

    Raises:
        ConfigurationError: a setting can't work.
    """
    # Without a lock, which a fork could leave locked: of two made at once, one is never used.
    return _clients.get("default") or _clients.setdefault("default", _make_client())


def _make_client() -> RealtimeClient:
    return SurroundedClient(around=database_connections, **conf.client_options())


@contextmanager
def database_connections() -> Iterator[None]:
    """What Django does when a request starts and when it has ended."""
    reset_queries()
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()


def on_setting_changed(*, setting: str, **more: Any) -> None:
    """Tests that override the settings get a client that follows them."""
    if setting == conf.NAME:
        client = _clients.pop("default", None)
        if client is not None:
            client.close()
