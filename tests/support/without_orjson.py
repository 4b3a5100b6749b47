"""A plugin that runs tests as they are without the extra `speed`: what is found must be the same.

python -m pytest -p tests.support.without_orjson tests/wire tests/decode tests/streams
"""

from __future__ import annotations

import sys

import pytest

sys.modules["orjson"] = None  # type: ignore[assignment]


def pytest_sessionstart(session: pytest.Session) -> None:
    """Not in vain: the parser must not have been found before."""
    from trigger_realtime_sync._wire import json

    assert json._orjson_loads is None
