"""What starts a session, and what is sent to one. Source: docs/protocol.md, section R9."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from .._checks import check_count
from .json import check_json, dumps
from .options import check_name, check_new_tags, check_queue
from .superjson import encode_plain, javascript_date
from .times import seconds_of

LONGEST_TYPE = 64
LONGEST_TASK = 128
LONGEST_EXTERNAL_ID = 256
LONGEST_REASON = 256
MOST_RUN_TAGS = 5
MOST_ATTEMPTS = 10
MOST_IDLE_SECONDS = 3600
# Bytes of the body that starts a session.
LARGEST_START = 32 * 1024
# How the server's own ids begin.
OWN_ID = "session_"


def start_body(
    task: str,
    *,
    kind: str,
    external_id: str | None,
    tags: Any,
    metadata: Any,
    expires_at: datetime | None,
    config: Mapping[str, Any],
) -> bytes:
    """Return the body that starts a session.

    Args:
        config: of its runs, by `run_config`.

    Raises:
        ValueError, TypeError: an argument can't work. The error names it.
    """
    body: dict[str, Any] = {"type": check_name(kind, "type", LONGEST_TYPE)}
    if external_id is not None:
        body["externalId"] = _check_external_id(external_id)
    body["taskIdentifier"] = check_name(task, "task", LONGEST_TASK)
    body["triggerConfig"] = dict(config)
    if checked := check_new_tags(tags):
        body["tags"] = checked
    if metadata is not None:
        body["metadata"] = _check_object(metadata, "metadata")
    if expires_at is not None:
        body["expiresAt"] = _check_expiry(expires_at)
    encoded = dumps(body).encode()
    if len(encoded) > LARGEST_START:
        raise ValueError(
            f"payload and metadata are too large: a session is started with {LARGEST_START} bytes"
            f" at the most, not {len(encoded)}"
        )
    return encoded


def run_config(
    *,
    payload: Any,
    run_tags: Any,
    version: str | None,
    region: str | None,
    machine: str | None,
    queue: str | None,
    max_attempts: int | None,
    max_duration: Any,
    idle_timeout: Any,
) -> dict[str, Any]:
    """Return what each run of a session is triggered with.

    Raises:
        ValueError, TypeError: an argument can't work. The error names it.
    """
    config: dict[str, Any] = {
        "basePayload": {} if payload is None else _check_object(payload, "payload")
    }
    if tags := check_new_tags(run_tags, "run_tags"):
        if len(tags) > MOST_RUN_TAGS:
            raise ValueError(f"run_tags are {len(tags)}: a run of a session can have 5")
        config["tags"] = tags
    named = {"lockToVersion": ("version", version), "region": ("region", region)}
    for name, (option, value) in {**named, "machine": ("machine", machine)}.items():
        if value is not None:
            config[name] = check_name(value, option)
    if queue is not None:
        config["queue"] = check_queue(queue)
    if max_attempts is not None:
        config["maxAttempts"] = check_count(max_attempts, "max_attempts", most=MOST_ATTEMPTS)
    if max_duration is not None:
        config["maxDuration"] = _check_seconds(max_duration, "max_duration")
    if idle_timeout is not None:
        seconds = _check_seconds(idle_timeout, "idle_timeout")
        if seconds > MOST_IDLE_SECONDS:
            raise ValueError(f"idle_timeout is an hour at the most, not {idle_timeout!r}")
        config["idleTimeoutInSeconds"] = seconds
    return config


def message_body(message: Any) -> bytes:
    """Return a message as it is sent: a text as it is, anything else as JSON.

    Raises:
        ValueError, TypeError: JSON can't hold it.
    """
    text = message if isinstance(message, str) else dumps(encode_plain(message, "message"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError("message holds a lone surrogate") from None


def check_part_id(value: Any) -> str:
    """Return the id of a part, which goes into a header.

    Raises:
        ValueError: it can't.
    """
    text = check_name(value, "part_id")
    if not text.isascii() or text != text.strip():
        raise ValueError(f"part_id must be of ASCII, without blanks around it, not {value!r}")
    return text


def _check_external_id(value: Any) -> str:
    text = check_name(value, "external_id", LONGEST_EXTERNAL_ID)
    if text.startswith(OWN_ID):
        raise ValueError(f"external_id must not begin with {OWN_ID!r}, as the server's own ids do")
    if text != text.strip():
        raise ValueError(f"external_id has blanks around it, which the server removes: {value!r}")
    return text


def _check_object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping, not {type(value).__name__}")
    checked: dict[str, Any] = check_json(value, name)
    return checked


def _check_seconds(value: timedelta | float, name: str) -> int:
    seconds = seconds_of(value, name)
    if seconds <= 0:
        raise ValueError(f"{name} must be more than 0 seconds, not {value!r}")
    return seconds


def _check_expiry(value: Any) -> str:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ValueError(f"expires_at must be an aware datetime, not {value!r}")
    if value <= datetime.now(timezone.utc):
        raise ValueError(f"expires_at must be in the future, not {value!r}")
    return javascript_date(value, "expires_at")
