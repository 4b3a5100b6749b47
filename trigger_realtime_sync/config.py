"""The options of a client that are objects of their own."""

from __future__ import annotations

from typing import Any

import attrs

from ._checks import LONGEST, Secret, is_number
from .errors import ConfigurationError

__all__ = ["DEFAULT_BASE_URL", "RetryPolicy", "Secret", "Timeouts"]

DEFAULT_BASE_URL = "https://api.trigger.dev"


def _seconds(*, zero: bool = False) -> Any:
    def check(instance: object, attribute: attrs.Attribute[float], value: Any) -> None:
        too_small = not is_number(value) or value < 0 or (value == 0 and not zero)
        if too_small or value > LONGEST:
            least = "at least 0" if zero else "more than 0"
            raise ConfigurationError(
                f"{attribute.name} must be {least} seconds, and at most a year, not {value!r}"
            )

    return check


def _multiplier(instance: object, attribute: attrs.Attribute[float], value: Any) -> None:
    if not is_number(value) or value < 1:
        raise ConfigurationError(f"multiplier must be a number of at least 1, not {value!r}")


def _retries(instance: object, attribute: attrs.Attribute[int | None], value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(
            f"max_retries must be None or a whole number of at least 0, not {value!r}"
        )


@attrs.frozen
class RetryPolicy:
    """How long to wait between attempts: exponential, with full jitter.

    Attempt n waits a random time up to `min(max_delay, initial_delay * multiplier ** n)` seconds,
    and no less than a server asks for (`Retry-After`). The subscription ends with the last error
    when `max_retries` attempts in a row have failed; with None it never does.
    """

    initial_delay: float = attrs.field(default=0.5, validator=_seconds())
    max_delay: float = attrs.field(default=30.0, validator=_seconds())
    multiplier: float = attrs.field(default=2.0, validator=_multiplier)
    max_retries: int | None = attrs.field(default=None, validator=_retries)

    def __attrs_post_init__(self) -> None:
        if self.max_delay < self.initial_delay:
            raise ConfigurationError(
                f"max_delay ({self.max_delay!r}) must not be below"
                f" initial_delay ({self.initial_delay!r})"
            )


@attrs.frozen
class Timeouts:
    """How many seconds to wait for a server.

    `connect` bounds the making of a connection, to whichever address of the host. `read` bounds the
    silence on one, and the time until the head of an answer is whole: it must outlast the 23 s for
    which the server holds a poll, and the pings of a stream. A body that is no stream may take
    60 s, or `read` if that is more, and a second more for each KiB.
    """

    connect: float = attrs.field(default=10.0, validator=_seconds())
    read: float = attrs.field(default=45.0, validator=_seconds())
