"""Sending to the input streams of a run. Source: docs/protocol.md, section R7."""

from __future__ import annotations

from typing import Any

from .._encode.json import dumps
from .._encode.superjson import encode_plain
from .._wire.names import input_path
from .request import Repeat, Request


def input_request(run_id: str, stream: str, data: Any, *, retry: bool) -> Request:
    """Return the request that sends data.

    Raises:
        TypeError, ValueError: JSON can't hold it.
    """
    return Request(
        method="POST",
        path=input_path(run_id, stream),
        label=f"input {stream} of run {run_id}",
        body=dumps({"data": encode_plain(data, "data")}).encode(),
        # The task would see it twice.
        repeat=Repeat.SAFE if retry else Repeat.NEVER,
    )
