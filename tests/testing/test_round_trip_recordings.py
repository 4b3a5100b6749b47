"""The requests of recordings, sent to the test server: its answers are of the same shape.

The recordings are calls of the official client, and of plain requests, to a server that validates
with the schemas of 4.5.12.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from tests.support.waiting import eventually
from tests.testing.conftest import Client, Got
from trigger_realtime_sync.testing import RealtimeServer
from trigger_realtime_sync.testing._jwt import sign

RECORDINGS = Path(__file__).parent.parent / "recordings"
FILES = {
    path.stem: path for folder in ("calls", "sessions") for path in (RECORDINGS / folder).glob("*")
}
# Here the recording server was told what to answer (a 500, say): that is no habit of servers.
TOLD = frozenset(
    {"trigger_403", "trigger_422", "trigger_5xx_retried", "trigger_rate_limited"}
    | {"batch_trigger_rate_limited", "batch_trigger_items_retried", "batch_trigger_lost_items"}
    | {"input_stream_send_retried"}
)
NAMES = sorted(FILES.keys() - TOLD)
# What servers may add.
OPTIONAL = frozenset({"idempotencyKeyExpiresAt"})
# Whose metadata follows from what was there.
EXACT = frozenset(
    {"run_metadata_operations", "metadata_odd_operations", "metadata_increment_of_an_object"}
    | {"run_update_metadata", "run_add_tags", "run_get_metadata"}
)
HEADERS = ("content-type", "x-trigger-jwt-claims", "x-trigger-jwt", "x-should-retry")
ID = re.compile(r"(?:run|batch|waitpoint|session)_test[0-9]+")
FIRST = "run_test000000000000000000001"
DELAYED = "run_test000000000000000000022"
KEY = "092081140b677b45dbe983b2f0d4ae0259ff2945bfa82f996fd7f6cac6916862"


# --- what earlier recordings had made


def make_run(**options: Any) -> Callable[[Replay], None]:
    """A run with the id of the first one."""
    return lambda replay: replay.server.create_run(**{"id": FIRST, **options}) and None


def make_delayed(metadata: Any = None) -> Callable[[Replay], None]:
    until = "2099-01-01T00:00:00.000"
    return make_run(id=DELAYED, delay_until=until, metadata=metadata)


def make_completed(replay: Replay) -> None:
    replay.server.create_run(id=FIRST)
    replay.server.complete_run(FIRST)


def before(*names: str) -> Callable[[Replay], None]:
    """What these recordings do."""

    def play(replay: Replay) -> None:
        for name in names:
            for _ in replay.play(name):
                pass

    return play


def filled_batch(replay: Replay) -> None:
    before("batch_trigger")(replay)
    (batch_id,) = replay.ids.values()

    def is_processed() -> bool:
        return "processingCompletedAt" in replay.client.get(f"/api/v2/batches/{batch_id}").json()

    eventually(is_processed, "the batch is still processed")


def without_store(replay: Replay) -> None:
    replay.server.settings.object_store = False


SETUPS: dict[str, Callable[[Replay], None]] = {
    "batch_retrieve": filled_batch,
    "batch_trigger_cached": before("batch_trigger"),
    "idempotency_reset": before("trigger_all_options"),
    "trigger_idempotent_again": before("trigger_all_options"),
    "input_stream_completed_run": make_completed,
    "input_stream_send": make_run(),
    "input_stream_send_undefined": make_run(),
    "metadata_increment_of_an_object": make_delayed({"a": {"b": [1, 2]}, "new": -3}),
    "metadata_odd_operations": make_delayed({}),
    "py_public_token": make_run(id="run_test000000000000000000027"),
    "reschedule_invalid": make_delayed({"a": 1, "new": -3}),
    "run_add_tags": make_run(),
    "run_cancel": make_run(),
    "run_get_metadata": make_run(metadata={"percentage": 50, "logs": ["one"]}),
    "run_metadata_operations": make_run(metadata={"step": "resize", "percentage": 40}),
    "run_replay": make_run(),
    "run_replay_overrides": make_run(),
    "run_reschedule": make_delayed(),
    "run_reschedule_not_delayed": make_run(),
    "run_result_unfinished": make_run(),
    "run_retrieve": make_run(),
    "run_update_metadata": make_run(),
    "session_close": before("session_start"),
    "session_records": before("session_start"),
    "session_send": before("session_start"),
    "session_send_closed": before("session_start", "session_close"),
    "session_send_string": before("session_start"),
    "trigger_big_payload_no_store": without_store,
    "wait_token_complete_with_public_token": before("wait_token_create"),
    "wait_token_create_again": before("wait_token_create"),
    "wait_token_list": before("wait_token_create"),
    "wait_token_retrieve": before("wait_token_create"),
    "wait_token_retrieve_completed": before(
        "wait_token_create", "wait_token_complete_with_public_token"
    ),
}


@attrs.define
class Replay:
    """Sends recorded requests, with the server's own ids and URLs in place of the recorded ones."""

    server: RealtimeServer
    client: Client
    ids: dict[str, str] = attrs.field(factory=dict)
    # Where the store wants the next upload.
    upload: str = ""
    callback: str = ""

    def play(self, name: str) -> Iterator[tuple[dict[str, Any], Got]]:
        """Yield each recorded answer, and the one that came."""
        recording = json.loads(FILES[name].read_text(encoding="utf-8"))
        for exchange in recording["exchanges"]:
            got = self.send(exchange["request"])
            recorded = exchange["response"]
            if got.body.startswith(b"{"):
                self.learn(recorded["body"], got.json())
            yield recorded, got

    def send(self, request: dict[str, Any]) -> Got:
        headers = dict(request["headers"])
        chunked = headers.pop("transfer-encoding", None) is not None
        length = headers.pop("content-length", None)
        sent = headers.get("authorization", "")
        if "<" in sent:
            headers["authorization"] = f"Bearer {self.server.public_token('admin')}"
        body: Any = self.renamed(_text(request["body"])).encode()
        if chunked:
            body = iter([body])
        elif not body and length is None:
            body = None
        connection = self.client.connection
        connection.request(request["method"], self.path(request["path"]), body, headers)
        answer = connection.getresponse()
        raw = answer.read()
        return Got(answer.status, {k.lower(): v for k, v in answer.headers.items()}, raw)

    def path(self, recorded: str) -> str:
        if recorded.startswith("/store/"):
            return self.upload
        if "/callback/" in recorded:
            return self.callback
        return self.renamed(recorded)

    def learn(self, recorded: Any, got: dict[str, Any]) -> None:
        """Note which of the server's ids stands for which recorded one, and its URLs."""
        if isinstance(recorded, dict) and ID.fullmatch(str(recorded.get("id"))):
            self.ids[recorded["id"]] = got["id"]
        self.upload = urlsplit(got.get("presignedUrl", "")).path
        self.callback = urlsplit(got.get("url", "")).path

    def renamed(self, text: str) -> str:
        # An instant of then is in the past by now.
        text = text.replace("1795645860", str(int(time.time()) + 3600))
        return ID.sub(lambda match: self.ids.get(match[0], match[0]), text)


