"""A pytest plugin for mutation runs: each test starts with empty caches.

mutmut runs against a mutant the tests that reached its function when it recorded them. What only
the first test makes, because it is kept, would be tested by that one alone.
"""

from __future__ import annotations

import sys

import pytest

PACKAGE = "trigger_realtime_sync"


@pytest.fixture(autouse=True)
def _fresh_caches() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith(PACKAGE):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
