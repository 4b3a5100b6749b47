"""What we send, as the official client reads it: payloads of every type, and public tokens."""

from __future__ import annotations

import base64
import json
import math
import subprocess
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.encode.test_superjson import WHEN, Clip, Color, Point, Video, values
from tests.interop.official import HERE, is_required, why_not
from trigger_realtime_sync import RealtimeClient
from trigger_realtime_sync._encode.none import NONE
from trigger_realtime_sync._encode.payload import encode_payload

PATIENCE = 60


@pytest.fixture(scope="module", autouse=True)
def _node() -> None:
    reason = why_not()
    if reason is not None:
        if is_required():
            pytest.fail(f"{reason} (this is CI, where it must be)")
        pytest.skip(reason)


def checked(**asked: Any) -> dict[str, Any]:
    done = subprocess.run(
        ["node", str(HERE / "checker.mjs")],
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def read(*given: Any) -> list[str]:
    """Return what a task gets for these payloads, as `checker.mjs` shows it."""
    payloads = [encode_payload(one) for one in given]
    packets = [
        {"dataType": one.content_type, **({} if one.data is None else {"data": one.data})}
        for one in payloads
    ]
    return list(checked(packets=packets)["values"])


CASES: list[tuple[Any, str]] = [
    (NONE, "undefined"),
    (None, "null"),
    ("", '""'),
    ("hello", '"hello"'),
    ("a\0b", '"a\\u0000b"'),
    (True, "true"),
    (5, "5"),
    (-0.0, "-0"),
    (1.5, "1.5"),
    (2**53 - 1, "9007199254740991"),
    (2**53, "9007199254740992n"),
    (-(10**30), f"-{10**30}n"),
    (math.nan, "NaN"),
    (-math.inf, "-Infinity"),
    (WHEN, "Date 2026-11-25T12:00:00.123Z"),
    (datetime(26, 1, 1, tzinfo=timezone.utc), "Date 0026-01-01T00:00:00.000Z"),
    (b"\1\2\xff", "bytes 1,2,255"),
    ({1, WHEN}, "set {1,Date 2026-11-25T12:00:00.123Z}"),
    ((1, (2,)), "[1,[2]]"),
    (Point(1, 2), "[1,2]"),
    (Color.RED, '"red"'),
    (Video("v", WHEN), '{"made":Date 2026-11-25T12:00:00.123Z,"name":"v"}'),
    (
        Clip(Video("v", WHEN), 1.0),
        '{"length":1,"video":{"made":Date 2026-11-25T12:00:00.123Z,"name":"v"}}',
    ),
    ({"a.b": {"c\\": {"d": [{2**60}]}}}, f'{{"a.b":{{"c\\\\":{{"d":[set {{{2**60}n}}]}}}}}}'),
    ({"": {".": math.nan}}, '{"":{".":NaN}}'),
    ({"constructor": {"prototype": 1}}, '{"constructor":{"prototype":1}}'),
]  # fmt: skip


def test_a_task_gets_what_was_meant():
    """By the official decoder, whatever the type and wherever it stands."""
    told = read(*(value for value, _ in CASES))
    assert told == [shown for _, shown in CASES]


def as_shown(value: Any) -> str:
    """Return a value as `checker.mjs` shows it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 2**53 else f"{value}n"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="milliseconds")
        return f"Date {text}Z"
    if isinstance(value, bytes):
        return f"bytes {','.join(map(str, value))}"
    if isinstance(value, frozenset):
        return f"set {{{','.join(sorted(map(as_shown, value)))}}}"
    if isinstance(value, list):
        return f"[{','.join(map(as_shown, value))}]"
    fields = [f"{as_shown(key)}:{as_shown(value[key])}" for key in sorted(value, key=_utf16)]
    return f"{{{','.join(fields)}}}"


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be")


def _has_floats(value: Any) -> bool:
    if isinstance(value, (list, frozenset)):
        return any(map(_has_floats, value))
    if isinstance(value, dict):
        return any(map(_has_floats, value.values())) or "__proto__" in value
    return isinstance(value, float)


@given(values.filter(lambda value: not _has_floats(value)))
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
def test_any_value_arrives(value):
    """Keys with dots and backslashes included. (Floats are spelled otherwise.)"""
    assert json.loads(json.dumps(read([value]))) == [f"[{as_shown(value)}]"]


def test_tokens_pass_the_official_verifier(server, connect):
    """And are, byte for byte, those of the official signer."""
    client: RealtimeClient = connect(server, access_token="tr_dev_test0000000000000000")
    made = [
        client.create_public_token(read={"runs": ["run_1"], "tags": "user:7"}),
        client.create_public_token(trigger="my-task", skip_columns=["payload"]),
        client.create_public_token(read={"tags": "é\U0001f600"}, expires_in="1h"),
    ]
    key = "tr_dev_test0000000000000000"
    asked, officials = [], []
    for token in made:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        officials.append(claims.pop("iat"))
        expires = claims.pop("exp")
        del claims["iss"], claims["aud"]
        asked.append({"key": key, "payload": claims, "expires": expires})
    told = checked(tokens=[{"token": one, "key": key} for one in made], claims=asked)
    assert told["valid"] == [True] * 3
    for ours, official, issued in zip(made, told["signed"], officials, strict=True):
        part = official.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        # The official signer takes the time of its own call.
        if claims["iat"] == issued:
            assert ours == official
        assert ours.split(".")[0] == official.split(".")[0]
