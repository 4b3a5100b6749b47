"""Names of the wire: headers, query parameters and their values (PROTOCOL, sections 1, 2 and 4)."""

HANDLE = "electric-handle"
OFFSET = "electric-offset"
CURSOR = "electric-cursor"

REQUEST_HEADERS = {
    "x-trigger-electric-version": "1.0.0-beta.1",
    "x-trigger-api-version": "2025-07-16",
}
BRANCH = "x-trigger-branch"

START_OFFSET = "-1"
CACHE_BUSTER = "cache-buster"

STREAM_VERSION = "x-stream-version"
TIMEOUT_SECONDS = "Timeout-Seconds"
SHOULD_RETRY = "x-should-retry"
