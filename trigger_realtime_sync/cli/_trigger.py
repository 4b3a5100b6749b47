"""The command `trigger`."""

from __future__ import annotations

import argparse
import shlex
from functools import partial
from typing import Any

from .. import RunHandle, WaitTimeout
from ..jsonable import run_as_dict
from ..models import AnyRun
from ._exits import CommandError, Exit, exit_of_run, usage_errors
from ._input import doubts_told, given_value, parse_json
from ._output import json_line, warn, write, write_error
from ._parser import Commands, add_connection, add_timeout
from ._reading import Reading
from ._session import NOT_SHOWN, Session, choose_view, session
from ._values import shift

_OPTIONS = {
    "tag": "tags",
    "delay": "delay",
    "ttl": "ttl",
    "queue": "queue",
    "key": "idempotency_key",
    "machine": "machine",
    "priority": "priority",
}
_ADVICE = "it may have been triggered nevertheless; with --key, a second try is safe"


def add_to(commands: Commands) -> None:
    """Add `trigger`."""
    command = commands.add(
        "trigger",
        "start a run of a task, and print its id",
        trigger,
        """trigger-realtime trigger my-task '{"video": "v1"}' --tag user:7 --key video-v1""",
        "trigger-realtime trigger my-task @payload.json --wait --timeout 5m | jq .urls",
        "echo hello | trigger-realtime trigger my-task - --text --watch",
        """trigger-realtime trigger chat '{"ask": "why"}' --stream answer""",
    )
    command.add_argument("task", metavar="TASK")
    command.add_argument(
        "payload",
        metavar="PAYLOAD",
        nargs="?",
        help="JSON; @FILE reads it from a file, - from stdin",
    )
    command.add_argument("--text", action="store_true", help="take the payload as text")
    command.add_argument("--tag", metavar="TAG", action="append", default=[], help="up to ten")
    command.add_argument("--delay", metavar="TIME", help="when to start: 5m, or an ISO date")
    command.add_argument("--ttl", metavar="TIME", help="how long it may wait to be started: 1h")
    command.add_argument("--queue", metavar="QUEUE")
    command.add_argument(
        "--key", metavar="KEY", help="idempotency key: finds the run triggered with it before"
    )
    command.add_argument("--metadata", metavar="JSON", help="a JSON object")
    command.add_argument("--machine", metavar="MACHINE", help="small-1x, say")
    command.add_argument(
        "--priority", metavar="TIME", type=shift, help="by which it is moved ahead: 30, or 5m"
    )
    then = command.add_mutually_exclusive_group()
    then.add_argument(
        "--wait", action="store_true", help="print its output as JSON; the exit code shows the end"
    )
    then.add_argument("--watch", action="store_true", help="show it until it has finished")
    then.add_argument("--stream", metavar="KEY", help="print one of its streams as it arrives")
    add_timeout(command)
    command.add_argument(
        "--json", action="store_true", help="print what was triggered, or the run, as JSON"
    )
    add_connection(command)


def trigger(options: argparse.Namespace) -> int:
    """Run `trigger TASK [PAYLOAD]`."""
    arguments = {name: getattr(options, option) for option, name in _OPTIONS.items()}
    arguments["metadata"] = _metadata(options.metadata)
    payload = given_value(options.payload, what="the payload", as_text=options.text)
    follows = options.wait or options.watch or options.stream is not None
    if options.timeout is not None and not follows:
        raise CommandError("--timeout is for --wait, --watch and --stream", Exit.USAGE)
    with session(options.token, options.base_url) as here:
        with usage_errors(), doubts_told(_ADVICE):
            handle = here.client.trigger(options.task, *payload, **arguments)
        _print_id(handle, options, follows=follows)
        return _follow(here, handle, options)


def _metadata(text: str | None) -> Any:
    if text is None:
        return None
    metadata = parse_json(text, "--metadata is no JSON")
    if not isinstance(metadata, dict):
        raise CommandError("--metadata must be a JSON object", Exit.USAGE)
    return metadata


def _print_id(handle: RunHandle[Any, Any], options: argparse.Namespace, *, follows: bool) -> None:
    if handle.is_cached:
        warn(f"the key found a run that was triggered before: {handle.id}")
    if follows:
        write_error(f"{handle.id}\n")
    elif options.json:
        task, is_cached = handle.task_identifier, handle.is_cached
        write(json_line({"id": handle.id, "task": task, "is_cached": is_cached}))
    else:
        write(f"{handle.id}\n")


def _follow(here: Session, handle: RunHandle[Any, Any], options: argparse.Namespace) -> int:
    if options.wait:
        return _wait(here, handle, options)
    if options.watch:
        return _watch(here, handle, options)
    if options.stream is not None:
        return _stream(here, handle, options)
    return Exit.COMPLETED


def _wait(here: Session, handle: RunHandle[Any, Any], options: argparse.Namespace) -> int:
    try:
        run: AnyRun = handle.wait_for_completion(options.timeout)
    except WaitTimeout:
        raise here.timed_out(f"run {handle.id} did not finish", options.timeout) from None
    if options.json:
        write(json_line(run_as_dict(run)))
    elif run.is_success:
        write(json_line(run.output))
    else:
        why = f": {run.error.message}" if run.error is not None else ""
        warn(f"run {run.id} finished as {run.status.value}{why}")
    return exit_of_run(run)


def _watch(here: Session, handle: RunHandle[Any, Any], options: argparse.Namespace) -> int:
    skipped = () if options.json else NOT_SHOWN
    subscription = handle.subscribe(skip_columns=skipped, **here.run_callbacks)
    view = choose_view(f"run {handle.id}", as_json=options.json)
    if not here.show(view, subscription, timeout=options.timeout):
        raise here.timed_out(f"run {handle.id} did not end", options.timeout)
    return Exit.FAILED if subscription.run is None else exit_of_run(subscription.run)


def _stream(here: Session, handle: RunHandle[Any, Any], options: argparse.Namespace) -> int:
    key: str = options.stream
    reading = Reading(here, handle.id, key, partial(handle.stream, key))
    try:
        reading.show(as_json=options.json, timeout=options.timeout)
    except BaseException as error:
        command = ["trigger-realtime", "stream", handle.id, key]
        if (place := reading.place_after(error)) is not None:
            command += ["--last-event-id", place]
        warn(f"to read on: {shlex.join(command)}")
        raise
    reading.check_that_it_exists()
    return Exit.COMPLETED
