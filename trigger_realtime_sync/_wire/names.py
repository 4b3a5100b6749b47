"""The server's own names: paths, query parameters, headers, and the columns of a run.

Headers of HTTP itself stand where they are used. Source: docs/protocol.md, sections 1, 2, 4 and 5.
"""

from __future__ import annotations

from urllib.parse import quote


def segment(text: str) -> str:
    """Percent-encode `text` as one segment of a path."""
    return quote(text, safe="")


RUNS_PATH = "/realtime/v1/runs"


def run_path(run_id: str) -> str:
    return f"{RUNS_PATH}/{segment(run_id)}"


def batch_path(batch_id: str) -> str:
    return f"/realtime/v1/batches/{segment(batch_id)}"


# How the paths of the REST API begin, which share one rate limit.
API_PREFIX = "/api/"


def rest_run_path(run_id: str) -> str:
    return f"/api/v3/runs/{segment(run_id)}"


def batch_members_path(batch_id: str) -> str:
    return f"/api/v2/batches/{segment(batch_id)}"


def stream_path(run_id: str, key: str) -> str:
    return f"/realtime/v1/streams/{segment(run_id)}/{segment(key)}"


def packet_path(packet: str) -> str:
    """Return the path that answers with the presigned URL of a stored packet."""
    return f"/api/v1/packets/{segment(packet)}"


def run_packet_path(run_id: str, field: str) -> str:
    """Return the path that answers with the presigned URL of a run's payload or output."""
    return f"/api/v1/runs/{segment(run_id)}/packets/{field}"


# What is called (sections R2 to R9).


def trigger_path(task: str) -> str:
    return f"/api/v1/tasks/{segment(task)}/trigger"


def upload_path(packet: str) -> str:
    """Return the path that answers with the presigned URL to upload a packet to."""
    return f"/api/v2/packets/{segment(packet)}"


BATCHES_PATH = "/api/v3/batches"


def batch_items_path(batch_id: str) -> str:
    return f"{BATCHES_PATH}/{segment(batch_id)}/items"


CLAIMS_PATH = "/api/v1/auth/jwt/claims"
PUBLIC_TOKENS_PATH = "/api/v1/auth/public-tokens"
WAIT_TOKENS_PATH = "/api/v1/waitpoints/tokens"
RUN_LIST_PATH = "/api/v1/runs"


def wait_token_path(token_id: str) -> str:
    return f"{WAIT_TOKENS_PATH}/{segment(token_id)}"


def complete_path(token_id: str) -> str:
    return f"{wait_token_path(token_id)}/complete"


def input_path(run_id: str, stream: str) -> str:
    return f"/realtime/v1/streams/{segment(run_id)}/input/{segment(stream)}"


SESSIONS_PATH = "/api/v1/sessions"


def session_path(session_id: str) -> str:
    return f"{SESSIONS_PATH}/{segment(session_id)}"


def channel_path(session_id: str, io: str, channel: str | None = None) -> str:
    """Return the path of what a session reads (`in`) or writes (`out`), on a side channel or on its
    own."""
    side = "" if channel is None else f"/channels/{segment(channel)}"
    return f"/realtime/v1/sessions/{segment(session_id)}{side}/{io}"


def cancel_path(run_id: str) -> str:
    return f"/api/v2/runs/{segment(run_id)}/cancel"


def run_action_path(run_id: str, action: str) -> str:
    """Return the path of `replay`, `reschedule`, `tags` or `metadata`."""
    return f"{RUN_LIST_PATH}/{segment(run_id)}/{action}"


def reset_key_path(hashed: str) -> str:
    return f"/api/v1/idempotencyKeys/{segment(hashed)}/reset"


# Query parameters.
TAGS = "tags"
CREATED_AT = "createdAt"
SKIP_COLUMNS = "skipColumns"
CACHE_BUSTER = "cache-buster"
# Makes Electric answer from another shape, whose snapshot is one of now.
ANOTHER_SHAPE = {"replica": "full"}
START_OFFSET = "-1"
# Electric: how the offsets of a snapshot begin, and the one after its end.
SNAPSHOT_OFFSETS = "0_"
SNAPSHOT_END = "0_inf"

# Headers of Electric's messages: of `up-to-date`, and of the rows of its log.
LAST_SEEN_LSN = "global_last_seen_lsn"
LSN = "lsn"
LAST_OF_TRANSACTION = "last"

# Headers of requests.
REQUEST_HEADERS = {
    "x-trigger-electric-version": "1.0.0-beta.1",
    "x-trigger-api-version": "2025-07-16",
}
# Of calls. Without the second, a run is born with v1 streams.
CALL_HEADERS = {
    "x-trigger-api-version": "2025-07-16",
    "x-trigger-realtime-streams-version": "v2",
}
# Of a part that is appended: the same one is written once.
PART_ID = "X-Part-Id"
REQUEST_ID = "x-trigger-request-idempotency-key"
BRANCH = "x-trigger-branch"
TIMEOUT_SECONDS = "Timeout-Seconds"
LAST_EVENT_ID = "Last-Event-ID"
START_AT_LATEST = {"X-Trigger-Stream-Start": "latest"}

# Headers of answers, in lower case.
HANDLE = "electric-handle"
OFFSET = "electric-offset"
CURSOR = "electric-cursor"
STREAM_VERSION = "x-stream-version"
SHOULD_RETRY = "x-should-retry"
RATE_LIMIT_RESET = "x-ratelimit-reset"
# A live token, and what it holds.
PUBLIC_TOKEN = "x-trigger-jwt"
TOKEN_CLAIMS = "x-trigger-jwt-claims"

# Field of `Run` → column of its row, in the order of the fields.
RUN_COLUMNS = {
    "id": "friendlyId",
    "task_identifier": "taskIdentifier",
    "status": "status",
    "created_at": "createdAt",
    "updated_at": "updatedAt",
    "started_at": "startedAt",
    "queued_at": "queuedAt",
    "delayed_until": "delayUntil",
    "expired_at": "expiredAt",
    "finished_at": "completedAt",
    "duration_ms": "usageDurationMs",
    "cost_in_cents": "costInCents",
    "base_cost_in_cents": "baseCostInCents",
    "number": "number",
    "tags": "runTags",
    "ttl": "ttl",
    "is_test": "isTest",
    "idempotency_key": "idempotencyKey",
    "error": "error",
    "realtime_streams": "realtimeStreams",
    "payload": "payload",
    "output": "output",
    "metadata": "metadata",
}
# The column of a packet's content type is named after its own: `payload`, `payloadType`.
CONTENT_TYPE_SUFFIX = "Type"
# Sent whatever `skipColumns` says; `id` is the key of the row, which is not the id of the run.
ALWAYS_SENT = frozenset(
    {"id", *(RUN_COLUMNS[field] for field in ("id", "task_identifier", "status", "created_at"))}
)
