"""The marker of slow tests, and the events that a browser would see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "web: starts web servers, workers or browsers; slow")


@pytest.fixture
def browse() -> Iterator[Callable[..., Any]]:
    """Open `EventSource`s, `browse(port, path, last_event_id)`; close them after the test."""
    from tests.contrib.processes import Browser

    with ExitStack() as stack:

        def open_one(port: int, path: str, last_event_id: str | None = None) -> Browser:
            browser = Browser(port, path, last_event_id)
            stack.callback(browser.close)
            return browser

        yield open_one
