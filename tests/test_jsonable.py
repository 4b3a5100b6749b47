"""Runs and any other value as JSON."""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone
from typing import Any

import pytest

from trigger_realtime_sync import Run, RunError
from trigger_realtime_sync.jsonable import run_as_dict, to_json

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


class Unknown:
    def __str__(self) -> str:
        return "something"


@pytest.mark.parametrize(
    ("value", "jsonable"),
    [
        ({"a": {1}}, {"a": [1]}),
        ({1: "a", "b": 2}, [[1, "a"], ["b", 2]]),
        (NOW, "2026-01-02T03:04:05+00:00"),
        (b"\x00\xff", "AP8="),
        (re.compile("a+"), "a+"),
        (ValueError("no"), {"name": "ValueError", "message": "no"}),
        ([math.nan, math.inf, -math.inf], ["NaN", "Infinity", "-Infinity"]),
        (RunError("no"), {"message": "no", "name": None, "stack_trace": None}),
        (1 << 5000, hex(1 << 5000)),
        (Unknown(), "something"),
    ],
)
def test_anything_becomes_json(value, jsonable):
    """A value that JSON has no notation for becomes the closest thing that it has."""
    assert json.loads(to_json(value)) == jsonable


@pytest.mark.parametrize("pair", [lambda a: [a, a], lambda a: {"a": a, "b": a}])
def test_json_of_a_value_that_unfolds_endlessly_is_cut(pair):
    """A small value may contain itself, or one object in very many places."""
    doubled: Any = pair(None)
    for _ in range(60):
        doubled = pair(doubled)
    assert len(to_json(doubled)) < 20_000_000
    cycle: dict[str, Any] = {}
    cycle["self"] = cycle
    assert "…" in to_json(cycle)


def test_a_run_becomes_a_dictionary_of_its_fields():
    """Every field by its own name, or the fields and properties that are asked for."""
    run = Run(id="run_1", output={1}, created_at=NOW, error=RunError("no"))
    fields = run_as_dict(run)
    assert (fields["id"], fields["output"], fields["status"]) == ("run_1", {1}, "QUEUED")
    assert {"payload", "metadata", "task_identifier", "error"} < set(fields)
    assert "payload_errors" not in fields
    assert json.loads(to_json(fields))["created_at"] == "2026-01-02T03:04:05+00:00"
    assert run_as_dict(run, ["id", "is_queued"]) == {"id": "run_1", "is_queued": True}
