"""Postgres text at the limits of what is read."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from trigger_realtime_sync._wire.postgres import parse_timestamp


@pytest.mark.parametrize(
    ("offset", "hour", "minute", "second"),
    [("+05:30:15", 6, 29, 45), ("-00:00:01", 12, 0, 1), ("-0530", 17, 30, 0)],
)
def test_offsets_count_to_the_second(offset, hour, minute, second):
    """East of Greenwich is earlier in UTC, west of it later."""
    moment = datetime(2026, 11, 23, hour, minute, second, tzinfo=timezone.utc)
    assert parse_timestamp(f"2026-11-23T12:00:00{offset}") == moment
