"""Exit codes, and errors as one line that a person can act on.

0, 1 and 2 mean how the run ended. The others follow `timeout(1)`, shells and sysexits.h.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum
from types import MappingProxyType

from .. import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    TriggerRealtimeError,
)
from ..models import AnyRun

# In the order in which the library reads them.
TOKEN_VARIABLES = ("TRIGGER_SECRET_KEY", "TRIGGER_ACCESS_TOKEN")

# What the library's arguments are called here.
_NAMES = {
    "run_id": "RUN",
    "batch_id": "BATCH",
    "base_url": "--base-url",
    "access_token": "--token",
    "throttle_in_ms": "--throttle-ms",
    "created_at": "--created-at",
    "last_event_id": "--last-event-id",
    "start_index": "--start-index",
    "from_latest": "--from-latest",
    "idempotency_key": "--key",
    "expires_in": "--expires",
    "period": "--since",
    "token_id": "TOKEN",
}
_NAME = re.compile(rf"\b(?:{'|'.join(_NAMES)})\b")
# The same for those that are words of English too, and names only where a message begins with them.
_FIRST_NAME = re.compile(r"(?:delay|ttl|timeout|queue|machine|priority|metadata)(?= )")


class Exit(IntEnum):
    """The exit codes."""

    COMPLETED = 0
    FAILED = 1
    CANCELLED = 2
    USAGE = 64
    NOT_FOUND = 66
    UNAVAILABLE = 69
    OUTPUT_FAILED = 74
    REFUSED = 77
    TIMED_OUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandError(Exception):
    """Raised to end the command with a message, none if it is empty, and an exit code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


def check_token(token: str | None) -> None:
    """Check that there is a token, given as an option or in the environment.

    Raises:
        CommandError: there is none.
    """
    if token is None and not any(os.environ.get(name) for name in TOKEN_VARIABLES):
        raise CommandError(
            f"no token: set {' or '.join(TOKEN_VARIABLES)}, or give --token", Exit.USAGE
        )


@contextmanager
def usage_errors(**names: str) -> Iterator[None]:
    """End the command with `Exit.USAGE` if the block raises `ValueError`.

    Args:
        names: what arguments of the library are called in this command, where it is not what they
            are called in all others.
    """
    try:
        yield
    except ValueError as error:
        raise CommandError(_as_typed(str(error), names), Exit.USAGE) from error


def exit_of_run(run: AnyRun) -> Exit:
    """Return the exit code for a finished run."""
    if run.is_success:
        return Exit.COMPLETED
    return Exit.CANCELLED if run.is_cancelled else Exit.FAILED


def exit_of_runs(runs: Iterable[AnyRun]) -> Exit:
    """Return the worst exit code of the runs; a failure is worse than a cancellation."""
    codes = {exit_of_run(run) for run in runs}
    worst = (Exit.FAILED, Exit.CANCELLED)
    return next((code for code in worst if code in codes), Exit.COMPLETED)


def explain(error: TriggerRealtimeError, token: str | None) -> CommandError:
    """Return an error of the library as a message with a hint, and an exit code.

    Args:
        token: the one that was given as an option, if any. It is not shown.
    """
    if isinstance(error, ConfigurationError):
        return CommandError(_as_typed(str(error)), Exit.USAGE)
    if isinstance(error, AuthenticationError):
        hint = f"check {_source_of(token)}: wrong, expired, or for another host"
        return CommandError(f"{error} ({hint})", Exit.REFUSED)
    if isinstance(error, PermissionDeniedError):
        return CommandError(f"{error} (the token lacks the scope for this)", Exit.REFUSED)
    if isinstance(error, NotFoundError):
        hint = "check the id, and that the token belongs to the same environment"
        return CommandError(f"{error} ({hint})", Exit.NOT_FOUND)
    return CommandError(str(error), Exit.UNAVAILABLE)


def _source_of(token: str | None) -> str:
    """Return what the token was given by."""
    if token is not None:
        return "--token"
    return next((name for name in TOKEN_VARIABLES if os.environ.get(name)), TOKEN_VARIABLES[0])


def _as_typed(message: str, names: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return a message of the library with the names that arguments have on the command line."""
    message = _NAME.sub(lambda name: _NAMES[name[0]], message)
    if (first := _FIRST_NAME.match(message)) is None:
        return message
    return names.get(first[0], f"--{first[0]}") + message[first.end() :]
