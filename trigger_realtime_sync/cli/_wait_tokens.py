"""The commands `token …`: what tasks wait for."""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import Any

from .. import PayloadError, WaitToken, WaitTokenStatus
from .._terminal import one_line
from ._exits import CommandError, Exit, usage_errors
from ._input import doubts_told, given_value
from ._listing import add_listing, listing_of, shown, statuses
from ._output import json_line, warn, write, write_made_safe
from ._parser import Commands, add_connection
from ._session import session

# Of those that are shown or listed: neither their URL nor a token, with which anybody could
# complete them.
_SHOWN = (*("id", "status", "created_at", "timeout_at", "completed_at", "tags", "idempotency_key"),)
_ADVICE = "it may have been created nevertheless; with --key, a second try is safe"


def add_to(commands: Commands) -> None:
    """Add `token create`, `token complete`, `token show` and `token list`."""
    examples = (
        "trigger-realtime token create --timeout 3d --tag approval --key order-1",
        """trigger-realtime token complete waitpoint_1234 '{"approved": true}'""",
        "trigger-realtime token show waitpoint_1234 --json | jq .output",
        "trigger-realtime token list --status waiting --tag approval",
    )
    about = "create, complete, show or list the tokens that tasks wait for"
    actions = Commands(commands.add("token", about, None, *examples), "action", "ACTION")
    _add_create(actions, examples[0])
    _add_complete(actions, examples[1])
    _add_show(actions, examples[2])
    _add_list(actions, examples[3])


def _add_create(actions: Commands, example: str) -> None:
    about = "make a token, and print its id"
    one = actions.add(
        "create", about, create, example, "curl -X POST $(trigger-realtime token create --url)"
    )
    one.add_argument("--timeout", metavar="TIME", help="how long it lives: 3d, or an ISO date")
    one.add_argument("--tag", metavar="TAG", action="append", default=[], help="up to ten")
    one.add_argument(
        "--key", metavar="KEY", help="idempotency key: finds the token made with it before"
    )
    what = one.add_mutually_exclusive_group()
    what.add_argument(
        "--url", action="store_true", help="print the URL that completes it: keep it secret"
    )
    what.add_argument(
        "--json", action="store_true", help="print id, URL and public token, to be kept secret"
    )
    add_connection(one)


def _add_complete(actions: Commands, example: str) -> None:
    one = actions.add("complete", "let the task that waits go on", complete, example)
    one.add_argument("id", metavar="TOKEN")
    one.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="what the task gets, as JSON; @FILE reads it from a file, - from stdin",
    )
    one.add_argument("--text", action="store_true", help="take the data as text")
    add_connection(one)


def _add_show(actions: Commands, example: str) -> None:
    one = actions.add("show", "print a token's status", show, example)
    one.add_argument("id", metavar="TOKEN")
    what = one.add_mutually_exclusive_group()
    what.add_argument("--url", action="store_true", help="print its URL instead")
    what.add_argument("--json", action="store_true", help="print it, with its output, as JSON")
    add_connection(one)


def _add_list(actions: Commands, example: str) -> None:
    one = actions.add("list", "list tokens, the newest first", list_tokens, example)
    one.add_argument(
        "--status",
        metavar="STATUS",
        action="append",
        default=[],
        help="waiting, completed or timed_out; several times: any of them",
    )
    one.add_argument(
        "--tag",
        metavar="TAG",
        action="append",
        default=[],
        help="with this tag; several times: any of them",
    )
    add_listing(one, since="for ever")
    one.add_argument("--json", action="store_true", help="print each token as a line of JSON")
    add_connection(one)


def create(options: argparse.Namespace) -> int:
    """Run `token create`."""
    with session(options.token, options.base_url) as here, usage_errors(), doubts_told(_ADVICE):
        token = here.client.wait_tokens.create(
            timeout=options.timeout, tags=options.tag, idempotency_key=options.key
        )
    if token.is_cached:
        warn(f"the key found a token that was made before: {token.id}")
    if options.json:
        about = ("id", "url", "public_access_token", "is_cached")
        write(json_line({name: getattr(token, name) for name in about}))
    else:
        write(f"{_url(token) if options.url else token.id}\n")
    return Exit.COMPLETED


def complete(options: argparse.Namespace) -> int:
    """Run `token complete TOKEN [DATA]`."""
    data = given_value(options.data, what="the data", as_text=options.text)
    with session(options.token, options.base_url) as here, usage_errors():
        here.client.wait_tokens.complete(options.id, *data)
    return Exit.COMPLETED


def show(options: argparse.Namespace) -> int:
    """Run `token show TOKEN`."""
    with session(options.token, options.base_url) as here:
        with usage_errors():
            token = here.client.wait_tokens.retrieve(options.id)
        if options.url:
            write(f"{_url(token)}\n")
        elif options.json:
            write(json_line({**_as_dict(token), **_output(token)}))
        else:
            write_made_safe(_line(token))
    return Exit.COMPLETED


def list_tokens(options: argparse.Namespace) -> int:
    """Run `token list`."""
    with session(options.token, options.base_url) as here, usage_errors():
        page = here.client.wait_tokens.list(
            status=statuses(options.status, [one.value for one in WaitTokenStatus]),
            tags=options.tag,
            **listing_of(options),
        )
        found = shown(page, options.limit)
    for token in found:
        if options.json:
            write(json_line(_as_dict(token)))
        else:
            write_made_safe(_line(token))
    if not found:
        warn("no such tokens")
    return Exit.COMPLETED


def _url(token: WaitToken) -> str:
    if token.url is None:
        raise CommandError("the server did not say the token's URL", Exit.UNAVAILABLE)
    return token.url


def _as_dict(token: WaitToken) -> dict[str, Any]:
    return {name: getattr(token, name) for name in _SHOWN}


def _output(token: WaitToken) -> dict[str, Any]:
    try:
        return {"output": token.output}
    except PayloadError as error:
        return {"output": None, "output_error": str(error)}


def _line(token: WaitToken) -> str:
    """Return creation, id, status, timeout and tags of a token, made safe for terminals."""
    fields = [
        _time(token.created_at),
        one_line(token.id),
        f"{one_line(token.status.value):<9}",
        f"until {_time(token.timeout_at)}" if token.timeout_at is not None else "for ever",
        one_line(" ".join(f"#{tag}" for tag in token.tags)),
    ]
    return "  ".join(fields).rstrip() + "\n"


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
