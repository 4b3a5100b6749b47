"""Public access tokens: what they allow, and how they are signed."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from trigger_realtime_sync import Task
from trigger_realtime_sync._encode.jwt import is_additional_key, is_public_token, mint
from trigger_realtime_sync._encode.scopes import check_scopes, only_triggers

VECTORS = json.loads(
    (Path(__file__).parents[1] / "recordings" / "calls_vectors.json").read_text(encoding="utf-8")
)


def test_a_token_is_that_of_the_official_signer():
    """Byte for byte."""
    vector = VECTORS["public_token"]
    claims = json.loads(vector["payload"])
    issued, expires = claims.pop("iat"), claims.pop("exp")
    del claims["iss"], claims["aud"]
    token = mint(vector["key"], claims, issued, expires)
    parts = [
        base64.urlsafe_b64encode(vector[part].encode()).rstrip(b"=").decode()
        for part in ("header", "payload")
    ]
    assert token == ".".join([*parts, vector["signature"]])


def test_kinds_of_tokens_are_told_apart():
    """Only a root key can sign."""
    assert is_additional_key("tr_dev_sk_" + "a" * 24)
    assert not is_additional_key("tr_dev_" + "a" * 24)
    assert is_public_token(mint("tr_dev_x", {"pub": True}, 1, 2))
    assert not is_public_token("tr_dev_x")


def test_scopes_of_each_kind():
    """As the server spells them, each once."""
    bill = Task("bill")
    assert check_scopes(
        {"runs": ["run_1", "run_2"], "tasks": bill, "tags": "env:staging", "batches": True},
        {"input_streams": "run_1", "waitpoints": ("w",), "runs": True, "sessions": "s"},
        ["signup", bill],
        "signup",
        ["read:tags:env:staging", "read:all", "admin", "read:runs:run_3"],
    ) == [
        "read:runs:run_1",
        "read:runs:run_2",
        "read:tasks:bill",
        "read:tags:env:staging",
        "read:batch",
        "write:inputStreams:run_1",
        "write:waitpoints:w",
        "write:runs",
        "write:sessions:s",
        "trigger:tasks:signup",
        "trigger:tasks:bill",
        "batchTrigger:tasks:signup",
        "read:all",
        "admin",
        "read:runs:run_3",
    ]


@pytest.mark.parametrize(
    "scopes",
    [
        {},
        {"read": {}},
        {"read": {"runs": ""}},
        {"read": {"runs": " "}},
        {"read": {"runs": []}},
        {"read": {"runs": ["run_1", ""]}},
        {"read": {"runs": False}},
        {"read": {"runs": None}},
        {"read": {"run": "run_1"}},
        {"read": {"all": True}},
        {"read": ["runs"]},
        {"write": {"tags": "t"}},
        {"trigger": ""},
        {"trigger": [""]},
        {"trigger": True},
        {"batch_trigger": [5]},
        {"raw": "read"},
        {"raw": "read:runs:"},
        {"raw": "read:runs: "},
        {"raw": ":runs"},
        {"raw": ["read:"]},
        {"raw": [""]},
    ],
    ids=str,
)
def test_a_scope_that_would_mean_something_else_is_refused(scopes):
    """An empty id means all."""
    with pytest.raises(ValueError, match=r"scope|id|read|write|trigger"):
        check_scopes(**scopes)


def test_one_use_is_for_tokens_that_only_trigger():
    """As in JavaScript."""
    assert only_triggers(["trigger:tasks:a", "batchTrigger:tasks:a"])
    assert not only_triggers(["trigger:tasks:a", "read:runs"])