def _text(body: Any) -> str:
    if body is None:
        return ""
    if isinstance(body, dict) and body.keys() == {"ndjson"}:
        return "".join(json.dumps(item) + "\n" for item in body["ndjson"])
    return body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))


def shape(value: Any) -> Any:
    """The keys and types of a value; of a list those of its first item."""
    if isinstance(value, dict):
        # A page may be the last one, here or there; recorded tokens are decoded.
        fixed = {"pagination": {}, "token": "a JWT", "publicAccessToken": "a JWT"}
        return {k: fixed.get(k, shape(one)) for k, one in value.items() if k not in OPTIONAL}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return "number" if isinstance(value, float) else type(value).__name__


@pytest.fixture
def replay(server: RealtimeServer, client: Client) -> Replay:
    return Replay(server, client)


@pytest.mark.parametrize("name", NAMES)
def test_an_answer_is_of_the_recorded_shape(replay, name):
    """Status, headers, keys and types; what is refused, word for word."""
    SETUPS.get(name, lambda replay: None)(replay)
    for recorded, got in replay.play(name):
        assert got.status == recorded["status"], got.body
        for header in HEADERS:
            assert (header in got.headers) == (header in recorded["headers"]), header
        body = recorded["body"]
        if body is None:
            assert got.body == b""
        elif got.status >= 400 or name in EXACT:
            assert got.json() == body
        elif name == "run_list":
            # Nothing has a schedule, so nothing is found.
            assert got.json().keys() == body.keys()
        else:
            assert shape(got.json()) == shape(body)


def test_vectors_of_tokens():
    """The signature of a token that the official client made."""
    vectors = json.loads((RECORDINGS / "calls_vectors.json").read_text(encoding="utf-8"))
    one = vectors["public_token"]
    assert sign(json.loads(one["payload"]), one["key"]).endswith("." + one["signature"])
