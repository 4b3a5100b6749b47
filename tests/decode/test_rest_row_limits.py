"""A run as REST tells it (docs/protocol.md, section 2, item 7)."""

from __future__ import annotations

from typing import Any

import pytest

from trigger_realtime_sync._decode.rest_row import finished_columns
from trigger_realtime_sync._decode.rows import RowDecoder


def finished(**document: Any) -> Any:
    whole = {"id": "run_1", "status": "COMPLETED", **document}
    columns = finished_columns(whole, "run_1", {}, frozenset())
    assert columns is not None
    return RowDecoder().decode(columns)


@pytest.mark.parametrize(
    "tags", [[], ["a"], ["a,b", 'say "hi"', "back\\slash", "NULL", "{}", "ü"]], ids=str
)
def test_it_has_its_tags(tags):
    """The feed may have told nothing of it: without its tags it would seem to have left them."""
    assert finished(tags=tags).tags == tags


@pytest.mark.parametrize("field", ["output", "error"])
def test_what_is_nested_too_deeply_is_left_out(field):
    """It ends the run all the same."""
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    run = finished(**{field: deep if field == "output" else {"message": deep}})
    assert run.is_finished
    assert getattr(run, field) is None
    while deep:
        deep = deep[0]
