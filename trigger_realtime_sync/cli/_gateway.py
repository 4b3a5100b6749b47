"""The command `gateway`: reads for a fleet, and follows nothing itself."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .. import RealtimeClient
from ._exits import Exit, check_token
from ._output import json_line, write
from ._parser import Commands, add_connection
from ._values import seconds

if TYPE_CHECKING:
    from ..sharing import SharedTarget, Sharing

# Seconds between two looks at what is led.
LOOK_SECONDS = 1.0


def add_to(commands: Commands) -> None:
    """Add `gateway`."""
    command = commands.add(
        "gateway",
        "read for a fleet whose processes share by a Redis, and say `lead=False`",
        gateway,
        "trigger-realtime gateway --shared redis://localhost",
        "trigger-realtime gateway --shared rediss://redis.internal:6380/0 --json",
    )
    command.add_argument(
        "--shared",
        metavar="URL",
        required=True,
        help="the Redis; a password in it is visible to other users of this machine",
    )
    command.add_argument("--prefix", default="trs", help="how its keys begin; default: trs")
    command.add_argument("--lease", type=seconds, default=3.0, metavar="TIME", help="default: 3s")
    command.add_argument("--audience", metavar="NAME", help="as RedisSharing names it")
    command.add_argument(
        "--json", action="store_true", help="print a line of JSON whenever what is read changes"
    )
    add_connection(command)


def gateway(options: argparse.Namespace) -> int:
    """Run `gateway`, until Ctrl-C or SIGTERM."""
    from ..sharing import RedisSharing

    shared = RedisSharing(
        options.shared,
        prefix=options.prefix,
        lease=options.lease,
        audience=options.audience,
    )
    ends = threading.Event()
    with _ended_by_signal(ends), _client(options, shared) as client:
        sharing = client.sharing
        assert sharing is not None
        sharing.lead_for_others()
        if not options.json:
            write("Reading for the fleet. Ctrl-C ends it; another process takes over.\n")
        shown: Any = None
        while True:
            now = _what_is_led(sharing)
            if now != shown:
                shown = now
                _show(sharing, as_json=options.json)
            if ends.wait(LOOK_SECONDS):
                return Exit.COMPLETED


def _client(options: argparse.Namespace, shared: Any) -> RealtimeClient:
    check_token(options.token)
    return RealtimeClient(options.token, base_url=options.base_url, shared=shared)


def _what_is_led(sharing: Sharing) -> tuple[object, ...]:
    return (sharing.outage is None, *(one.target for one in sharing.led))


def _show(sharing: Sharing, *, as_json: bool) -> None:
    led = sharing.led
    if as_json:
        document = {"led": [_document(one) for one in led], "outage": sharing.outage}
        write(json_line(document))
    elif sharing.outage is not None:
        write(f"Redis does not answer: {sharing.outage}\n")
    else:
        write(f"{len(led)} led: {', '.join(one.target for one in led) or 'nothing is followed'}\n")


def _document(one: SharedTarget) -> dict[str, Any]:
    age = None if one.age is None else round(one.age, 3)
    return {"target": one.target, "age": age, "leader": one.leader}


@contextmanager
def _ended_by_signal(ends: threading.Event) -> Iterator[None]:
    """End the block's loop by SIGTERM, so that all leases are given up at once."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: ends.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
