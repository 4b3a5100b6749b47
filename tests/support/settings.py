"""Values that the tests of several folders share."""

from __future__ import annotations

from trigger_realtime_sync import RetryPolicy

TOKEN = "tr_secret_of_the_test"
QUICK = RetryPolicy(initial_delay=0.01, max_delay=0.05)
# The variables that a client reads: a developer's own must not decide how a test ends.
ENVIRONMENT = (
    "TRIGGER_SECRET_KEY",
    "TRIGGER_ACCESS_TOKEN",
    "TRIGGER_API_URL",
    "TRIGGER_PREVIEW_BRANCH",
)
