"""The command `batch`."""

from __future__ import annotations

import argparse
from typing import Any

from .. import BatchHandle, BatchItem, BatchTriggerError, Debounce
from ._exits import CommandError, Exit, usage_errors
from ._input import STDIN, doubts_told, parse_json, read_text
from ._output import json_line, warn, write, write_error
from ._parser import Commands, add_connection, add_timeout
from ._session import NOT_SHOWN, Session, session
from ._wait import wait_for_all

_ADVICE = "some of it may run nevertheless; with --key, a second try goes on where this one stopped"


def add_to(commands: Commands) -> None:
    """Add `batch`."""
    command = commands.add(
        "batch",
        "start a run for each line of JSON, and print the id of the batch",
        batch,
        """echo '{"task": "my-task", "payload": {"n": 1}}' | trigger-realtime batch""",
        "trigger-realtime batch items.ndjson --key nightly-2026-11-25",
        "jq -c '.videos[]' videos.json | trigger-realtime batch --task make-thumbnails --wait",
    )
    command.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        default=STDIN,
        help='lines of {"task": …, "payload": …, "options": {…}}; default: -, which is stdin.'
        " The options are those of client.trigger, by their names in Python: idempotency_key",
    )
    command.add_argument(
        "--task", metavar="TASK", help="of all items: each line is a payload, then"
    )
    command.add_argument(
        "--key", metavar="KEY", help="idempotency key: finds the batch triggered with it before"
    )
    command.add_argument(
        "--wait",
        action="store_true",
        help="print the runs once all have finished; the exit code shows how",
    )
    add_timeout(command)
    command.add_argument(
        "--json", action="store_true", help="print what was triggered, or each run, as JSON"
    )
    add_connection(command)


def batch(options: argparse.Namespace) -> int:
    """Run `batch [FILE]`."""
    if options.timeout is not None and not options.wait:
        raise CommandError("--timeout is for --wait", Exit.USAGE)
    items = _items(read_text(options.file, what="the batch"), options.task)
    with session(options.token, options.base_url) as here:
        handle = _trigger(here, items, options.key)
        _print_id(handle, options)
        return _wait(here, handle, options) if options.wait else Exit.COMPLETED


def _items(text: str, task: str | None) -> list[BatchItem[Any, Any]]:
    """Return the items of lines of JSON; empty ones are left out.

    Raises:
        CommandError: a line is none, or none can be triggered like this.
    """
    items = []
    # Not by `splitlines`, for which characters that JSON may hold end a line too.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        value = parse_json(line, f"line {number} is no JSON")
        try:
            items.append(_item(value) if task is None else BatchItem(task, value))
        except (TypeError, ValueError) as error:
            raise CommandError(f"line {number}: {error}", Exit.USAGE) from None
    if not items:
        raise CommandError("the batch is empty: it needs a line for each item", Exit.USAGE)
    return items


def _item(value: Any) -> BatchItem[Any, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("task"), str):
        raise ValueError('must be {"task": …, "payload": …}; --task makes each line a payload')
    if unknown := value.keys() - {"task", "payload", "options"}:
        raise ValueError(f"there is no {sorted(unknown)[0]!r}: options belong into 'options'")
    options = value.get("options") or {}
    if not isinstance(options, dict):
        raise ValueError("options must be an object")
    if isinstance(options.get("debounce"), dict):
        options = {**options, "debounce": Debounce(**options["debounce"])}
    payload = (value["payload"],) if "payload" in value else ()
    return BatchItem(value["task"], *payload, **options)


def _trigger(here: Session, items: list[BatchItem[Any, Any]], key: str | None) -> BatchHandle:
    try:
        with usage_errors(), doubts_told(_ADVICE):
            return here.client.batch_trigger(items, idempotency_key=key)
    except BatchTriggerError as error:
        # An upload that failed has begun nothing.
        if error.phase != "upload":
            warn(_ADVICE)
        raise


def _print_id(handle: BatchHandle, options: argparse.Namespace) -> None:
    if handle.is_cached:
        warn(f"the key found a batch that was triggered before: {handle.id}")
    if options.wait:
        write_error(f"{handle.id}\n")
    elif options.json:
        about = {"id": handle.id, "run_count": handle.run_count, "is_cached": handle.is_cached}
        write(json_line(about))
    else:
        write(f"{handle.id}\n")


def _wait(here: Session, handle: BatchHandle, options: argparse.Namespace) -> int:
    subscription = handle.subscribe(skip_columns=() if options.json else NOT_SHOWN)
    code = wait_for_all(
        here,
        subscription,
        what=f"batch {handle.id}",
        timeout=options.timeout,
        as_json=options.json,
    )
    # An item that the server could not trigger has no run that could have failed.
    errors = handle.retrieve().errors
    for index, error in sorted(errors.items()):
        warn(f"item {index} has no run: {error.message}")
    return Exit.FAILED if errors else code
