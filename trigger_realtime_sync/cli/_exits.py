"""Exit codes, and errors as one line that a person can act on.

0, 1 and 2 say how the run went; the rest are those of `timeout(1)`, of shells and of sysexits.h.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from ..errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    TriggerRealtimeError,
    WaitTimeout,
)
from ..models import AnyRun


class Exit(IntEnum):
    """What the command's exit code means."""

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
    """Ends the command with a message and a code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def usage_errors() -> Iterator[None]:
    """An argument that can't work ends the command as a wrong usage."""
    try:
        yield
    except ConfigurationError:
        raise
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from error


def exit_of_run(run: AnyRun) -> Exit:
    """How a finished run went."""
    if run.is_success:
        return Exit.COMPLETED
    return Exit.CANCELLED if run.is_cancelled else Exit.FAILED


def exit_of_runs(runs: list[AnyRun]) -> Exit:
    """The worst of them: one failure counts for more than one cancellation."""
    codes = {exit_of_run(run) for run in runs}
    worst = (Exit.FAILED, Exit.CANCELLED)
    return next((code for code in worst if code in codes), Exit.COMPLETED)


def explain(error: TriggerRealtimeError) -> CommandError:
    """The error of the library, with what to do about it."""
    if isinstance(error, WaitTimeout):
        return CommandError(str(error), Exit.TIMED_OUT)
    if isinstance(error, ConfigurationError):
        return CommandError(str(error), Exit.USAGE)
    if isinstance(error, AuthenticationError):
        hint = (
            "check TRIGGER_ACCESS_TOKEN or TRIGGER_SECRET_KEY: wrong, expired, or of another host"
        )
        return CommandError(f"{error} ({hint})", Exit.REFUSED)
    if isinstance(error, PermissionDeniedError):
        return CommandError(f"{error} (the token lacks the scope for this)", Exit.REFUSED)
    if isinstance(error, NotFoundError):
        hint = "check the id, and that the token is of the same environment"
        return CommandError(f"{error} ({hint})", Exit.NOT_FOUND)
    return CommandError(str(error), Exit.UNAVAILABLE)
