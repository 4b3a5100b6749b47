"""Exit codes, and errors as one line that a person can act on.

0, 1 and 2 mean how the run ended. The others follow `timeout(1)`, shells and sysexits.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from .. import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    TriggerRealtimeError,
    WaitTimeout,
)
from ..models import AnyRun


class Exit(IntEnum):
    """The exit codes."""

    COMPLETED = 0
    FAILED = 1
    CANCELLED = 2
    USAGE = 64
    NOT_FOUND = 66
    UNAVAILABLE = 69
    REFUSED = 77
    TIMED_OUT = 124
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandError(Exception):
    """Raised to end the command with a message and an exit code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def usage_errors() -> Iterator[None]:
    """End the command with `Exit.USAGE` if the block raises `ValueError`."""
    try:
        yield
    except ConfigurationError:
        raise
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from error


def exit_of_run(run: AnyRun) -> Exit:
    """Return the exit code for a finished run."""
    if run.is_success:
        return Exit.COMPLETED
    return Exit.CANCELLED if run.is_cancelled else Exit.FAILED


def exit_of_runs(runs: list[AnyRun]) -> Exit:
    """Return the worst exit code of the runs; a failure is worse than a cancellation."""
    codes = {exit_of_run(run) for run in runs}
    worst = (Exit.FAILED, Exit.CANCELLED)
    return next((code for code in worst if code in codes), Exit.COMPLETED)


def explain(error: TriggerRealtimeError) -> CommandError:
    """Return an error of the library as a message with a hint, and an exit code."""
    if isinstance(error, WaitTimeout):
        return CommandError(str(error), Exit.TIMED_OUT)
    if isinstance(error, ConfigurationError):
        return CommandError(str(error), Exit.USAGE)
    if isinstance(error, AuthenticationError):
        hint = (
            "check TRIGGER_SECRET_KEY or TRIGGER_ACCESS_TOKEN: wrong, expired, or for another host"
        )
        return CommandError(f"{error} ({hint})", Exit.REFUSED)
    if isinstance(error, PermissionDeniedError):
        return CommandError(f"{error} (the token lacks the scope for this)", Exit.REFUSED)
    if isinstance(error, NotFoundError):
        hint = "check the id, and that the token belongs to the same environment"
        return CommandError(f"{error} ({hint})", Exit.NOT_FOUND)
    return CommandError(str(error), Exit.UNAVAILABLE)
