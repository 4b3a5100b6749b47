"""The bodies of requests (docs/protocol.md, section R1)."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

from ._observer import RecordedRequest
from ._replies import Refused

KIB = 1024
MIB = 1024 * KIB


def check_size(request: RecordedRequest, limit: int) -> None:
    """Refuse a body that is too large, or does not say how large it is.

    Raises:
        Refused: 413, for a body in chunks too.
    """
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > limit:
        raise Refused(413, {"error": "Request body too large"})


def asks_for_v2(request: RecordedRequest) -> bool:
    """Return True if the streams of the runs are to be v2: v1 where the request does not say."""
    return request.headers.get("x-trigger-realtime-streams-version") == "v2"


def json_body(request: RecordedRequest, limit: int | None = None) -> Any:
    """Return the body's value.

    Raises:
        Refused: the body is too large (if there is a limit), empty, or no JSON.
    """
    if limit is not None:
        check_size(request, limit)
    if not request.body:
        raise Refused(400, {"error": "Request body is empty"})
    return parse_json(request.body)


def parse_json(data: bytes, problem: str = "Invalid JSON") -> Any:
    """Return the value as JavaScript reads it: no `NaN`, and integers rounded to doubles.

    Raises:
        Refused: it is no JSON.
    """
    try:
        return json.loads(data, parse_constant=_refuse_constant, parse_int=_number)
    except (ValueError, RecursionError):
        raise Refused(400, {"error": problem}) from None


def _number(digits: str) -> int | float:
    """Return an integer as far as a double holds it: beyond 2**53 it is rounded."""
    number = float(digits)
    # As JavaScript writes it: the shortest digits that mean this double.
    return int(Decimal(repr(number))) if math.isfinite(number) else number


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
