"""The options of a trigger: what is refused, and what is dropped or changed in silence.

docs/protocol.md, section R2, has the table.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import attrs

from ._bodies import KIB
from ._durations import duration, key_ttl, moment
from ._replies import Refused
from ._validation import Problems

MOST_TAGS = 10
MOST_METADATA_BYTES = 256 * KIB
LONGEST_TAG = 128
_LONGEST_KEY = 2048
_LONGEST_QUEUE = 128
_LONGEST_DEBOUNCE_KEY = 512
_LEAST_MAX_DURATION = 5
_MOST_PRIORITY = 24 * 86_400
_MACHINES = (*("micro", "small-1x", "small-2x", "medium-1x", "medium-2x", "large-1x", "large-2x"),)
_KINDS: dict[str, Any] = {
    "payloadType": "string",
    "payloadSize": "number",
    "idempotencyKeyTTL": "string",
    "idempotencyKeyOptions": "object",
    "ttl": ("string", "number"),
    "concurrencyKey": ("string", "number"),
    "priority": "number",
    "maxAttempts": "number",
    "maxDuration": "number",
    "region": "string",
    "lockToVersion": "string",
    "externalDeploymentId": "string",
    "test": "boolean",
}


@attrs.frozen
class Debounce:
    key: str
    delay: int
    mode: str
    max_delay: int | None


@attrs.frozen(kw_only=True)
class Wanted:
    """What the server understands of the options. Times are seconds, or seconds of the epoch."""

    tags: tuple[str, ...] = ()
    idempotency_key: str | None = None
    key_seconds: int = 0
    key_options: dict[str, Any] | None = None
    delay_until: float | None = None
    ttl: str | None = None
    ttl_seconds: int | None = None
    queue: str | None = None
    concurrency_key: str | None = None
    machine: str | None = None
    region: str | None = None
    version: str | None = None
    priority: float = 0
    max_attempts: int | None = None
    max_duration: float | None = None
    metadata: Any = None
    debounce: Debounce | None = None
    is_test: bool = False


def check_shape(options: Any, problems: Problems, path: str = "options") -> None:
    """Note every option of the wrong type. What is not known is dropped, without a word."""
    if not problems.expect(options, "object", path):
        return
    problems.expect_fields(options, _KINDS, path)
    if "tags" in options:
        check_tags(options["tags"], problems, f"{path}.tags")
    _check_texts(options, problems, path)
    if "queue" in options and problems.expect(options["queue"], "object", f"{path}.queue"):
        name = options["queue"].get("name", ...)
        problems.expect(name, "string", f"{path}.queue.name")
    if isinstance(options.get("delay"), (dict, list)):
        problems.add("Invalid date", f"{path}.delay")
    machine = options.get("machine")
    if "machine" in options and machine not in _MACHINES:
        names = " | ".join(f"'{name}'" for name in _MACHINES)
        message = f"Invalid enum value. Expected {names}, received '{machine}'"
        problems.add(message, f"{path}.machine")


def check_tags(tags: Any, problems: Problems, path: str) -> None:
    """Note what is neither a tag nor a list of tags, and each tag that is too long."""
    if not problems.expect(tags, ("string", "array"), path):
        return
    for number, tag in enumerate(tags if isinstance(tags, list) else [tags]):
        place = f"{path}[{number}]" if isinstance(tags, list) else path
        if problems.expect(tag, "string", place) and len(tag) > LONGEST_TAG:
            problems.add(f"Tags must be less than {LONGEST_TAG} characters", place)


def _check_texts(options: dict[str, Any], problems: Problems, path: str) -> None:
    if "idempotencyKey" in options:
        place = f"{path}.idempotencyKey"
        problems.expect_text(options["idempotencyKey"], _LONGEST_KEY, place)
    ttl = options.get("ttl")
    if isinstance(ttl, (int, float)) and (ttl < 0 or ttl != int(ttl)):
        problems.add("Number must be greater than or equal to 0", f"{path}.ttl")
    debounce = options.get("debounce", {})
    if "debounce" not in options or not problems.expect(debounce, "object", f"{path}.debounce"):
        return
    problems.expect_text(
        options["debounce"].get("key"), _LONGEST_DEBOUNCE_KEY, f"{path}.debounce.key"
    )
    problems.expect(options["debounce"].get("delay"), "string", f"{path}.debounce.delay")


def understand(options: dict[str, Any]) -> Wanted:
    """Return what the server makes of options of the right shape.

    Raises:
        Refused: 413 or 422, by a rule.
    """
    key = options.get("idempotencyKey")
    until = moment(options["delay"]) if "delay" in options else None
    ttl = _ttl(options.get("ttl"))
    return Wanted(
        tags=tags_of(options.get("tags", ())),
        idempotency_key=key or None,
        key_seconds=key_ttl(options.get("idempotencyKeyTTL")),
        key_options=options.get("idempotencyKeyOptions"),
        delay_until=until if until is not None and until > time.time() else None,
        ttl=ttl,
        ttl_seconds=duration(ttl),
        queue=_queue(options.get("queue")),
        concurrency_key=_text(options.get("concurrencyKey")),
        machine=options.get("machine"),
        region=options.get("region"),
        version=options.get("lockToVersion"),
        priority=max(-_MOST_PRIORITY, min(_MOST_PRIORITY, options.get("priority", 0))),
        max_attempts=options.get("maxAttempts"),
        max_duration=_max_duration(options.get("maxDuration")),
        metadata=_metadata(options.get("metadata")),
        debounce=_debounce(options.get("debounce")),
        is_test=options.get("test", False),
    )


def tags_of(tags: Any, what: str = "Runs") -> tuple[str, ...]:
    """Return the tags that are not blank.

    Raises:
        Refused: there are too many.
    """
    every = [tags] if isinstance(tags, str) else list(tags)
    kept = tuple(tag for tag in every if tag.strip())
    if len(kept) > MOST_TAGS:
        message = f"{what} can only have {MOST_TAGS} tags, you're trying to set {len(kept)}."
        raise Refused(422, {"error": message})
    return kept


def _ttl(value: Any) -> str | None:
    if isinstance(value, (int, float)):
        return f"{int(value)}s" if value else None
    return _text(value)


def _queue(value: Any) -> str | None:
    if value is None:
        return None
    return re.sub(r"[^A-Za-z0-9_\-/]", "", value["name"])[:_LONGEST_QUEUE] or None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _max_duration(value: Any) -> float | None:
    return None if value is None else max(_LEAST_MAX_DURATION, value)


def _metadata(value: Any) -> Any:
    size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    if value and size > MOST_METADATA_BYTES:
        raise metadata_too_large()
    return value or None


def metadata_too_large() -> Refused:
    message = f"Metadata exceeds maximum size of {MOST_METADATA_BYTES} bytes"
    return Refused(413, {"error": message})


def _debounce(value: Any) -> Debounce | None:
    if value is None:
        return None
    delay = duration(value["delay"])
    longest = duration(value["maxDelay"]) if "maxDelay" in value else None
    if not delay:
        raise _no_debounce(f"Invalid debounce delay: {value['delay']}. {_EXAMPLES}")
    if "maxDelay" in value and not longest:
        raise _no_debounce(f"Invalid debounce maxDelay: {value['maxDelay']}. {_EXAMPLES}")
    if longest is not None and longest <= delay:
        raise _no_debounce("Debounce maxDelay must be longer than its delay")
    return Debounce(value["key"], delay, value.get("mode", "leading"), longest)


_EXAMPLES = "Expected a duration such as 5s, 1m or 2h"


def _no_debounce(message: str) -> Refused:
    return Refused(422, {"error": message})
