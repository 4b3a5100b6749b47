"""The options of a trigger, checked and as the server spells them.

Most of what is wrong the server would ignore in silence. Source: docs/protocol.md, section R2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Literal

import attrs

from .._checks import check_count, check_flag, is_number
from .idempotency import IdempotencyKey, check_idempotency_key
from .json import MAX_SAFE_INTEGER, check_json
from .times import (
    check_delay,
    check_duration,
    check_key_ttl,
    check_ttl,
    duration_seconds,
    seconds_of,
)

Machine = Literal["micro", "small-1x", "small-2x", "medium-1x", "medium-2x", "large-1x", "large-2x"]

MOST_TAGS = 10
LONGEST_TAG = 128
LONGEST_QUEUE = 128
LONGEST_DEBOUNCE_KEY = 512
_QUEUE = re.compile(r"[A-Za-z0-9_/-]+")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def units(text: str) -> int:
    """Return the length of a text as JavaScript counts it: in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def check_name(value: Any, name: str, longest: int | None = None) -> str:
    """Return a text that is not blank.

    Raises:
        ValueError: it is something else, or too long.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, not {type(value).__name__}")
    if not value.strip():
        raise ValueError(f"{name} is empty")
    if _UNPRINTABLE.search(value):
        raise ValueError(f"{name} holds a control character: {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} holds a lone surrogate: {value!r}") from None
    if longest is not None and units(value) > longest:
        raise ValueError(f"{name} is longer than {longest} characters: {value[:40]!r}…")
    return str.__str__(value)


def check_new_tags(value: Any, name: str = "tags") -> list[str]:
    """Return the tags to set: a text, or an iterable of them.

    Raises:
        ValueError: there are too many, or one is blank, too long, or holds a comma.
    """
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, Iterable):
        raise ValueError(f"{name} must be text or a list of texts, not {type(value).__name__}")
    tags = [_check_new_tag(tag, name) for tag in given]
    if len(tags) > MOST_TAGS:
        raise ValueError(f"{name} are {len(tags)}: a run can have {MOST_TAGS}")
    return tags


def _check_new_tag(tag: Any, name: str) -> str:
    text = check_name(tag, f"one of {name}", LONGEST_TAG)
    if "," in text:
        raise ValueError(f"{name}: {text!r} holds a comma: nobody could ask for it")
    return text


def check_queue(value: Any, name: str = "queue") -> str:
    """Return the name of a queue.

    Raises:
        ValueError: the server would write it otherwise.
    """
    queue = check_name(value, name)
    if not _QUEUE.fullmatch(queue) or len(queue) > LONGEST_QUEUE:
        raise ValueError(
            f"{name} must be of A-Z, a-z, 0-9, _, - and /, {LONGEST_QUEUE} characters at the most,"
            f" not {value!r}: the server would cut it to that"
        )
    return queue


@attrs.frozen
class Debounce:
    """Triggers with the same key within a delay of each other make one run.

    Args:
        key: up to 512 characters.
        delay: a timedelta, whole seconds, or a duration such as `"5s"`: the run starts after it,
            and each further trigger starts it anew.
        mode: `"leading"` runs with the first payload, `"trailing"` with the last.
        max_delay: more than `delay`: how long the run may be put off in all.

    Raises:
        ValueError: one of them can't work.
    """

    key: str
    delay: timedelta | str | int
    mode: Literal["leading", "trailing"] = "leading"
    max_delay: timedelta | str | int | None = None

    def __attrs_post_init__(self) -> None:
        check_name(self.key, "debounce.key", LONGEST_DEBOUNCE_KEY)
        delay = check_duration(self.delay, "debounce.delay")
        if self.mode not in ("leading", "trailing"):
            raise ValueError(f"debounce.mode must be 'leading' or 'trailing', not {self.mode!r}")
        if self.max_delay is not None:
            longest = check_duration(self.max_delay, "debounce.max_delay")
            if duration_seconds(longest) <= duration_seconds(delay):
                raise ValueError("debounce.max_delay must be more than debounce.delay")


def _debounce(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Debounce):
        raise ValueError(f"{name} must be a Debounce, not {type(value).__name__}")
    fields = {"key": value.key, "delay": check_duration(value.delay, name)}
    if value.mode != "leading":
        fields["mode"] = value.mode
    if value.max_delay is not None:
        fields["maxDelay"] = check_duration(value.max_delay, name)
    return fields


def _metadata(value: Any, name: str) -> dict[str, Any] | None:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    return check_json(value, name) or None


def _priority(value: Any, name: str) -> float:
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if not is_number(value) or abs(value) > MAX_SAFE_INTEGER:
        raise ValueError(f"{name} must be a timedelta or seconds, not {value!r}")
    return int(value) if value == int(value) else float(value)


def _max_duration(value: Any, name: str) -> int:
    seconds = seconds_of(value, name)
    if seconds <= 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {value!r}")
    return seconds


# Option → its name on the wire, and what checks and renders it. None: it is left out.
_RENDERED: dict[str, tuple[str, Any]] = {
    "queue": ("queue", lambda value, name: {"name": check_queue(value, name)}),
    "concurrency_key": ("concurrencyKey", check_name),
    "delay": ("delay", check_delay),
    "ttl": ("ttl", check_ttl),
    "machine": ("machine", check_name),
    "region": ("region", check_name),
    "version": ("lockToVersion", check_name),
    "priority": ("priority", _priority),
    "max_duration": ("maxDuration", _max_duration),
    "max_attempts": ("maxAttempts", partial(check_count, most=MAX_SAFE_INTEGER)),
    "metadata": ("metadata", _metadata),
    "debounce": ("debounce", _debounce),
}
_OPTIONS = frozenset({*_RENDERED, "tags", "idempotency_key", "idempotency_key_ttl", "is_test"})


@attrs.frozen
class TriggerOptions:
    """Checked options.

    Attributes:
        fields: as they stand in the body.
        key: the idempotency key, if there is one.
    """

    fields: dict[str, Any]
    key: IdempotencyKey | None = None


def check_options(options: Mapping[str, Any]) -> TriggerOptions:
    """Return options by their names in `client.trigger`, of which None and `()` mean nothing.

    Raises:
        ValueError, TypeError: one can't work. The error names it.
    """
    fields: dict[str, Any] = {}
    if tags := check_new_tags(options.get("tags", ())):
        fields["tags"] = tags
    key = None
    if options.get("idempotency_key") is not None:
        key = check_idempotency_key(options["idempotency_key"])
        fields.update(key.options)
    if options.get("idempotency_key_ttl") is not None:
        fields["idempotencyKeyTTL"] = check_key_ttl(options["idempotency_key_ttl"])
    # By what is given: most items of a batch have few options, or none.
    for option, value in options.items():
        if value is None or option not in _RENDERED:
            continue
        name, render = _RENDERED[option]
        if (rendered := render(value, option)) is not None:
            fields[name] = rendered
    is_test = options.get("is_test")
    if is_test is not None and check_flag(is_test, "is_test"):
        fields["test"] = True
    if unknown := options.keys() - _OPTIONS:
        raise TypeError(f"there is no option {sorted(unknown)[0]}")
    return TriggerOptions(fields, key)
